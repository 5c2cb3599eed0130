package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"

	"manti/domain"
	"manti/proxy/sim"
)

// desk is a gateway that listens on loopback, in front of a simulator whose
// every exchange is kept, and the two official SDKs, unmodified but for base URL and
// key.
type desk struct {
	*rig
	provider  *sim.Provider
	tap       *tap
	openai    openai.Client
	anthropic anthropic.Client
}

// newDesk makes a desk. The models …-think think, those with claude in their name
// are Anthropic's.
func newDesk(t *testing.T) *desk {
	t.Helper()
	fast := sim.BuiltIn()["fast"]
	thinks := fast
	thinks.Reasoning = 9
	provider, err := sim.New(sim.Config{Models: map[string]sim.Model{
		"gpt-4o": fast, "claude-3-5-haiku-20241022": fast, "gpt-think": thinks, "claude-think": fast, "gpt": fast, "claude": fast,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	book := testBook()
	for _, m := range [][2]string{{"openai", "gpt-think"}, {"anthropic", "claude-think"}} {
		card := book.Models[0]
		card.Provider, card.Name, card.Reasoning = m[0], m[1], true
		book.Models = append(book.Models, card)
	}
	instruct := book.Models[0]
	instruct.Provider, instruct.Name, instruct.Kind = "openai", "gpt-instruct", domain.CompletionModel
	book.Models = append(book.Models, instruct)
	tap := &tap{provider: provider}
	return listen(t, &desk{rig: newRig(t, rigConfig{upstream: tap, book: book}), provider: provider, tap: tap})
}

// listen puts a desk's gateway on loopback.
func listen(t *testing.T, d *desk) *desk {
	t.Helper()
	server := httptest.NewServer(d.handler)
	t.Cleanup(server.Close)
	d.openai = openai.NewClient(openaioption.WithBaseURL(server.URL+"/v1"), openaioption.WithAPIKey(testKey.Reveal()), openaioption.WithMaxRetries(0))
	d.anthropic = anthropic.NewClient(anthropicoption.WithBaseURL(server.URL), anthropicoption.WithAPIKey(testKey.Reveal()), anthropicoption.WithMaxRetries(0))
	return d
}

// tap keeps what a provider was asked and answered.
type tap struct {
	provider http.Handler

	mu    sync.Mutex
	calls []*tapped // guarded by mu, and all in them
}

type tapped struct {
	path            string
	header          http.Header
	request, answer []byte
}

func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing is found missing
	r.Body = io.NopCloser(bytes.NewReader(body))
	call := &tapped{path: r.URL.Path, header: r.Header.Clone(), request: body}
	p.mu.Lock()
	p.calls = append(p.calls, call)
	p.mu.Unlock()
	p.provider.ServeHTTP(&tee{ResponseWriter: w, tap: p, call: call}, r)
}

// last is the latest call, as far as its answer went out.
func (p *tap) last() tapped {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.calls[len(p.calls)-1]
}

// tee keeps an answer before it goes out.
type tee struct {
	http.ResponseWriter
	tap  *tap
	call *tapped
}

func (w *tee) Write(b []byte) (int, error) {
	w.tap.mu.Lock()
	w.call.answer = append(w.call.answer, b...)
	w.tap.mu.Unlock()
	return w.ResponseWriter.Write(b)
}

func (w *tee) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// event is the n-th call's, from 1.
func (d *desk) event(n int) *domain.RequestCompleted {
	d.t.Helper()
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	if len(d.recorder.ended) != n {
		d.t.Fatalf("got %d events, want %d", len(d.recorder.ended), n)
	}
	return d.recorder.ended[n-1].Body.(*domain.RequestCompleted)
}
