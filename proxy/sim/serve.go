package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Dial connects to the provider in memory, whatever the network and address
// say: it is made to be a client's dialler. The connection keeps deadlines and
// works inside a synctest bubble. A host that begins with "refuse." refuses
// it, one that begins with "blackhole." lets ctx run out; a closed provider
// refuses too.
func (p *Provider) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	refused := &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: syscall.ECONNREFUSED}
	switch {
	case ctx.Err() != nil:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: ctx.Err()}
	case strings.HasPrefix(address, "refuse."):
		return nil, refused
	case strings.HasPrefix(address, "blackhole."):
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: ctx.Err()}
	}
	client, server := newConns(address)
	if !p.start(server) {
		return nil, refused
	}
	return client, nil
}

// Serve answers the listener's connections until ctx ends or the provider is
// closed, which return nil. It closes the listener, but leaves connections to
// Close.
func (p *Provider) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	go func() { // ends with ctx, which ends with Serve
		defer close(stopped)
		select {
		case <-ctx.Done():
		case <-p.closing:
		}
		_ = listener.Close() // it is what makes Accept return
	}()
	defer func() { cancel(); <-stopped }()
	for {
		c, err := listener.Accept()
		switch {
		case err == nil:
			if !p.start(c) {
				_ = c.Close() // too late for it
			}
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			return fmt.Errorf("sim: accept: %w", err)
		}
	}
}

// start serves a connection in a goroutine of its own, which Close waits for.
// It returns false if the provider is closed.
func (p *Provider) start(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	p.serving.Go(func() {
		l := &loop{p: p, conn: c, read: bufio.NewReaderSize(c, readBytes)}
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	})
	return true
}

// readBytes is a connection's read buffer. No header line may be longer.
const readBytes = 16 << 10

// Close closes all connections and waits until nothing is served any more.
// Calls that were running are cut. The books stay readable. It always returns
// nil.
func (p *Provider) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
	for c := range p.conns {
		_ = c.Close() // it is gone either way
	}
	p.mu.Unlock()
	p.serving.Wait()
	return nil
}

var _ http.Handler = (*Provider)(nil)
