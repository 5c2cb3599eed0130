package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"manti/domain"
	"manti/proxy"
)

// discard is a Recorder that keeps nothing.
type discard struct{}

func (discard) Start(domain.Started) (uint64, error) { return 1, nil }
func (discard) Kick(uint64)                          {}
func (discard) Sync(context.Context, uint64) error   { return nil }
func (discard) End(domain.Event) error               { return nil }
func (d discard) in(c *proxy.Config) {
	c.Recorder, c.Log = d, slog.New(slog.NewJSONHandler(io.Discard, nil))
}
func (discard) request(b *testing.B, body string) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey.Reveal())
	return r
}

// nowhere is a caller that reads everything at once.
type nowhere struct {
	header http.Header
	n      int
}

func (w *nowhere) Header() http.Header            { return w.header }
func (w *nowhere) WriteHeader(int)                {}
func (w *nowhere) Flush()                         {}
func (*nowhere) SetReadDeadline(time.Time) error  { return nil }
func (*nowhere) SetWriteDeadline(time.Time) error { return nil }
func (w *nowhere) Write(p []byte) (int, error)    { w.n += len(p); return len(p), nil }

// BenchmarkCall is a call without sockets, spool and ledger: what the data plane
// itself costs, with the simulator's share.
func BenchmarkCall(b *testing.B) {
	for _, bc := range []struct {
		name, more string
		prompt     int
	}{
		{"plain 1 KB", "", 1_000},
		{"plain 1 MB", "", 1_000_000},
		{"100 chunks", `,"stream":true`, 1_000},
	} {
		b.Run(bc.name, func(b *testing.B) {
			rig := newRig(b, rigConfig{edit: discard{}.in})
			model := "sim/fast"
			if bc.more != "" {
				model = "sim/w3"
			}
			body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]%s}`, model, strings.Repeat("word ", bc.prompt/5), bc.more)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				w := &nowhere{header: http.Header{}}
				rig.handler.ServeHTTP(w, discard{}.request(b, body))
				if w.n == 0 {
					b.Fatal("no answer")
				}
			}
		})
	}
}
