package wire_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"manti/proxy/host/wire"
)

// slices cuts a body of n bytes, none like its neighbour, into pieces.
func slices(n, piece int) [][]byte {
	all := make([]byte, n)
	for i := range all {
		all[i] = byte(i * 7)
	}
	var parts [][]byte
	for len(all) > piece {
		parts = append(parts, all[:piece], nil)
		all = all[piece:]
	}
	return append(parts, all)
}

// TestBodies sends bodies of all sizes around the limits, in one piece and in
// many, to net/http's server, with TLS and without: each byte arrives, once.
func TestBodies(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %d %x %v", r.ContentLength, n, h.Sum(nil), err)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	c := newClient(t, wire.Config{TLS: trusting(secure)})
	for _, url := range []string{plain.URL, secure.URL} {
		o := newOrigin(t, c, url)
		for _, size := range []int{0, 1, 3900, 4096, 4097, 16 << 10, 64 << 10, 64<<10 + 1, 256 << 10, 256<<10 + 1, 1 << 20, 5 << 20} {
			for _, piece := range []int{1 << 30, 100 << 10, 1000} {
				body := slices(size, piece)
				h := sha256.New()
				for _, b := range body {
					h.Write(b)
				}
				want := fmt.Sprintf("%d %d %x %v", size, size, h.Sum(nil), nil)
				_, got, err := call(t, o, &wire.Request{Method: "POST", Path: "/", Body: body})
				if err != nil || got != want {
					t.Errorf("%.5s, %d bytes in pieces of %d: %q, %v; want %q", url, size, piece, got, err, want)
				}
			}
		}
	}
	if s := statsOf(c); s.Dials != 2 {
		t.Errorf("%d dials, want 2: a connection was not used again", s.Dials)
	}
}

// TestEarlyAnswer has a server refuse a request that it has not read, and close:
// the answer arrives, whatever becomes of the write.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	const refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large"
	tests := []struct {
		name  string
		size  int
		serve func(nc net.Conn, br *bufio.Reader, answered <-chan struct{})
	}{
		{"reads nothing more, and waits", 8 << 20, func(_ net.Conn, _ *bufio.Reader, answered <-chan struct{}) { <-answered }},
		{"reads nothing more, and resets", 8 << 20, func(net.Conn, *bufio.Reader, <-chan struct{}) {}},
		{"reads all", 8 << 20, func(_ net.Conn, br *bufio.Reader, _ <-chan struct{}) { _, _ = io.Copy(io.Discard, br) }},
		{"a short one, resets", 60 << 10, func(net.Conn, *bufio.Reader, <-chan struct{}) {}},
		{"a short one, waits", 60 << 10, func(_ net.Conn, _ *bufio.Reader, answered <-chan struct{}) { <-answered }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answered := make(chan struct{})
			url := listen(t, func(nc net.Conn) {
				br := bufio.NewReader(nc)
				if _, err := http.ReadRequest(br); err != nil {
					return
				}
				_, _ = io.WriteString(nc, refusal)
				tt.serve(nc, br, answered)
			})
			c := newClient(t, wire.Config{})
			resp, body, err := call(t, newOrigin(t, c, url), post(strings.Repeat("x", tt.size)))
			close(answered)
			if err != nil || resp.Status != 413 || body != "too large" {
				t.Fatalf("body %q, error %v", body, err)
			}
			if s := statsOf(c); s.Open != 0 {
				t.Errorf("%d connections left open", s.Open)
			}
		})
	}
}

// TestEarlyAnswerOfRealServer is the same with net/http's server, whose handler
// refuses a body by its length.
func TestEarlyAnswerOfRealServer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}))
	t.Cleanup(srv.Close)
	c := newClient(t, wire.Config{TLS: trusting(srv)})
	o := newOrigin(t, c, srv.URL)
	for range 10 {
		resp, body, err := call(t, o, post(strings.Repeat("x", 4<<20)))
		if err != nil || resp.Status != 413 || body != "too large\n" {
			t.Fatalf("body %q, error %v", body, err)
		}
	}
}

// lingering is a connection whose writes, when it is closed under them, take a
// second more to return.
type lingering struct {
	net.Conn
	writing atomic.Int32
}

func (l *lingering) Write(p []byte) (int, error) {
	l.writing.Add(1)
	defer l.writing.Add(-1)
	n, err := l.Conn.Write(p)
	if err != nil {
		<-time.After(time.Second)
	}
	return n, err
}

// TestBodyIsFree checks that the request's body is no longer read once Do has
// failed or the answer's body was closed: its owner may use its memory again.
func TestBodyIsFree(t *testing.T) {
	t.Parallel()
	stuck := func(answer string) func(net.Conn) {
		return func(nc net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
				_, _ = io.WriteString(nc, answer)
				<-time.After(time.Minute)
			}
		}
	}
	for _, http2 := range []bool{false, true} {
		for _, answer := range []string{"", "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 413 No\r\nContent-Length: 9\r\n\r\nno"} {
			t.Run(fmt.Sprintf("transport %t, %.12s", http2, answer), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					dial := pipes(t, stuck(answer))
					var conn *lingering
					c := newClient(t, wire.Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						nc, err := dial(ctx, network, addr)
						conn = &lingering{Conn: nc}
						return conn, err
					}})
					o, err := c.Origin(wire.OriginConfig{URL: "http://test", HTTP2: http2})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					resp, err := o.Do(ctx, post(strings.Repeat("x", 1<<20)))
					if answer == "" && wire.KindOf(err) != wire.ErrCanceled || answer != "" && err != nil {
						t.Fatal(err)
					}
					if err == nil {
						_, _ = resp.Body.Next()
						resp.Body.Close()
					}
					if n := conn.writing.Load(); n != 0 {
						t.Error("the body is still being written")
					}
				})
			})
		}
	}
}
