package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// maxEmptyReads is how often a read may bring neither a byte nor an error, as
// io.Reader allows.
const maxEmptyReads = 16

// conn is a connection to an endpoint. It belongs to one call at a time, or to
// the endpoint's pool.
type conn struct {
	end  *endpoint
	sock *socket
	nc   net.Conn // sock, or TLS over it
	born time.Time
	idle time.Time     // since when in the pool
	keep time.Duration // how long the peer keeps it idle; 0: not said
	used bool          // has carried a call

	// While a call has it: buf[r:w] was read from nc and not yet used.
	buf     []byte
	r, w    int
	last    int       // bytes of the last read into buf
	seen    time.Time // when the last bytes came
	readErr error     // came with them

	upload *upload // of a long request; nil: none
	unhook func() bool
	probe  [1]byte
}

func (e *endpoint) newConn(nc net.Conn) *conn {
	e.open.Add(1)
	c := &conn{end: e, sock: newSocket(nc, e.client.cfg.IdleTimeout), born: time.Now()}
	c.nc = c.sock
	return c
}

// plain says whether there is no TLS, so that writev can be used.
func (c *conn) plain() bool {
	_, secure := c.nc.(*tls.Conn)
	return !secure
}

// watch ends whatever the connection waits for when ctx ends.
func (c *conn) watch(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	c.unhook = context.AfterFunc(ctx, func() { c.sock.abort(context.Cause(ctx)) })
}

// unwatch is false if ctx has ended: then the connection is lost.
func (c *conn) unwatch() bool {
	stop := c.unhook
	c.unhook = nil
	return stop == nil || stop()
}

// alive probes a connection that has been idle. What TLS has to say (tickets, new
// keys) is heard. An end, an error, and data that nobody asked for make it false.
func (c *conn) alive() bool {
	c.sock.nowait = true
	n, err := c.nc.Read(c.probe[:])
	c.sock.nowait = false
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// fail ends the call and the connection with it. If the call's context has ended,
// that is the reason, whatever else was seen of it.
func (c *conn) fail(kind Kind, op string, err error) *Error {
	if cause := c.sock.aborted(); cause != nil {
		kind, err = ErrCanceled, cause
	}
	c.release(false)
	return fail(kind, op, err)
}

// release ends the call: the connection goes to the pool if the peer keeps it and
// nothing of the call is left on it; else it is closed.
func (c *conn) release(reuse bool) {
	reuse = reuse && c.r == c.w && c.readErr == nil && c.upload.complete()
	reuse = c.unwatch() && reuse
	if !reuse {
		c.sock.abort(net.ErrClosed)
		c.upload.wait()
	}
	c.upload = nil
	c.dropBuffer()
	if !reuse {
		c.end.open.Add(-1)
		return
	}
	c.sock.limit = time.Time{}
	c.end.put(c)
}

// bury closes an idle connection, with TLS's farewell.
func (c *conn) bury() {
	_ = c.nc.Close() // nothing depends on it any more
	c.end.open.Add(-1)
}

func (c *conn) dropBuffer() {
	c.end.client.buffers.put(c.buf)
	c.buf, c.r, c.w, c.last, c.readErr = nil, 0, 0, 0, nil
}

// readHead reads one head and leaves what follows it in buf.
func (c *conn) readHead() (head, error) {
	limit := c.end.client.cfg.MaxHeaderBytes
	for scanned := 0; ; {
		if n := headEnd(c.buf[c.r:c.w], scanned); n > limit {
			return head{}, ErrHeaderTooLarge
		} else if n > 0 {
			s := string(c.buf[c.r : c.r+n])
			c.r += n
			return parseHead(s)
		}
		if scanned = c.w - c.r; scanned > limit {
			return head{}, ErrHeaderTooLarge
		}
		if err := c.more(limit); err != nil {
			return head{}, err
		}
	}
}

// more reads behind what is in buf, for which it makes room: up to limit, and
// then some.
func (c *conn) more(limit int) error {
	pool := &c.end.client.buffers
	switch {
	case c.buf == nil:
		c.buf = pool.getSmall()
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	case c.w == len(c.buf):
		larger := pool.get(min(8*len(c.buf), limit+smallBuffer))
		copy(larger, c.buf)
		pool.put(c.buf)
		c.buf = larger
	}
	n, err := c.read(c.buf[c.w:])
	c.w += n
	c.last = n
	return err
}

// refill reads into the empty buffer. Its size follows the body's pace: a body
// that fills it gets a larger one, one that trickles a small one.
func (c *conn) refill() error {
	pool := &c.end.client.buffers
	switch {
	case c.last >= len(c.buf) && len(c.buf) < largeBuffer:
		pool.put(c.buf)
		c.buf = pool.getLarge()
	case c.last < smallBuffer/2 && len(c.buf) > smallBuffer:
		pool.put(c.buf)
		c.buf = pool.getSmall()
	}
	n, err := c.read(c.buf)
	c.r, c.w, c.last = 0, n, n
	return err
}

// read returns at least one byte, or why there is none.
func (c *conn) read(p []byte) (int, error) {
	err := c.readErr
	for empty := 0; err == nil; empty++ {
		var n int
		if n, err = c.nc.Read(p); n > 0 {
			c.readErr = err
			c.seen = time.Now()
			return n, nil
		}
		if empty == maxEmptyReads {
			return 0, io.ErrNoProgress
		}
	}
	return 0, err
}

// setLimit lets reads wait until d behind from; d <= 0: for ever.
func (c *conn) setLimit(from time.Time, d time.Duration) {
	if d <= 0 {
		c.sock.limit = time.Time{}
		return
	}
	c.sock.limit = from.Add(d)
}
