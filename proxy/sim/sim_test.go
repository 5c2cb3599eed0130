package sim_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/sim"
)

// TestSeeds: the same calls get the same answers, of another seed others.
func TestSeeds(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (bodies string) {
		synctest.Test(t, func(t *testing.T) { // for "created" and the latencies
			p := start(t, sim.Config{Seed: seed})
			defer p.Close()
			c := client(t, p)
			defer c.CloseIdleConnections()
			for i := range 5 {
				a := post(t, c, "/v1/chat/completions", fmt.Sprintf(`{"model":"reasoner","stream":true,"user":"%d",%s}`, i, userTurn))
				bodies += a.header.Get("X-Request-Id") + a.body + time.Now().String()
			}
		})
		return bodies
	}
	if diff := cmp.Diff(run(1), run(1)); diff != "" {
		t.Errorf("seed 1 twice:\n%s", diff)
	}
	if run(1) == run(2) {
		t.Error("seeds 1 and 2 say the same")
	}
}

// TestBooksUnderLoad: with many callers at once, some of whom leave, the books
// are what the callers saw.
func TestBooksUnderLoad(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{KeepCalls: true, Faults: map[sim.Fault]int{"500": 50_000, sim.FaultResetMid: 50_000}})
	c := client(t, p)
	var mu sync.Mutex
	var seen sim.Report
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 100 {
				stream := (worker+i)%2 == 0
				a := post(t, c, "/v1/chat/completions", fmt.Sprintf(`{"model":"fast","stream":%v,"stream_options":{"include_usage":true},%s}`, stream, userTurn))
				mu.Lock()
				seen.Begun++
				switch {
				case a.err != nil:
					seen.Cut++
				case a.status != 200:
					seen.Failed++
				default:
					seen.Completed++
					for m, n := range readChat(t, a.body, stream).Usage {
						seen.Reported[m] += n
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	got := p.Books()
	got.Unreported = sim.Tokens{}
	if diff := cmp.Diff(seen, got); diff != "" {
		t.Errorf("books (-seen +books):\n%s", diff)
	}
	ids := map[string]bool{}
	for i, call := range p.Calls() {
		ids[call.RequestID] = true
		if call.Number != uint64(i+1) {
			t.Fatalf("call %d has number %d", i+1, call.Number)
		}
	}
	if len(ids) != 800 {
		t.Errorf("%d request ids for 800 calls", len(ids))
	}
}

// TestCallerLeaves: what was generated until then stands in the books.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, sim.Config{})
		defer p.Close()
		c := client(t, p)
		defer c.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), 1010*time.Millisecond)
		defer cancel()
		a := postCtx(ctx, c, "http://sim/v1/chat/completions", `{"model":"w4","stream":true,`+userTurn+`}`)
		if a.err == nil {
			t.Fatal("the call ended")
		}
		time.Sleep(time.Minute) // fake
		b := p.Books()
		// 51 chunks leave in 1.01 s at 20 ms; one more finds nobody.
		if b.Cut != 1 || b.Unreported[domain.OutputTokens] < 51 || b.Unreported[domain.OutputTokens] > 52 {
			t.Errorf("books %+v", b)
		}
	})
}

// TestCallerLeavesBeforeTheAnswer: an answer that finds nobody isn't completed,
// though it was about to be.
func TestCallerLeavesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, sim.Config{KeepCalls: true})
		defer p.Close()
		c := client(t, p)
		defer c.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if a := postCtx(ctx, c, "http://sim/v1/chat/completions", `{"model":"w2",`+userTurn+`}`); a.err == nil {
			t.Fatal("the call ended")
		}
		time.Sleep(time.Minute) // fake
		b := p.Books()
		want := sim.Report{Begun: 1, Cut: 1, Unreported: p.Calls()[0].Usage}
		if diff := cmp.Diff(want, b); diff != "" || want.Unreported[domain.OutputTokens] != 24 {
			t.Errorf("books (-want +got):\n%s", diff)
		}
	})
}

// TestHalf: a stream that breaks has half its chunks, and the books half its
// tokens.
func TestHalf(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{})
	a := post(t, client(t, p), "/v1/chat/completions", `{"model":"w3-fault-cut","stream":true,`+userTurn+`}`)
	if got := strings.Count(a.body, `"content":"t`); got != 50 || p.Books().Unreported[domain.OutputTokens] != 50 {
		t.Errorf("%d chunks, books %+v", got, p.Books())
	}
}

// TestLatency: in fake time, the load models keep theirs to the nanosecond,
// and stamps tell when.
func TestLatency(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		model, stream string
		want          time.Duration
	}{
		{"w1", "false", 0},
		{"w2", "false", 50 * time.Millisecond},
		{"w2", "true", 50 * time.Millisecond},
		{"w3", "true", 0},
		{"w4", "true", 249 * 20 * time.Millisecond},
		{"w4slow", "true", 99 * 200 * time.Millisecond},
		{"fast-fault-slow", "false", 10 * time.Second},
	} {
		t.Run(tt.model+" "+tt.stream, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t, sim.Config{})
				defer p.Close()
				c := client(t, p)
				defer c.CloseIdleConnections()
				begun := time.Now()
				a := post(t, c, "/v1/chat/completions", `{"model":"`+tt.model+`","stream":`+tt.stream+`,"stream_options":{"include_usage":true},`+userTurn+`}`)
				if got := time.Since(begun); got != tt.want {
					t.Errorf("took %v, want %v", got, tt.want)
				}
				if strings.HasPrefix(tt.model, "fast") {
					return
				}
				text := readChat(t, a.body, tt.stream == "true").Text
				if at, ok := sim.Stamp(text); !ok || !at.Equal(begun) && tt.stream == "false" {
					t.Errorf("first stamp %v, want %v", at, begun)
				}
				last := text[len(text)-sim.StampBytes:]
				if tt.stream == "false" {
					last = text[sim.StampBytes:]
				}
				if at, ok := sim.Stamp(last); !ok || at.Sub(begun) != tt.want {
					t.Errorf("last stamp %v after the first, want %v", at.Sub(begun), tt.want)
				}
			})
		})
	}
}

// TestSizes: the load models' answers are as large as the workloads say.
func TestSizes(t *testing.T) {
	t.Parallel()
	c := client(t, start(t, sim.Config{}))
	for model, want := range map[string][2]int{"w1": {950, 1100}, "w5": {100_000, 105_000}} {
		a := post(t, c, "/v1/chat/completions", `{"model":"`+model+`",`+userTurn+`}`)
		if len(a.body) < want[0] || len(a.body) > want[1] {
			t.Errorf("%s: %d bytes, want %d to %d", model, len(a.body), want[0], want[1])
		}
	}
}

// TestRefused: what isn't accepted is no call.
func TestRefused(t *testing.T) {
	t.Parallel()
	const chat, messages = "/v1/chat/completions", "/v1/messages"
	for _, tt := range []struct {
		name, path, body string
		status           int
		kind             string
	}{
		{"no JSON", chat, `{"model":`, 400, "invalid_request_error"},
		{"array", chat, `[]`, 400, "invalid_request_error"},
		{"behind the end", chat, `{"model":"fast",` + userTurn + `}}`, 400, "invalid_request_error"},
		{"no model", chat, `{` + userTurn + `}`, 400, "invalid_request_error"},
		{"no messages", chat, `{"model":"fast"}`, 400, "invalid_request_error"},
		{"no max_tokens", messages, `{"model":"fast",` + userTurn + `}`, 400, "invalid_request_error"},
		{"unknown model", chat, `{"model":"nobody",` + userTurn + `}`, 404, "invalid_request_error"},
		{"unknown model", messages, `{"model":"nobody","max_tokens":1,` + userTurn + `}`, 404, "not_found_error"},
		{"unknown fault", chat, `{"model":"fault-nothing",` + userTurn + `}`, 404, "invalid_request_error"},
		{"no embeddings", "/v1/embeddings", `{"model":"fast","input":"a"}`, 404, "invalid_request_error"},
		{"only embeddings", chat, `{"model":"embed",` + userTurn + `}`, 404, "invalid_request_error"},
		{"unknown path", "/v1/images", `{}`, 404, "invalid_request_error"},
	} {
		t.Run(tt.name+" "+tt.path, func(t *testing.T) {
			t.Parallel()
			p := start(t, sim.Config{})
			a := post(t, client(t, p), tt.path, tt.body)
			got := decode[struct{ Error struct{ Type string } }](t, a.body)
			if a.status != tt.status || got.Error.Type != tt.kind {
				t.Errorf("got %d %s, want %d %s", a.status, a.body, tt.status, tt.kind)
			}
			if b := p.Books(); b.Begun != 0 || b.Refused != 1 {
				t.Errorf("books %+v", b)
			}
		})
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{Key: "secret"})
	for header, want := range map[string]int{"": 401, "Authorization: Bearer wrong": 401, "Authorization: Bearer secret": 200, "X-Api-Key: secret": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://sim/v1/chat/completions", strings.NewReader(`{"model":"fast",`+userTurn+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if name, value, ok := strings.Cut(header, ": "); ok {
			req.Header.Set(name, value)
		}
		resp, err := client(t, p).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: status %d, want %d", header, resp.StatusCode, want)
		}
	}
}

func TestModelNames(t *testing.T) {
	t.Parallel()
	c := client(t, start(t, sim.Config{}))
	for _, name := range []string{"fast", "sim/fast", "fast-fault-no-usage", "sim/fault-no-usage"} {
		a := post(t, c, "/v1/chat/completions", `{"model":"`+name+`",`+userTurn+`}`)
		if got := decode[chatAnswer](t, a.body); got.Model != name || a.status != 200 {
			t.Errorf("%s: status %d, model %q", name, a.status, got.Model)
		}
	}
	for name, want := range map[string]int{"gpt-4o": 200, "claude-sonnet-5": 200, "sim/o3-mini": 200, "nobody": 404, "fault-x": 404} {
		resp, err := c.Get("http://sim/v1/models/" + name)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", name, resp.StatusCode, want)
		}
	}
}

func TestBooksOverHTTP(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{KeepCalls: true})
	c := client(t, p)
	post(t, c, "/v1/chat/completions", `{"model":"fast",`+userTurn+`}`)
	get := func(path string) string {
		resp, err := c.Get("http://sim" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		_, _ = bufio.NewReader(resp.Body).WriteTo(&b)
		return b.String()
	}
	if diff := cmp.Diff(p.Books(), decode[sim.Report](t, get("/sim/report"))); diff != "" {
		t.Errorf("report (-books +HTTP):\n%s", diff)
	}
	if diff := cmp.Diff(p.Calls(), decode[[]sim.Call](t, get("/sim/calls"))); diff != "" {
		t.Errorf("calls (-books +HTTP):\n%s", diff)
	}
	if got := decode[struct{ Data []struct{ ID string } }](t, get("/v1/models")); len(got.Data) != len(sim.BuiltIn()) {
		t.Errorf("%d models, want %d", len(got.Data), len(sim.BuiltIn()))
	}
}
