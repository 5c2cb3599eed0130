package wire_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/host/wire"
)

// answers are what servers may say, byte by byte, and what must come of it.
var answers = []struct {
	name    string
	method  string // default GET
	bytes   string
	open    bool // the server then waits; else it closes
	status  int  // default 200
	body    string
	header  string // "Name=value", which must be there; "Name" must not
	trailer string // "Name=value"
	head    error  // kind of Do's error
	err     error  // kind of the body's
	reuse   bool   // the connection is pooled; needs open
}{
	// Framing.
	{name: "content length", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", open: true, body: "hello", reuse: true, header: "Content-Length=5"},
	{name: "content length 0", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", open: true, reuse: true},
	{name: "content length twice, the same", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", reuse: true},
	{name: "content length twice, differing", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\noks", open: true, head: wire.ErrMalformed},
	{name: "content length as a list", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", open: true, head: wire.ErrMalformed},
	{name: "content length with a sign", bytes: "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", open: true, head: wire.ErrMalformed},
	{name: "content length negative", bytes: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "content length overflowing", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "body shorter than content length", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", body: "short", err: wire.ErrTruncated},
	{name: "bytes behind the body", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", open: true, body: "ok"},
	{name: "ended by close", bytes: "HTTP/1.1 200 OK\r\n\r\nall of it", body: "all of it"},
	{name: "ended by close, empty", bytes: "HTTP/1.1 200 OK\r\n\r\n"},
	{name: "chunked", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", open: true, body: "hello, world", reuse: true, header: "Transfer-Encoding"},
	{name: "chunked, upper case and leading zeros", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n00A\r\n0123456789\r\n000\r\n\r\n", open: true, body: "0123456789", reuse: true},
	{name: "chunked, empty", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", open: true, reuse: true},
	{name: "chunk extension", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d\"\r\nok\r\n0;x\r\n\r\n", open: true, body: "ok", reuse: true},
	{name: "space behind the chunk size", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n", open: true, body: "ok", reuse: true},
	{name: "chunk extension too long", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 5000) + "\r\nok\r\n0\r\n\r\n", open: true, err: wire.ErrMalformed},
	{name: "chunk size not hex", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", open: true, err: wire.ErrMalformed},
	{name: "chunk size empty", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n", open: true, err: wire.ErrMalformed},
	{name: "chunk size with 0x", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n", open: true, err: wire.ErrMalformed},
	{name: "chunk size overflowing", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n", open: true, err: wire.ErrMalformed},
	{name: "chunk longer than its size", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", open: true, body: "ok", err: wire.ErrMalformed},
	{name: "chunk size ended by bare LF", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", open: true, err: wire.ErrMalformed},
	{name: "chunk ended by bare LF", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\n0\r\n\r\n", open: true, body: "ok", err: wire.ErrMalformed},
	{name: "chunked without the last chunk", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", body: "ok", err: wire.ErrTruncated},
	{name: "chunked without the last empty line", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", body: "ok", err: wire.ErrTruncated},
	{name: "cut within a chunk", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok", body: "ok", err: wire.ErrTruncated},
	{name: "bytes behind the last chunk", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", open: true, body: "ok"},
	{name: "trailer", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\nContent-Length: 9\r\n\r\n", open: true, body: "ok", trailer: "X-Sum=7", reuse: true},
	{name: "trailer malformed", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nno colon\r\n\r\n", open: true, body: "ok", err: wire.ErrMalformed},
	{name: "trailer with bare LF", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\na: b\n\r\n", open: true, body: "ok", err: wire.ErrMalformed},
	{name: "trailer too large", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\na: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", open: true, body: "ok", err: wire.ErrHeaderTooLarge},
	{name: "both lengths", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", open: true, body: "ok", header: "Content-Length"},
	{name: "gzip, chunked", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "chunked twice", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "transfer encoding identity", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", head: wire.ErrMalformed},
	{name: "content encoding is left alone", bytes: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", open: true, body: "\x1f\x8b", header: "Content-Encoding=gzip", reuse: true},

	// No body.
	{name: "204", bytes: "HTTP/1.1 204 No Content\r\n\r\n", open: true, status: 204, reuse: true},
	{name: "204 with a length", bytes: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", open: true, status: 204},
	{name: "304 with a length", bytes: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", open: true, status: 304, reuse: true},
	{name: "HEAD", method: "HEAD", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", open: true, reuse: true, header: "Content-Length=5"},
	{name: "HEAD, chunked", method: "HEAD", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", open: true, reuse: true},

	// Interim answers.
	{name: "100", bytes: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", reuse: true},
	{name: "103", bytes: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", open: true, status: 404, body: "no", header: "Link", reuse: true},
	{name: "101", bytes: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "100 without end", bytes: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), open: true, head: wire.ErrMalformed},
	{name: "100 and nothing more", bytes: "HTTP/1.1 100 Continue\r\n\r\n", head: wire.ErrTruncated},

	// Keeping the connection.
	{name: "connection: close", bytes: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", header: "Connection"},
	{name: "connection: Close among others", bytes: "HTTP/1.1 200 OK\r\nConnection: X-Hop, Close\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", header: "X-Hop"},
	{name: "HTTP/1.0", bytes: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok"},
	{name: "HTTP/1.0, keep-alive", bytes: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", reuse: true},
	{name: "HTTP/1.0, chunked", bytes: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "keep-alive field is dropped", bytes: "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=3\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", header: "Keep-Alive", reuse: true},

	// The head's form.
	{name: "no reason", bytes: "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", reuse: true},
	{name: "lower case names", bytes: "HTTP/1.1 200 OK\r\nx-request-id: r1\r\ncontent-length: 2\r\n\r\nok", open: true, body: "ok", header: "X-Request-Id=r1", reuse: true},
	{name: "value trimmed", bytes: "HTTP/1.1 200 OK\r\nX-A:\t  a b \t\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", header: "X-A=a b", reuse: true},
	{name: "bare LF in the head", bytes: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", open: true, body: "ok", reuse: true},
	{name: "empty line first", bytes: "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", open: true, head: wire.ErrMalformed},
	{name: "obsolete fold", bytes: "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "space before the colon", bytes: "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", open: true, head: wire.ErrMalformed},
	{name: "no colon", bytes: "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "empty name", bytes: "HTTP/1.1 200 OK\r\n: x\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "bare CR in a value", bytes: "HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "NUL in a value", bytes: "HTTP/1.1 200 OK\r\nX-A: a\x00b\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "HTTP/2.0", bytes: "HTTP/2.0 200 OK\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "HTTP/1.2", bytes: "HTTP/1.2 200 OK\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "status of two digits", bytes: "HTTP/1.1 20 OK\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "status of four digits", bytes: "HTTP/1.1 2000 OK\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "status 099", bytes: "HTTP/1.1 099 OK\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "another protocol", bytes: "SSH-2.0-OpenSSH_9.2\r\n\r\n", open: true, head: wire.ErrMalformed},
	{name: "status 999", bytes: "HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n", open: true, status: 999, reuse: true},
	{name: "head of 60 KiB", bytes: "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 60<<10) + "\r\nContent-Length: 2\r\n\r\nok", open: true, body: "ok", reuse: true},
	{name: "head too large", bytes: "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 70<<10) + "\r\nContent-Length: 2\r\n\r\nok", open: true, head: wire.ErrHeaderTooLarge},
	{name: "head without end", bytes: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: a\r\n", 10<<10), open: true, head: wire.ErrHeaderTooLarge},
	{name: "head cut", bytes: "HTTP/1.1 200 OK\r\nX-A", head: wire.ErrTruncated},
	{name: "nothing", method: "POST", bytes: "", head: wire.ErrAmbiguous},
}

// TestAnswers lets a server say each of them, in one piece and, as far as they
// are short, byte by byte, and has it read in each of the three ways.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1 << 20, 1} {
				if size == 1 && (len(tt.bytes) > 8<<10 || strings.HasPrefix(tt.name, "bytes behind")) {
					continue // the latter come too late to be seen: TestPoolProbes
				}
				for how, read := range readers {
					c := newClient(t, wire.Config{Dial: pipes(t, speak(tt.bytes, size, tt.open))})
					resp, err := newOrigin(t, c, "http://test").Do(t.Context(), &wire.Request{Method: or(tt.method, "GET")})
					if !errors.Is(err, tt.head) {
						t.Fatalf("Do: error %v, want %v", err, tt.head)
					}
					if err == nil {
						got, err := read(resp.Body)
						if got != tt.body || !errors.Is(err, tt.err) {
							t.Errorf("%s, pieces of %d: body %.40q, error %v; want %.40q, %v", how, size, got, err, tt.body, tt.err)
						}
						if err == nil && !errors.Is(readAgain(resp.Body), io.EOF) {
							t.Errorf("%s: no io.EOF behind the end", how)
						}
						if resp.Status != or(tt.status, 200) {
							t.Errorf("status %d, want %d", resp.Status, or(tt.status, 200))
						}
						checkField(t, resp.Header, tt.header)
						checkField(t, resp.Trailer, tt.trailer)
					}
					idle := 0
					if tt.reuse {
						idle = 1
					}
					if s := statsOf(c); s.Idle != idle || s.Open != int64(idle) {
						t.Errorf("%s, pieces of %d: %d idle, %d open connections; want %d", how, size, s.Idle, s.Open, idle)
					}
				}
			}
		})
	}
}

// TestNothingBehindTheEnd has bytes behind long bodies, which are read past the
// client's buffer.
func TestNothingBehindTheEnd(t *testing.T) {
	t.Parallel()
	want := strings.Repeat("0123456789abcdef", 6400)
	for framing, bytes := range map[string]string{
		"sized":   fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sevil", len(want), want),
		"chunked": fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\nevil", len(want), want),
	} {
		for how, read := range readers {
			o := newOrigin(t, newClient(t, wire.Config{}), listen(t, speak(bytes, len(bytes), true)))
			resp, err := o.Do(t.Context(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := read(resp.Body); got != want || err != nil {
				t.Errorf("%s, %s: %d bytes, error %v; want %d", framing, how, len(got), err, len(want))
			}
		}
	}
}

// readers are the ways to read a body to its end.
var readers = map[string]func(wire.Body) (string, error){
	"Next": func(b wire.Body) (string, error) {
		var all strings.Builder
		for {
			data, err := b.Next()
			all.Write(data)
			if err != nil || len(data) == 0 {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return all.String(), err
			}
		}
	},
	"Read small": func(b wire.Body) (string, error) {
		var all strings.Builder
		_, err := io.CopyBuffer(onlyWriter{&all}, onlyReader{b}, make([]byte, 3))
		return all.String(), err
	},
	"Read large": func(b wire.Body) (string, error) {
		var all strings.Builder
		_, err := io.CopyBuffer(onlyWriter{&all}, onlyReader{b}, make([]byte, 64<<10))
		return all.String(), err
	},
}

type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

func readAgain(b wire.Body) error {
	_, err := b.Next()
	return err
}

func or[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func checkField(t *testing.T, h map[string][]string, want string) {
	t.Helper()
	name, value, there := strings.Cut(want, "=")
	if want == "" {
		return
	}
	var values []string
	if there {
		values = []string{value}
	}
	if diff := cmp.Diff(values, h[name]); diff != "" {
		t.Errorf("field %s (-want +got):\n%s", name, diff)
	}
}

// speak reads a request's head and says all of s in pieces of that size.
func speak(s string, size int, open bool) func(net.Conn) {
	return func(nc net.Conn) {
		if !readRequest(bufio.NewReader(nc)) {
			return
		}
		for s := s; s != ""; {
			n := min(size, len(s))
			if _, err := io.WriteString(nc, s[:n]); err != nil {
				return
			}
			s = s[n:]
		}
		if open {
			_, _ = io.Copy(io.Discard, nc)
		}
	}
}
