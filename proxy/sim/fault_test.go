package sim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"manti/domain"
	"manti/proxy/sim"
)

// how is how a caller sees a call end.
type how struct {
	status    int   // 0: no answer came
	err       error // what the error must wrap; nil: the body came whole
	endMark   bool  // the stream's, or a plain body that is JSON
	errorBody bool  // an error in the dialect's shape came
	outcome   sim.Outcome
	generated bool // the books know tokens
	reported  bool
}

var (
	errLost  = errors.New("the body or answer ends too early")
	errTired = context.DeadlineExceeded
)

// TestFaults makes a call of each fault, plain and streamed, in both APIs, in
// fake time.
func TestFaults(t *testing.T) {
	t.Parallel()
	rejected := how{errorBody: true, outcome: sim.Failed}
	with := func(h how, change func(*how)) how { change(&h); return h }
	status := func(n int) how { return with(rejected, func(h *how) { h.status = n }) }
	whole := how{status: 200, endMark: true, outcome: sim.Completed, generated: true, reported: true}
	half := how{status: 200, outcome: sim.Cut, generated: true}
	both := func(h how) [2]how { return [2]how{h, h} }
	table := map[sim.Fault][2]how{ // plain, streamed
		"":                  both(whole),
		"400":               both(status(400)),
		"401":               both(status(401)),
		"418":               both(status(418)),
		"429":               both(status(429)),
		"500":               both(status(500)),
		"529":               both(status(529)),
		sim.FaultContext:    both(status(400)),
		sim.FaultQuota:      both(rejected), // 402 or 429
		sim.FaultReset:      both(how{err: syscall.ECONNRESET, outcome: sim.Cut}),
		sim.FaultHangup:     both(how{err: errLost, outcome: sim.Cut}),
		sim.FaultStall:      both(how{err: errTired, outcome: sim.Cut}),
		sim.FaultNotHTTP:    both(how{err: errLost, outcome: sim.Failed}),
		sim.FaultResetMid:   both(with(half, func(h *how) { h.err = syscall.ECONNRESET })),
		sim.FaultHangupMid:  both(with(half, func(h *how) { h.err = errLost })),
		sim.FaultStallMid:   both(with(half, func(h *how) { h.err = errTired })),
		sim.FaultCut:        both(half),
		sim.FaultGarbage:    {{status: 200, outcome: sim.Failed}, half},
		sim.FaultEmpty:      both(how{status: 200, outcome: sim.Failed}),
		sim.FaultEmpty500:   both(how{status: 500, outcome: sim.Failed}),
		sim.FaultHTML:       both(how{status: 502, outcome: sim.Failed}),
		sim.FaultError200:   both(status(200)),
		sim.FaultErrorMid:   {status(200), with(status(200), func(h *how) { h.generated = true })},
		sim.FaultNoDone:     {whole, with(half, func(h *how) { h.reported = true })},
		sim.FaultNoUsage:    both(with(whole, func(h *how) { h.reported = false })),
		sim.FaultSlow:       both(whole),
		sim.FaultRefuse:     both(whole),
		sim.FaultFilter:     both(whole),
		sim.FaultOddFraming: both(whole),
	}
	for _, fault := range sim.Faults() {
		if _, ok := table[fault]; !ok {
			t.Errorf("fault %s has no test", fault)
		}
	}
	for fault, want := range table {
		for i, stream := range []string{"false", "true"} {
			for _, api := range []string{"/v1/chat/completions", "/v1/messages"} {
				t.Run(string(fault)+" "+api+" stream "+stream, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						p := start(t, sim.Config{KeepCalls: true})
						defer p.Close()
						c := client(t, p)
						defer c.CloseIdleConnections()
						name := "fast"
						if fault != "" {
							name = "sim/fast-fault-" + string(fault)
						}
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						a := postCtx(ctx, c, "http://sim"+api, `{"model":"`+name+`","stream":`+stream+
							`,"stream_options":{"include_usage":true},"max_tokens":4000,`+userTurn+`}`)
						checkEnd(t, p, a, want[i])
					})
				})
			}
		}
	}
}

func checkEnd(t *testing.T, p *sim.Provider, a answer, want how) {
	t.Helper()
	if want.status != 0 && a.status != want.status {
		t.Errorf("status %d, want %d", a.status, want.status)
	}
	switch want.err {
	case nil:
		if a.err != nil {
			t.Errorf("error %v, want none", a.err)
		}
	case errLost:
		if a.err == nil || errors.Is(a.err, errTired) || errors.Is(a.err, syscall.ECONNRESET) {
			t.Errorf("error %v, want one of a lost body", a.err)
		}
	default:
		if !errors.Is(a.err, want.err) {
			t.Errorf("error %v, want %v", a.err, want.err)
		}
	}
	endMark := strings.Contains(a.body, "[DONE]") || strings.Contains(a.body, "event: message_stop") ||
		strings.HasPrefix(a.body, `{"id"`) && strings.HasSuffix(a.body, "}")
	if endMark != want.endMark {
		t.Errorf("end mark %v, want %v; body %q", endMark, want.endMark, a.body)
	}
	if got := strings.Contains(a.body, `"error":{"`); got != want.errorBody {
		t.Errorf("error body %v, want %v: %s", got, want.errorBody, a.body)
	}
	call := p.Calls()[0]
	if call.Outcome != want.outcome || call.Reported != want.reported {
		t.Errorf("books say %s, reported %v; want %s, %v", call.Outcome, call.Reported, want.outcome, want.reported)
	}
	if got := call.Usage[domain.InputTokens] > 0 && call.Usage[domain.OutputTokens] > 0; got != want.generated {
		t.Errorf("books' usage %v, want some: %v", call.Usage, want.generated)
	}
	if b := p.Books(); b.Begun != 1 || b.Completed+b.Failed+b.Cut != 1 {
		t.Errorf("books %+v", b)
	}
}

// TestFaultsOverTCP: real sockets are torn as the pipes are.
func TestFaultsOverTCP(t *testing.T) {
	t.Parallel()
	for _, serve := range []string{"loop", "net/http"} {
		for fault, want := range map[sim.Fault]error{
			sim.FaultReset: syscall.ECONNRESET, sim.FaultResetMid: syscall.ECONNRESET,
			sim.FaultHangup: io.EOF, sim.FaultHangupMid: io.ErrUnexpectedEOF,
		} {
			for _, stream := range []string{"false", "true"} {
				t.Run(serve+" "+string(fault)+" stream "+stream, func(t *testing.T) {
					t.Parallel()
					p := start(t, sim.Config{})
					url := listen(t, p, serve == "loop")
					a := postCtx(t.Context(), http.DefaultClient, url+"/v1/chat/completions",
						`{"model":"fault-`+string(fault)+`","stream":`+stream+`,`+userTurn+`}`)
					if !errors.Is(a.err, want) {
						t.Errorf("got error %v, want %v", a.err, want)
					}
				})
			}
		}
	}
}

// listen serves p on a loopback port, by itself or through net/http.
func listen(t *testing.T, p *sim.Provider, loop bool) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	if loop {
		go func() { served <- p.Serve(context.Background(), l) }()
		t.Cleanup(func() {
			p.Close()
			if err := <-served; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
	} else {
		s := &http.Server{Handler: p}
		go func() { served <- s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close(); <-served })
	}
	return "http://" + l.Addr().String()
}

func TestFaultByHeader(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://sim/v1/chat/completions", strings.NewReader(`{"model":"fast",`+userTurn+`}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sim-Fault", "503")
	resp, err := client(t, p).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
	}
}

// TestFaultOnce: the second time that a body comes, all is well.
func TestFaultOnce(t *testing.T) {
	t.Parallel()
	c := client(t, start(t, sim.Config{}))
	for i, want := range []int{529, 200, 529, 200} {
		a := post(t, c, "/v1/messages", `{"model":"fault-529-once","max_tokens":5,`+userTurn+`}`)
		if a.status != want {
			t.Errorf("time %d: status %d, want %d", i+1, a.status, want)
		}
	}
}

func TestFaultRates(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{Seed: 3, Faults: map[sim.Fault]int{"500": 100_000, sim.FaultNoUsage: 200_000}})
	c := client(t, p)
	for range 2000 {
		post(t, c, "/v1/chat/completions", `{"model":"fast",`+userTurn+`}`)
	}
	b := p.Books()
	unreported := b.Unreported[domain.InputTokens] / 10 // of that body
	if b.Failed < 150 || b.Failed > 250 || unreported < 300 || unreported > 500 {
		t.Errorf("of 2000 calls %d failed, want about 200, and %d reported nothing, want about 400", b.Failed, unreported)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]map[sim.Fault]int{
		"unknown": {"nonsense": 1}, "not an error": {"200": 1}, "negative": {"500": -1}, "too many": {"500": 600_000, "429": 600_000},
	} {
		if _, err := sim.New(sim.Config{Faults: faults}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDialFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, sim.Config{})
		if _, err := p.Dial(t.Context(), "tcp", "refuse.example:443"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want ECONNREFUSED", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := p.Dial(ctx, "tcp", "blackhole.example:443"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline's error", err)
		}
		p.Close()
		if _, err := p.Dial(t.Context(), "tcp", "example:443"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("closed: got %v, want ECONNREFUSED", err)
		}
	})
}
