package wire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"manti/proxy/host/wire"
)

func newHTTP2Server(t *testing.T, h http.Handler) *httptest.Server {
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func http2Origin(t *testing.T, c *wire.Client, url string) *wire.Origin {
	t.Helper()
	o, err := c.Origin(wire.OriginConfig{URL: url, HTTP2: true})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	srv := newHTTP2Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "%s %s %s %q %q %d %v", r.Proto, r.URL, r.Header.Get("X-A"), r.UserAgent(), r.Header.Get("Accept-Encoding"), n, err)
		w.Header().Set("X-Sum", "7")
	}))
	o := http2Origin(t, newClient(t, wire.Config{TLS: trusting(srv)}), srv.URL+"/v1")
	for _, read := range readers {
		r := post(strings.Repeat("x", 100<<10), strings.Repeat("y", 1<<20))
		r.Path, r.Fields = "/a?b", []wire.Field{{Name: "X-A", Value: "1"}}
		resp, err := o.Do(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := read(resp.Body)
		want := fmt.Sprintf(`HTTP/2.0 /v1/a?b 1 "" "" %d %v`, 100<<10+1<<20, nil)
		if body != want || err != nil || resp.Status != 202 || resp.FirstByte.IsZero() {
			t.Errorf("status %d, %q, %v; want %q", resp.Status, body, err, want)
		}
		checkField(t, resp.Trailer, "X-Sum=7")
		resp.Body.Close()
	}
}

func TestHTTP2Failures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		cancel bool
		serve  http.HandlerFunc
		kind   wire.Kind
	}{
		{"no answer", false, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, wire.ErrHeaderTimeout},
		{"dropped without an answer", false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, wire.ErrAmbiguous},
		{"body stands still", false, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, wire.ErrIdle},
		{"body breaks", false, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, wire.ErrReset},
		{"caller leaves", true, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, wire.ErrCanceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := newHTTP2Server(t, tt.serve)
			cfg := wire.Config{TLS: trusting(srv)}
			switch tt.kind {
			case wire.ErrHeaderTimeout:
				cfg.HeaderTimeout = 50 * time.Millisecond
			case wire.ErrIdle:
				cfg.IdleTimeout = 50 * time.Millisecond
			}
			c := newClient(t, cfg)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			resp, err := http2Origin(t, c, srv.URL).Do(ctx, post("x"))
			if err == nil {
				if tt.cancel {
					cancel(errLeft)
				}
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if wire.KindOf(err) != tt.kind || tt.cancel && !errors.Is(err, errLeft) {
				t.Errorf("error %v, want %v", err, tt.kind)
			}
		})
	}
}

// TestTransportNeverRepeats has the Transport's pooled connection dropped without
// an answer: the POST isn't sent again, whatever its fields say.
func TestTransportNeverRepeats(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	c := newClient(t, wire.Config{Dial: pipes(t, func(nc net.Conn) {
		br := bufio.NewReader(nc)
		for readRequest(br) && requests.Add(1) == 1 {
			_, _ = io.WriteString(nc, ok)
		}
	})})
	o := http2Origin(t, c, "http://test")
	r := post("x")
	r.Fields = []wire.Field{{Name: "Idempotency-Key", Value: "1"}}
	if _, body, err := call(t, o, r); err != nil || body != "ok" {
		t.Fatalf("%q, %v", body, err)
	}
	if _, _, err := call(t, o, r); wire.KindOf(err) != wire.ErrAmbiguous {
		t.Errorf("error %v, want ErrAmbiguous", err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}
