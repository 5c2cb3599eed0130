package proxy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"manti/domain"
)

// recording is a real exchange with a provider that somebody recorded.
type recording struct {
	ID       string
	Provider string
	Kind     string
	Stream   bool
	Model    string
	Request  struct {
		Path    string
		Headers map[string]string
		Body    json.RawMessage
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    string
	}
	Usage *struct{ Raw json.RawMessage }
}

// recordedKinds are the kinds of exchanges that the gateway has a route for.
var recordedKinds = map[string]domain.ModelKind{
	"chat": domain.ChatModel, "responses": domain.ChatModel, "messages": domain.ChatModel, "messages.count_tokens": domain.ChatModel,
	"completions": domain.CompletionModel, "embeddings": domain.EmbeddingModel,
}

// recordings reads all recorded exchanges of OpenAI and Anthropic, which aren't
// part of the project: MANTI_RECORDINGS names their folder.
func recordings(t *testing.T) []recording {
	t.Helper()
	folder := os.Getenv("MANTI_RECORDINGS")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared", "recordings")
	}
	var all []recording
	for _, provider := range []string{"openai", "anthropic"} {
		f, err := os.Open(filepath.Join(folder, "public", provider+".jsonl"))
		if errors.Is(err, os.ErrNotExist) {
			fmt.Printf("recordings: none here; set MANTI_RECORDINGS to the folder that holds public/%s.jsonl\n", provider)
			t.Skip("no recorded exchanges to replay")
		} else if err != nil {
			t.Fatal(err)
		}
		for dec := json.NewDecoder(f); ; {
			var r recording
			if err := dec.Decode(&r); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", f.Name(), err)
			}
			all = append(all, r)
		}
		_ = f.Close() // read to its end
	}
	return all
}

// recordedRates are different for every meter, so that no cost comes out right
// by a wrong class.
var recordedRates = domain.Rates{
	"input": decimal.New(101, -2), "input_audio": decimal.New(32, 0), "input_image": decimal.New(7, 0),
	"cache_read": decimal.New(11, -2), "cache_write_5m": decimal.New(127, -2), "cache_write_1h": decimal.New(203, -2),
	"output": decimal.New(509, -2), "reasoning": decimal.New(601, -2), "output_audio": decimal.New(64, 0), "output_image": decimal.New(40, 0),
	"web_search": decimal.New(10000, 0), "file_search": decimal.New(2500, 0),
}

// recordedBook has a card for every model that the recordings ask for.
func recordedBook(all []recording) *domain.PriceBook {
	price := []domain.ModelPrice{{Cost: domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: recordedRates}}}}}
	book := &domain.PriceBook{Version: domain.EventID{9}}
	seen := map[string]bool{}
	for _, r := range all {
		kind, ok := recordedKinds[r.Kind]
		if !ok || seen[r.Model+string(kind)] {
			continue
		}
		seen[r.Model+string(kind)] = true
		book.Models = append(book.Models, domain.ModelCard{
			Provider: r.Provider, Name: r.Model, Kind: kind, ContextLimit: 1 << 20, OutputLimit: 1 << 16,
			Reasoning: true, Tools: true, Images: true, StructuredOutput: true, Prices: price,
		})
	}
	return book
}

// replayer is a provider that gives a recorded answer and keeps the request.
type replayer struct {
	recording

	mu     sync.Mutex
	header http.Header // guarded by mu
	body   []byte      // guarded by mu
}

func (p *replayer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing is found missing
	p.mu.Lock()
	p.header, p.body = r.Header.Clone(), body
	p.mu.Unlock()
	for name, value := range p.Response.Headers {
		if !strings.EqualFold(name, "content-length") {
			w.Header().Set(name, value)
		}
	}
	w.Header().Set("X-Request-Id", "req_recorded")
	w.WriteHeader(p.Response.Status)
	_, _ = io.WriteString(w, p.Response.Body)
}

func (p *replayer) got() (http.Header, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.header, p.body
}

// replay puts a recorded exchange behind a gateway.
func replay(t *testing.T, book *domain.PriceBook, rec recording) (*rig, *replayer) {
	t.Helper()
	p := &replayer{recording: rec}
	return newRig(t, rigConfig{upstream: p, book: book}), p
}

func (rec *recording) callHeader() []string {
	var header []string
	for name, value := range rec.Request.Headers {
		header = append(header, name, value)
	}
	return header
}

// TestRecordings replays each exchange to a caller that speaks the provider's
// dialect: it sees what the provider sent, byte by byte, and the event says
// what the provider said of its usage.
func TestRecordings(t *testing.T) {
	t.Parallel()
	all := recordings(t)
	book := recordedBook(all)
	replayed, skipped := map[string]int{}, map[string]int{}
	for _, rec := range all {
		if _, ok := recordedKinds[rec.Kind]; !ok {
			skipped[rec.Kind+": no such route"]++
			continue
		}
		replayed[rec.Kind]++
		t.Run(rec.ID, func(t *testing.T) {
			t.Parallel()
			r, p := replay(t, book, rec)
			got := r.post(rec.Request.Path, string(rec.Request.Body), rec.callHeader()...)
			checkSameAnswer(t, rec, got)
			checkSameRequest(t, rec, p)
			checkEvent(t, rec, r.only())
		})
	}
	n, m := total(replayed), total(skipped)
	t.Logf("replayed by kind: %v; skipped: %v", replayed, skipped)
	fmt.Printf("recordings: %d replayed, %d skipped (%s)\n", n, m, strings.Join(slices.Sorted(maps.Keys(skipped)), "; "))
	if n == 0 {
		t.Error("nothing was replayed")
	}
}

func total(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func checkSameAnswer(t *testing.T, rec recording, got answer) {
	t.Helper()
	if got.status != rec.Response.Status {
		t.Errorf("status: got %d, want %d", got.status, rec.Response.Status)
	}
	if diff := cmp.Diff(rec.Response.Body, got.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if id := got.header.Get("X-Request-Id"); id != "req_recorded" {
		t.Errorf("request id %q", id)
	}
	for name, want := range rec.Response.Headers {
		if v := got.header.Get(name); (strings.Contains(name, "ratelimit") || strings.HasPrefix(name, "retry-after")) && v != want {
			t.Errorf("%s: got %q, want %q", name, v, want)
		}
	}
}

// checkSameRequest compares what the provider got with what the caller sent: it
// is the same but for the request for usage in a stream.
func checkSameRequest(t *testing.T, rec recording, p *replayer) {
	t.Helper()
	header, body := p.got()
	want := object(t, rec.Request.Body)
	if rec.Stream && (rec.Kind == "chat" || rec.Kind == "completions") {
		options, _ := want["stream_options"].(map[string]any)
		if options == nil {
			options = map[string]any{}
		}
		options["include_usage"] = true
		want["stream_options"] = options
	}
	if diff := cmp.Diff(want, object(t, body)); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	for name, v := range rec.Request.Headers {
		if strings.HasPrefix(name, "anthropic-") && header.Get(name) != v {
			t.Errorf("the provider got %s: %q, want %q", name, header.Get(name), v)
		}
	}
}

// object reads JSON with its numbers as they are written.
func object(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var v map[string]any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// checkEvent holds the event against what the provider said.
func checkEvent(t *testing.T, rec recording, e *domain.RequestCompleted) {
	t.Helper()
	outcome, provenance := domain.Completed, domain.Reported
	switch {
	case rec.Response.Status >= 400:
		outcome, provenance = domain.ProviderError, domain.NoUsage
	case rec.Usage == nil:
		provenance = domain.Estimated
	}
	if e.Outcome != outcome || e.Provenance != provenance || e.Status != rec.Response.Status {
		t.Errorf("event: got %s, %s, %d; want %s, %s, %d", e.Outcome, e.Provenance, e.Status, outcome, provenance, rec.Response.Status)
	}
	if (e.Estimator != "") != (provenance == domain.Estimated) {
		t.Errorf("estimator: got %q with %s usage", e.Estimator, e.Provenance)
	}
	if a := e.Private.Attempts; len(a) != 1 || a[0].RequestID != "req_recorded" || a[0].Status != rec.Response.Status {
		t.Errorf("attempts: %+v", a)
	}
	if e.Stream != rec.Stream || e.AskedModel != rec.Model {
		t.Errorf("stream %v, asked model %q", e.Stream, e.AskedModel)
	}
	if provenance == domain.Estimated {
		if domain.Usage(e.Usage).PromptTokens() == 0 || e.Charge.Amount.IsZero() {
			t.Errorf("nothing was estimated: %v", e.Usage)
		}
		return
	}
	want := rec.usage(t)
	if diff := cmp.Diff(want, domain.Usage(e.Usage)); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	cost := decimal.Zero
	for m, n := range want {
		cost = cost.Add(recordedRates[domain.Meter(m).String()].Mul(decimal.New(n, -6)))
	}
	if !e.Private.Cost.Amount.Equal(cost) || !e.Charge.Amount.Equal(cost) {
		t.Errorf("cost %s, charge %s, want %s", e.Private.Cost.Amount, e.Charge.Amount, cost)
	}
}

// TestRecordingsUnasked takes the request for usage out of the recorded streams: the
// caller sees the same frames without the usage, the event is the same.
func TestRecordingsUnasked(t *testing.T) {
	t.Parallel()
	all := recordings(t)
	book := recordedBook(all)
	for _, rec := range all {
		if rec.Kind != "chat" || !rec.Stream || rec.Usage == nil {
			continue
		}
		t.Run(rec.ID, func(t *testing.T) {
			t.Parallel()
			r, p := replay(t, book, rec)
			ask := object(t, rec.Request.Body)
			delete(ask, "stream_options")
			body, err := json.Marshal(ask)
			if err != nil {
				t.Fatal(err)
			}
			got := r.post(rec.Request.Path, string(body))
			if diff := cmp.Diff(withoutUsage(t, rec.Response.Body), frameData(got.body)); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
			checkSameRequest(t, rec, p)
			checkEvent(t, rec, r.only())
		})
	}
}

// withoutUsage is what a stream's frames are if nobody asks for usage. The
// member is cut out of the text, so that every other byte must stay.
func withoutUsage(t *testing.T, body string) []string {
	t.Helper()
	var frames []string
	for _, data := range frameData(body) {
		if data != "[DONE]" {
			chunk := object(t, []byte(data))
			if choices, _ := chunk["choices"].([]any); len(choices) == 0 && chunk["usage"] != nil {
				continue
			}
			data = strings.Replace(data, `,"usage":null`, "", 1)
		}
		frames = append(frames, data)
	}
	return frames
}
