package sim

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// conn is one end of an in-memory connection.
type conn struct {
	in, out *pipe
	local   addr
	remote  addr
}

// newConns are the two ends of a connection.
func newConns(target string) (client, server *conn) {
	up, down := newPipe(), newPipe()
	client = &conn{in: down, out: up, local: "sim-client", remote: addr(target)}
	server = &conn{in: up, out: down, local: addr(target), remote: "sim-client"}
	return client, server
}

type addr string

func (addr) Network() string  { return "sim" }
func (a addr) String() string { return string(a) }

var _ net.Conn = (*conn)(nil)

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.wrap("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.wrap("write", err)
}

// wrap makes errors look like those of package net; io.EOF stays bare.
func (c *conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "sim", Source: c.local, Addr: c.remote, Err: err}
}

// Close is a FIN: what has been written can still be read.
func (c *conn) Close() error {
	c.out.set(func() { c.out.eof = true })
	c.in.set(func() { c.in.gone = true })
	return nil
}

// reset is a RST: the other end reads what has arrived, then
// syscall.ECONNRESET.
func (c *conn) reset() {
	c.out.set(func() { c.out.torn = syscall.ECONNRESET })
	c.in.set(func() { c.in.torn, c.in.gone = syscall.ECONNRESET, true })
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t) // neither returns an error
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.set(func() { c.in.readBy.at = t })
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.set(func() { c.out.writeBy.at = t })
	return nil
}
