package wire_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
