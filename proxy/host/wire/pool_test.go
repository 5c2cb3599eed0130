package wire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"manti/proxy/host/wire"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestPoolReusesTheLatest(t *testing.T) {
	t.Parallel()
	c := newClient(t, wire.Config{Dial: pipes(t, sayOpen(ok, ok, ok))})
	o := newOrigin(t, c, "http://test")
	for i := range 3 {
		resp, body, err := call(t, o, get("/"))
		if err != nil || body != "ok" || resp.Reused != (i > 0) {
			t.Fatalf("call %d: body %q, reused %t, error %v", i, body, resp.Reused, err)
		}
	}
	if s := statsOf(c); s.Dials != 1 || s.Reuses != 2 || s.Idle != 1 || s.Open != 1 {
		t.Errorf("stats %+v; want 1 dial, 2 reuses, 1 idle and open", s)
	}
}

// TestPoolReturnsAtTheEnd has the connection back as soon as the last byte is
// read, before Close.
func TestPoolReturnsAtTheEnd(t *testing.T) {
	t.Parallel()
	c := newClient(t, wire.Config{Dial: pipes(t, sayOpen(ok))})
	resp, err := newOrigin(t, c, "http://test").Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if s := statsOf(c); s.Idle != 1 {
		t.Errorf("%d idle before Close, want 1", s.Idle)
	}
	resp.Body.Close()
	resp.Body.Close()
	if s := statsOf(c); s.Idle != 1 || s.Open != 1 {
		t.Errorf("%d idle, %d open after Close, want 1, 1", s.Idle, s.Open)
	}
}

func TestCloseBeforeTheEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, bytes string
		idle        int
	}{
		{"the end has arrived", ok, 1},
		{"the last chunk has arrived", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1},
		{"more is to come", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", 0},
		{"the last chunk is to come", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", 0},
		{"malformed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, wire.Config{Dial: pipes(t, sayOpen(tt.bytes))})
			resp, err := newOrigin(t, c, "http://test").Do(t.Context(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if s := statsOf(c); s.Idle != tt.idle || s.Open != int64(tt.idle) {
				t.Errorf("%d idle, %d open; want %d", s.Idle, s.Open, tt.idle)
			}
			if _, err := resp.Body.Read(make([]byte, 1)); wire.KindOf(err) != wire.ErrClosed && err != io.EOF {
				t.Errorf("Read behind Close: %v", err)
			}
		})
	}
}

// TestPoolProbes lets the peer do something with an idle connection. The next
// call must notice before it writes.
func TestPoolProbes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(nc *net.TCPConn) error
	}{
		{"closes", func(nc *net.TCPConn) error { return nc.CloseWrite() }},
		{"resets", func(nc *net.TCPConn) error { _ = nc.SetLinger(0); return nc.Close() }},
		{"talks", func(nc *net.TCPConn) error {
			_, err := io.WriteString(nc, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var requests int
			var first *net.TCPConn
			url := listen(t, func(nc net.Conn) {
				br := bufio.NewReader(nc)
				for readRequest(br) {
					mu.Lock()
					requests++
					if first == nil {
						first = nc.(*net.TCPConn)
					}
					mu.Unlock()
					_, _ = io.WriteString(nc, ok)
				}
			})
			c := newClient(t, wire.Config{})
			o := newOrigin(t, c, url)
			if _, _, err := call(t, o, post("a")); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			err := tt.do(first)
			mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			resp, body, err := call(t, o, post("b"))
			if err != nil || body != "ok" || resp.Reused {
				t.Errorf("second call: %q, reused %t, %v", body, resp.Reused, err)
			}
			if s := statsOf(c); s.Stale != 1 || s.Dials != 2 || s.Open != 1 {
				t.Errorf("stats %+v; want 1 stale, 2 dials, 1 open", s)
			}
			if requests != 2 {
				t.Errorf("the server saw %d requests, want 2", requests)
			}
		})
	}
}

func TestPoolAges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		cfg   wire.Config
		bytes string
		wait  time.Duration
		reuse bool
	}{
		{"young", wire.Config{}, ok, 89 * time.Second, true},
		{"idle too long", wire.Config{}, ok, 91 * time.Second, false},
		{"no limit", wire.Config{MaxIdleAge: -1, MaxAge: -1}, ok, 24 * time.Hour, true},
		{"too old", wire.Config{MaxIdleAge: time.Hour}, ok, 10 * time.Minute, false},
		{"within the peer's limit", wire.Config{}, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=9\r\nContent-Length: 2\r\n\r\nok", 3 * time.Second, true},
		{"too near to the peer's limit", wire.Config{}, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok", 4 * time.Second, false},
		{"the peer keeps none", wire.Config{}, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok", time.Millisecond, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tt.cfg.Dial = pipes(t, sayOpen(tt.bytes, tt.bytes))
				o := newOrigin(t, newClient(t, tt.cfg), "http://test")
				if _, _, err := call(t, o, get("/")); err != nil {
					t.Fatal(err)
				}
				<-time.After(tt.wait)
				resp, _, err := call(t, o, get("/"))
				if err != nil || resp.Reused != tt.reuse {
					t.Errorf("reused %t, error %v; want %t", resp.Reused, err, tt.reuse)
				}
			})
		})
	}
}

func TestPoolLimit(t *testing.T) {
	t.Parallel()
	c := newClient(t, wire.Config{MaxIdle: 2, Dial: pipes(t, sayOpen(ok))})
	o := newOrigin(t, c, "http://test")
	var open []*wire.Response
	for range 5 {
		resp, err := o.Do(t.Context(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	for _, resp := range open {
		resp.Body.Close()
	}
	if s := statsOf(c); s.Idle != 2 || s.Open != 2 || s.Dials != 5 {
		t.Errorf("stats %+v; want 5 dials, 2 idle and open", s)
	}
}

// TestRun has idle connections closed in time: those grown old, those left by
// their peer, and all at the end.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		closing := make(chan struct{})
		var served int
		c := newClient(t, wire.Config{Dial: pipes(t, func(nc net.Conn) {
			served++
			if served > 1 {
				sayOpen(ok)(nc)
				return
			}
			say(ok)(nc) // and close, but only when told to
			<-closing
		})})
		o := newOrigin(t, c, "http://test")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()

		var open []*wire.Response
		for range 3 {
			resp, err := o.Do(t.Context(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, resp)
		}
		open[0].Body.Close()
		open[1].Body.Close()
		wantIdle := func(when string, n int) {
			t.Helper()
			if s := statsOf(c); s.Idle != n {
				t.Errorf("%s: %d idle, want %d", when, s.Idle, n)
			}
		}
		wantIdle("at first", 2)
		close(closing)
		<-time.After(20 * time.Second)
		wantIdle("one left by its peer", 1)
		<-time.After(100 * time.Second)
		wantIdle("one too old", 0)
		open[2].Body.Close()
		wantIdle("a new one", 1)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		wantIdle("after the end", 0)
		if _, _, err := call(t, o, get("/")); err != nil {
			t.Errorf("call after the end: %v", err)
		}
		if s := statsOf(c); s.Open != 0 || s.Stale != 1 {
			t.Errorf("stats %+v; want none open, 1 stale", s)
		}
	})
}

// TestStaleNeverTwice has a server close each connection right behind its answer,
// without saying so: the worst case for keep-alive. Each call that succeeds was
// worked on once, none twice, and the others say that they are in doubt.
func TestStaleNeverTwice(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	url := listen(t, func(nc net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil {
			return
		}
		mu.Lock()
		seen[req.URL.Path]++
		mu.Unlock()
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(nc, ok)
	})
	c := newClient(t, wire.Config{})
	o := newOrigin(t, c, url)
	const workers, calls = 8, 200
	var wg sync.WaitGroup
	errs := make([]map[string]error, workers)
	for w := range workers {
		errs[w] = map[string]error{}
		wg.Go(func() {
			for i := range calls {
				r := post("{}")
				r.Path = fmt.Sprintf("/%d/%d", w, i)
				_, _, err := call(t, o, r)
				errs[w][r.Path] = err
			}
		})
	}
	wg.Wait()
	doubt := 0
	for w := range errs {
		for path, err := range errs[w] {
			switch n := seen[path]; {
			case err == nil && n != 1, n > 1:
				t.Errorf("%s: worked on %d times, error %v", path, n, err)
			case err != nil && wire.KindOf(err) != wire.ErrAmbiguous:
				t.Errorf("%s: %v, want ErrAmbiguous", path, err)
			case err != nil:
				doubt++
			}
		}
	}
	s := statsOf(c)
	t.Logf("%d calls: %d in doubt, %d found stale, %d repeated", workers*calls, doubt, s.Stale, s.Retries)
	if s.Stale == 0 {
		t.Error("no stale connection was found")
	}
	if s.Open != int64(s.Idle) {
		t.Errorf("%d open, %d idle", s.Open, s.Idle)
	}
}

// TestRepeat drops a pooled connection without an answer, when it is too late to
// see that before writing. Only a call that changes nothing is made again.
func TestRepeat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method string
		want   error
	}{{"GET", nil}, {"HEAD", nil}, {"POST", wire.ErrAmbiguous}, {"PUT", wire.ErrAmbiguous}} {
		t.Run(tt.method, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var requests int
			c := newClient(t, wire.Config{Dial: pipes(t, func(nc net.Conn) {
				br := bufio.NewReader(nc)
				for readRequest(br) {
					mu.Lock()
					requests++
					n := requests
					mu.Unlock()
					if n == 2 {
						return
					}
					_, _ = io.WriteString(nc, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			})})
			o := newOrigin(t, c, "http://test")
			if _, _, err := call(t, o, get("/")); err != nil {
				t.Fatal(err)
			}
			_, _, err := call(t, o, &wire.Request{Method: tt.method, Path: "/"})
			if kind := wire.KindOf(err); tt.want == nil && err != nil || tt.want != nil && kind != tt.want {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			want := 2
			if tt.want == nil {
				want = 3
			}
			if requests != want {
				t.Errorf("the server saw %d requests, want %d", requests, want)
			}
		})
	}
}
