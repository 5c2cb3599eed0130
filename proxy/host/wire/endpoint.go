package wire

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// endpointKey is what connections must have in common to be pooled together.
type endpointKey struct {
	scheme string // http, https
	addr   string // host:port
}

// endpoint is a server with the connections to it.
type endpoint struct {
	endpointKey
	client *Client
	proxy  *proxy      // nil: none
	tls    *tls.Config // nil: http

	dials, dialErrors, reuses, stale, retries atomic.Uint64
	open                                      atomic.Int64

	mu     sync.Mutex
	idle   []*conn // guarded by mu; the last was used last, and is used next
	closed bool    // guarded by mu; nothing is pooled any more
}

// take returns an idle connection that the peer still holds, or nil.
func (e *endpoint) take() *conn {
	for {
		c := e.pop()
		if c == nil {
			return nil
		}
		switch {
		case !c.fresh(time.Now()):
		case c.alive():
			e.reuses.Add(1)
			return c
		default:
			e.stale.Add(1)
		}
		c.bury()
	}
}

func (e *endpoint) pop() *conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.idle) - 1
	if n < 0 {
		return nil
	}
	c := e.idle[n]
	e.idle[n] = nil
	e.idle = e.idle[:n]
	return c
}

// put pools a connection whose call is over.
func (e *endpoint) put(c *conn) {
	c.idle = time.Now()
	if !c.fresh(c.idle) || !e.push(c) {
		c.bury()
	}
}

func (e *endpoint) push(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.idle) >= e.client.cfg.MaxIdle {
		return false
	}
	e.idle = append(e.idle, c)
	return true
}

// fresh says whether the connection's ages allow that it is used at now.
func (c *conn) fresh(now time.Time) bool {
	cfg := &c.end.client.cfg
	idle := now.Sub(c.idle)
	switch {
	case cfg.MaxAge > 0 && now.Sub(c.born) >= cfg.MaxAge:
		return false
	case cfg.MaxIdleAge > 0 && idle >= cfg.MaxIdleAge:
		return false
	default:
		return c.keep == 0 || idle < c.keep
	}
}

// sweep closes what take would not return. It probes with the lock held: that is
// one short system call for each idle connection.
func (e *endpoint) sweep() {
	now := time.Now()
	var dead []*conn
	e.mu.Lock()
	e.idle = slices.DeleteFunc(e.idle, func(c *conn) bool {
		old := !c.fresh(now)
		if !old && c.alive() {
			return false
		}
		if !old {
			e.stale.Add(1)
		}
		dead = append(dead, c)
		return true
	})
	e.mu.Unlock()
	for _, c := range dead {
		c.bury()
	}
}

// drain closes all idle connections; for ever, if closed.
func (e *endpoint) drain(closed bool) {
	e.mu.Lock()
	idle := e.idle
	e.idle = nil
	e.closed = e.closed || closed
	e.mu.Unlock()
	for _, c := range idle {
		c.bury()
	}
}

func (e *endpoint) stats() Stats {
	e.mu.Lock()
	idle := len(e.idle)
	e.mu.Unlock()
	return Stats{
		Endpoint: e.scheme + "://" + e.addr,
		Dials:    e.dials.Load(), DialErrors: e.dialErrors.Load(),
		Reuses: e.reuses.Load(), Stale: e.stale.Load(), Retries: e.retries.Load(),
		Open: e.open.Load(), Idle: idle,
	}
}

// do makes a call, on a pooled connection if there is one. If that turns out to
// be stale and it is certain that nothing was done, on a new one.
func (e *endpoint) do(ctx context.Context, o *Origin, r *Request) (*Response, error) {
	if c := e.take(); c != nil {
		resp, err := c.exchange(ctx, o, r)
		if err == nil || !repeatable(r, err) {
			return resp, err
		}
		e.retries.Add(1)
	}
	c, err := e.dial(ctx)
	if err != nil {
		return nil, err
	}
	return c.exchange(ctx, o, r)
}
