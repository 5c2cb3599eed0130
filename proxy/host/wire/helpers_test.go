package wire_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"manti/proxy/host/wire"
)

// newClient is New without an error.
func newClient(t testing.TB, cfg wire.Config) *wire.Client {
	t.Helper()
	c, err := wire.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

func newOrigin(t testing.TB, c *wire.Client, url string) *wire.Origin {
	t.Helper()
	o, err := c.Origin(wire.OriginConfig{URL: url})
	if err != nil {
		t.Fatalf("Origin(%q): %v", url, err)
	}
	return o
}

// served runs a serve function on each connection it is given, and at the test's
// end closes them all and waits.
type served struct {
	serve func(net.Conn)
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newServed(t testing.TB, serve func(net.Conn)) *served {
	s := &served{serve: serve}
	t.Cleanup(func() {
		s.mu.Lock()
		for _, nc := range s.conns {
			nc.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *served) start(nc net.Conn) {
	s.mu.Lock()
	s.conns = append(s.conns, nc)
	s.mu.Unlock()
	s.wg.Go(func() {
		defer nc.Close()
		s.serve(nc)
	})
}

// pipes returns a Dial whose connections are served by serve over net.Pipe.
func pipes(t testing.TB, serve func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	s := newServed(t, serve)
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		s.start(theirs)
		return ours, nil
	}
}

// listen serves TCP connections on the loopback and returns the server's URL.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	s := newServed(t, serve)
	accepting := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-accepting
	})
	go func() {
		defer close(accepting)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.start(nc)
		}
	}()
	return "http://" + l.Addr().String()
}

// say answers each request with the next of answers and then closes; it reads
// whole requests.
func say(answers ...string) func(net.Conn) {
	return func(nc net.Conn) {
		br := bufio.NewReader(nc)
		for _, a := range answers {
			if !readRequest(br) {
				return
			}
			if _, err := io.WriteString(nc, a); err != nil {
				return
			}
		}
	}
}

// sayOpen is say, but waits for the client to close.
func sayOpen(answers ...string) func(net.Conn) {
	return func(nc net.Conn) {
		say(answers...)(nc)
		_, _ = io.Copy(io.Discard, nc)
	}
}

func readRequest(br *bufio.Reader) bool {
	req, err := http.ReadRequest(br)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

func get(path string) *wire.Request { return &wire.Request{Method: "GET", Path: path} }

func post(body ...string) *wire.Request {
	r := &wire.Request{Method: "POST", Path: "/"}
	for _, b := range body {
		r.Body = append(r.Body, []byte(b))
	}
	return r
}

// call makes a call and reads its body to the end.
func call(t testing.TB, o *wire.Origin, r *wire.Request) (*wire.Response, string, error) {
	t.Helper()
	resp, err := o.Do(t.Context(), r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// statsOf returns the sums over all endpoints.
func statsOf(c *wire.Client) wire.Stats {
	var sum wire.Stats
	for _, s := range c.Stats() {
		sum.Dials += s.Dials
		sum.DialErrors += s.DialErrors
		sum.Reuses += s.Reuses
		sum.Stale += s.Stale
		sum.Retries += s.Retries
		sum.Open += s.Open
		sum.Idle += s.Idle
	}
	return sum
}
