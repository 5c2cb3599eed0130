package wire_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"manti/proxy/host/wire"
)

// TestTimeouts checks, in fake time, when each wait ends and as what.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	cfg := wire.Config{DialTimeout: 3 * time.Second, HandshakeTimeout: 5 * time.Second, HeaderTimeout: 7 * time.Second, IdleTimeout: 2 * time.Second}
	wait := func(d time.Duration) { <-time.After(d) }
	tests := []struct {
		name  string
		url   string
		req   *wire.Request
		serve func(nc net.Conn)
		dial  func(context.Context, string, string) (net.Conn, error)
		kind  wire.Kind
		after time.Duration
	}{
		{name: "dial", kind: wire.ErrConnect, after: 3 * time.Second,
			dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }},
		{name: "tls handshake", url: "https://test", kind: wire.ErrConnect, after: 5 * time.Second,
			serve: func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }},
		{name: "no answer", kind: wire.ErrHeaderTimeout, after: 7 * time.Second, serve: sayOpen("")},
		{name: "answer's head stands still", kind: wire.ErrHeaderTimeout, after: 7 * time.Second, serve: func(nc net.Conn) {
			readRequest(bufio.NewReader(nc))
			wait(6 * time.Second)
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n")
			_, _ = io.Copy(io.Discard, nc)
		}},
		{name: "body stands still", kind: wire.ErrIdle, after: 6*time.Second + 5*1500*time.Millisecond + 2*time.Second, serve: func(nc net.Conn) {
			readRequest(bufio.NewReader(nc))
			wait(6 * time.Second)
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 5 {
				wait(1500 * time.Millisecond)
				_, _ = io.WriteString(nc, "1\r\nx\r\n")
			}
			_, _ = io.Copy(io.Discard, nc)
		}},
		{name: "body stands still at once", kind: wire.ErrIdle, after: 2 * time.Second, serve: sayOpen("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")},
		{name: "request not read", req: post(strings.Repeat("x", 100)), kind: wire.ErrConnect, after: 4 * time.Second,
			serve: func(nc net.Conn) { wait(time.Minute) }},
		{name: "request half read", req: post(strings.Repeat("x", 10<<10)), kind: wire.ErrAmbiguous, after: 4*time.Second + time.Second,
			serve: func(nc net.Conn) { _, _ = nc.Read(make([]byte, 4096)); wait(time.Minute) }},
		{name: "long request half read", req: post(strings.Repeat("x", 1<<20)), kind: wire.ErrAmbiguous, after: 4 * time.Second,
			serve: func(nc net.Conn) { _, _ = nc.Read(make([]byte, 4096)); wait(time.Minute) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := cfg
				if cfg.Dial = tt.dial; cfg.Dial == nil {
					cfg.Dial = pipes(t, tt.serve)
				}
				c := newClient(t, cfg)
				o := newOrigin(t, c, or(tt.url, "http://test"))
				req := tt.req
				if req == nil {
					req = post("x")
				}
				start := time.Now()
				_, _, err := call(t, o, req)
				if kind := wire.KindOf(err); kind != tt.kind || time.Since(start) != tt.after {
					t.Errorf("error %v after %v; want %v after %v", err, time.Since(start), tt.kind, tt.after)
				}
				if s := statsOf(c); s.Open != 0 {
					t.Errorf("%d connections left open", s.Open)
				}
			})
		})
	}
}

// TestSlowStream reads for longer than every limit, none of which is exceeded, on
// one connection: no deadline of an earlier phase or call may cut a later one.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, wire.Config{HeaderTimeout: 7 * time.Second, IdleTimeout: 2 * time.Second, Dial: pipes(t, func(nc net.Conn) {
			br := bufio.NewReader(nc)
			for readRequest(br) {
				<-time.After(6 * time.Second)
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for range 20 {
					<-time.After(1900 * time.Millisecond)
					_, _ = io.WriteString(nc, "1\r\nx\r\n")
				}
				_, _ = io.WriteString(nc, "0\r\n\r\n")
			}
		})})
		o := newOrigin(t, c, "http://test")
		for range 3 {
			if _, body, err := call(t, o, post("x")); err != nil || len(body) != 20 {
				t.Fatalf("body %q, error %v", body, err)
			}
			<-time.After(time.Minute)
		}
		if s := statsOf(c); s.Dials != 1 {
			t.Errorf("%d dials, want 1", s.Dials)
		}
	})
}

// TestHeaderTimeoutRunsFromTheRequestsEnd has a long request read slowly: the
// answer's time begins behind it.
func TestHeaderTimeoutRunsFromTheRequestsEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		thinks time.Duration
		kind   wire.Kind
	}{{"in time", 6 * time.Second, 0}, {"late", 8 * time.Second, wire.ErrHeaderTimeout}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, wire.Config{HeaderTimeout: 7 * time.Second, IdleTimeout: 10 * time.Second, Dial: pipes(t, func(nc net.Conn) {
					br := bufio.NewReader(nc)
					for range 4 { // not the whole
						<-time.After(5 * time.Second)
						_, _ = io.CopyN(io.Discard, br, 100<<10)
					}
					_, _ = io.CopyN(io.Discard, br, (1<<20)-400<<10)
					for b := byte(0); b != '}'; { // the request's last
						b, _ = br.ReadByte()
					}
					<-time.After(tt.thinks)
					_, _ = io.WriteString(nc, ok)
					_, _ = io.Copy(io.Discard, nc)
				})})
				_, _, err := call(t, newOrigin(t, c, "http://test"), post(strings.Repeat("x", 1<<20), "}"))
				if kind := wire.KindOf(err); kind != tt.kind {
					t.Errorf("error %v, want %v", err, tt.kind)
				}
			})
		})
	}
}

var errLeft = errors.New("the caller left")

// TestCancel ends the context in each phase: the call ends at that moment, with
// the cause, and the connection with it.
func TestCancel(t *testing.T) {
	t.Parallel()
	block := func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }
	tests := []struct {
		name  string
		url   string
		req   *wire.Request
		serve func(nc net.Conn)
		dial  func(context.Context, string, string) (net.Conn, error)
	}{
		{name: "in dial", dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }},
		{name: "in the TLS handshake", url: "https://test", serve: block},
		{name: "in a write", req: post(strings.Repeat("x", 60<<10)), serve: func(nc net.Conn) { <-time.After(time.Minute) }},
		{name: "in a long write", req: post(strings.Repeat("x", 1<<20)), serve: func(nc net.Conn) { <-time.After(time.Minute) }},
		{name: "waiting for the head", serve: sayOpen("")},
		{name: "in the body", serve: sayOpen("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")},
		{name: "in a body ended by close", serve: sayOpen("HTTP/1.1 200 OK\r\n\r\nok")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := wire.Config{Dial: tt.dial}
				if cfg.Dial == nil {
					cfg.Dial = pipes(t, tt.serve)
				}
				c := newClient(t, cfg)
				o := newOrigin(t, c, or(tt.url, "http://test"))
				req := tt.req
				if req == nil {
					req = post("x")
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(errLeft) })
				start := time.Now()
				resp, err := o.Do(ctx, req)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
				}
				if wire.KindOf(err) != wire.ErrCanceled || !errors.Is(err, errLeft) || time.Since(start) != time.Second {
					t.Errorf("error %v after %v", err, time.Since(start))
				}
				if s := statsOf(c); s.Open != 0 {
					t.Errorf("%d connections left open", s.Open)
				}
			})
		})
	}
}

// TestCancelBehindTheEnd cancels when the body has been read: nothing is lost, and
// the connection, which may carry another call already, is not touched.
func TestCancelBehindTheEnd(t *testing.T) {
	t.Parallel()
	c := newClient(t, wire.Config{Dial: pipes(t, sayOpen(ok, ok))})
	o := newOrigin(t, c, "http://test")
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := o.Do(ctx, get("/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	cancel()
	if resp, _, err := call(t, o, get("/")); err != nil || !resp.Reused {
		t.Errorf("second call: reused %t, error %v", resp.Reused, err)
	}
	if _, err := o.Do(ctx, get("/")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestCancelBeforeTheEnd cancels when the answer has arrived but was not read: it
// can still be, but the connection is lost.
func TestCancelBeforeTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, wire.Config{Dial: pipes(t, sayOpen(ok))})
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := newOrigin(t, c, "http://test").Do(ctx, get("/"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if body, err := io.ReadAll(resp.Body); string(body) != "ok" || err != nil {
			t.Errorf("body %q, error %v", body, err)
		}
		if s := statsOf(c); s.Idle != 0 || s.Open != 0 {
			t.Errorf("%d idle, %d open; want none", s.Idle, s.Open)
		}
	})
}

// TestDeadline is a context with a deadline, on real sockets.
func TestDeadline(t *testing.T) {
	t.Parallel()
	c := newClient(t, wire.Config{})
	o := newOrigin(t, c, listen(t, sayOpen("")))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := o.Do(ctx, post("x"))
	if wire.KindOf(err) != wire.ErrCanceled || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// lateContext is a context whose deadline has passed before it says so itself.
type lateContext struct {
	context.Context
	passed bool
}

func (c *lateContext) Deadline() (time.Time, bool) {
	if c.passed {
		return time.Now(), true
	}
	return time.Time{}, false
}

// TestDialerMeetsTheDeadlineFirst has a dialer fail by the caller's deadline before
// the context does: that is the caller's end, not the peer's fault.
func TestDialerMeetsTheDeadlineFirst(t *testing.T) {
	t.Parallel()
	ctx := &lateContext{Context: t.Context()}
	c := newClient(t, wire.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
		ctx.passed = true
		return nil, os.ErrDeadlineExceeded
	}})
	_, err := newOrigin(t, c, "http://test").Do(ctx, post("x"))
	if wire.KindOf(err) != wire.ErrCanceled || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want ErrCanceled", err)
	}
}

// TestReset breaks a connection within the body, on real sockets.
func TestReset(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	o := newOrigin(t, newClient(t, wire.Config{}), listen(t, func(nc net.Conn) {
		readRequest(bufio.NewReader(nc))
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
		<-arrived
		_ = nc.(*net.TCPConn).SetLinger(0)
	}))
	resp, err := o.Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := resp.Body.Next()
	close(arrived)
	if string(data) != "ok" || err != nil {
		t.Fatalf("Next: %q, %v", data, err)
	}
	if _, err := resp.Body.Next(); wire.KindOf(err) != wire.ErrReset {
		t.Errorf("Next: %v, want ErrReset", err)
	}
}
