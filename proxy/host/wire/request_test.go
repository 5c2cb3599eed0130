package wire_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/host/wire"
)

// TestRequestBytes pins what is sent, byte for byte.
func TestRequestBytes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, url string
		req       *wire.Request
		want      string
	}{
		{"get", "http://test", &wire.Request{Method: "GET", Path: "/v1/models?limit=1"},
			"GET /v1/models?limit=1 HTTP/1.1\r\nHost: test\r\n\r\n"},
		{"no path", "http://test", &wire.Request{Method: "GET"}, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"},
		{"query alone", "http://test/", &wire.Request{Method: "GET", Path: "?a"}, "GET /?a HTTP/1.1\r\nHost: test\r\n\r\n"},
		{"base path and its default port", "http://Test:80/v1/", &wire.Request{Method: "GET", Path: "/models"},
			"GET /v1/models HTTP/1.1\r\nHost: test\r\n\r\n"},
		{"another port", "http://test:8080", &wire.Request{Method: "GET", Path: "/"}, "GET / HTTP/1.1\r\nHost: test:8080\r\n\r\n"},
		{"IPv6", "http://[::1]:8080", &wire.Request{Method: "GET", Path: "/"}, "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"},
		{"escaped base path", "http://test/a%2Fb", &wire.Request{Method: "GET", Path: "/%C3%A4"}, "GET /a%2Fb/%C3%A4 HTTP/1.1\r\nHost: test\r\n\r\n"},
		{"post", "http://test", &wire.Request{Method: "POST", Path: "/", Fields: []wire.Field{{Name: "X-B", Value: "2"}, {Name: "x-a", Value: "1"}, {Name: "X-B", Value: ""}},
			Body: [][]byte{[]byte("he"), nil, []byte("llo")}},
			"POST / HTTP/1.1\r\nHost: test\r\nX-B: 2\r\nx-a: 1\r\nX-B: \r\nContent-Length: 5\r\n\r\nhello"},
		{"post without a body", "http://test", &wire.Request{Method: "POST", Path: "/"}, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"},
		{"head longer than a buffer", "http://test", &wire.Request{Method: "POST", Path: "/" + strings.Repeat("p", 5000), Body: [][]byte{[]byte("hello")}},
			"POST /" + strings.Repeat("p", 5000) + " HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			c := newClient(t, wire.Config{Dial: pipes(t, func(nc net.Conn) {
				b := make([]byte, len(tt.want))
				_, _ = io.ReadFull(nc, b)
				got <- string(b)
				_, _ = io.WriteString(nc, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			})})
			if _, _, err := call(t, newOrigin(t, c, tt.url), tt.req); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, <-got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestRefused checks that nothing is dialled for a request that would
// break the framing, and that no error quotes it.
func TestRequestRefused(t *testing.T) {
	t.Parallel()
	field := func(name, value string) *wire.Request {
		return &wire.Request{Method: "POST", Path: "/", Fields: []wire.Field{{Name: name, Value: value}}}
	}
	tests := []struct {
		name string
		req  *wire.Request
	}{
		{"CR LF in a value", field("X-A", "secret\r\nHost: evil")},
		{"LF in a value", field("X-A", "secret\nHost: evil")},
		{"NUL in a value", field("X-A", "secret\x00")},
		{"CR LF in a name", field("secret\r\nX-A", "b")},
		{"space in a name", field("secret a", "b")},
		{"no name", field("", "secret")},
		{"Host", field("host", "secret")},
		{"Content-Length", field("Content-Length", "secret")},
		{"Transfer-Encoding", field("transfer-encoding", "secret")},
		{"Connection", field("Connection", "secret")},
		{"Keep-Alive", field("Keep-Alive", "secret")},
		{"Proxy-Connection", field("Proxy-Connection", "secret")},
		{"Proxy-Authorization", field("Proxy-Authorization", "secret")},
		{"TE", field("te", "secret")},
		{"Trailer", field("Trailer", "secret")},
		{"Upgrade", field("Upgrade", "secret")},
		{"Expect", field("Expect", "secret")},
		{"space in the path", &wire.Request{Method: "GET", Path: "/secret b"}},
		{"CR LF in the path", &wire.Request{Method: "GET", Path: "/secret\r\nHost: evil"}},
		{"fragment", &wire.Request{Method: "GET", Path: "/#secret"}},
		{"not ASCII", &wire.Request{Method: "GET", Path: "/secretä"}},
		{"path without a slash", &wire.Request{Method: "GET", Path: "secret"}},
		{"absolute path", &wire.Request{Method: "GET", Path: "http://secret/"}},
		{"no method", &wire.Request{Path: "/"}},
		{"space in the method", &wire.Request{Method: "GET /secret", Path: "/"}},
		{"CONNECT", &wire.Request{Method: "CONNECT", Path: "/"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, wire.Config{Dial: pipes(t, sayOpen(ok))})
			_, err := newOrigin(t, c, "http://test").Do(t.Context(), tt.req)
			if wire.KindOf(err) != wire.ErrRequest || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v", err)
			}
			if s := statsOf(c); s.Dials != 0 {
				t.Errorf("%d dials", s.Dials)
			}
		})
	}
}

func TestOriginRefused(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "test", "ftp://test", "http://", "http://:80", "http://user:secret@test", "http://test?secret", "http://test/#secret",
		"http://te st", "http://tä.example", "http://test:secret", "://secret", "http://test\r\nsecret"} {
		_, err := newClient(t, wire.Config{}).Origin(wire.OriginConfig{URL: url})
		if wire.KindOf(err) != wire.ErrRequest || strings.Contains(err.Error(), "secret") {
			t.Errorf("Origin(%q): %v", url, err)
		}
	}
}

// TestConnectErrors checks that where nothing was sent the kind says so.
func TestConnectErrors(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close() // nobody listens there now
	c := newClient(t, wire.Config{})
	_, err = newOrigin(t, c, url).Do(t.Context(), post("x"))
	if !errors.Is(err, wire.ErrConnect) {
		t.Errorf("error %v, want ErrConnect", err)
	}
	if s := statsOf(c); s.Dials != 1 || s.DialErrors != 1 || s.Open != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestBrokenWriteOnPooled has the write fail before its first byte, on a
// connection that looked alive: the call is made again, also a POST, and the
// server sees it once.
func TestBrokenWriteOnPooled(t *testing.T) {
	t.Parallel()
	var dials, requests atomic.Int32
	dial := pipes(t, func(nc net.Conn) {
		br := bufio.NewReader(nc)
		for readRequest(br) {
			requests.Add(1)
			_, _ = io.WriteString(nc, ok)
		}
	})
	c := newClient(t, wire.Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		return &failingWriter{Conn: nc, first: dials.Add(1) == 1}, err
	}})
	o := newOrigin(t, c, "http://test")
	for range 2 {
		if _, body, err := call(t, o, post("x")); err != nil || body != "ok" {
			t.Fatalf("body %q, error %v", body, err)
		}
	}
	if dials.Load() != 2 || requests.Load() != 2 {
		t.Errorf("%d dials, %d requests; want 2, 2", dials.Load(), requests.Load())
	}
	if s := statsOf(c); s.Retries != 1 || s.Open != 1 {
		t.Errorf("stats %+v; want 1 retry, 1 open", s)
	}
}

// failingWriter is a connection whose second write fails, if it is the first.
type failingWriter struct {
	net.Conn
	first  bool
	writes int
}

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.writes++; f.first && f.writes > 1 {
		return 0, errors.New("broken pipe")
	}
	return f.Conn.Write(p)
}
