package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"manti/proxy/dialect"
	"manti/proxy/sim"
)

// caller makes one call after another on a connection of its own. It does what
// is needed of HTTP/1.1 and no more: net/http's client would cost more than
// the gateway.
type caller struct {
	dial func() (net.Conn, error)
	req  request
	rec  *recorder

	conn net.Conn
	read *bufio.Reader
	buf  []byte // of a plain answer the body, of a stream what is no whole event yet
}

// readBytes is a connection's read buffer; of 2,000 streams they take 8 MiB.
const readBytes = 4 << 10

// dialTCP connects to an address.
func dialTCP(addr string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.DialTimeout("tcp", addr, callTimeout) }
}

// close ends the connection.
func (c *caller) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing was left to be said
		c.conn = nil
	}
}

// failure is an error with the kind under which it is counted.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.kind + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(kind string, err error) error { return &failure{kind, err} }

// call makes a call that was due at a time and records how it went.
func (c *caller) call(due time.Time) error {
	err := c.try(due)
	if err == nil {
		return nil
	}
	c.close()
	kind := "other"
	if f, ok := errors.AsType[*failure](err); ok {
		kind = f.kind
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		kind = "timeout"
	}
	c.rec.fail(kind)
	return err
}

func (c *caller) try(due time.Time) error {
	if c.conn == nil {
		conn, err := c.dial()
		if err != nil {
			return failed("dial", err)
		}
		c.conn, c.read = conn, bufio.NewReaderSize(conn, readBytes)
	}
	sent := time.Now()
	_ = c.conn.SetDeadline(sent.Add(c.req.timeout)) // a dead connection fails the write below
	if _, err := c.conn.Write(c.req.bytes); err != nil {
		return failed("write", err)
	}
	b, status, err := c.head()
	if err != nil {
		return failed("no answer", err)
	}
	c.buf = c.buf[:0]
	if c.req.stream && status == 200 {
		err = c.stream(b, due)
	} else {
		err = c.plain(b, status, due, sent)
	}
	if err == nil && b.last {
		c.close()
	}
	return err
}

// head reads an answer's status and header.
func (c *caller) head() (*body, int, error) {
	line, err := c.read.ReadSlice('\n')
	if err != nil {
		return nil, 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return nil, 0, fmt.Errorf("no HTTP: %.40q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return nil, 0, fmt.Errorf("no HTTP: %.40q", line)
	}
	b := &body{read: c.read, left: -1}
	for {
		line, err := c.read.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		if len(line) <= 2 {
			return b, status, nil
		}
		b.header(line)
	}
}

// plain reads a whole answer and checks it.
func (c *caller) plain(b *body, status int, due, sent time.Time) error {
	for {
		part, err := b.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return failed("broken body", err)
		}
		c.buf = append(c.buf, part...)
	}
	end := time.Now()
	if status != 200 {
		return failed("status "+strconv.Itoa(status), fmt.Errorf("%.200s", c.buf))
	}
	text, ok := c.text(c.buf)
	if !ok || len(text) != c.req.content || c.buf[len(c.buf)-1] != '}' || !bytes.Contains(c.buf, []byte(`"usage":{`)) {
		return failed("wrong answer", fmt.Errorf("%d bytes: %.200s", len(c.buf), c.buf))
	}
	received, ok1 := sim.Stamp(string(text[:min(len(text), sim.StampBytes)]))
	answered, ok2 := sim.Stamp(string(text[min(len(text), sim.StampBytes):min(len(text), 2*sim.StampBytes)]))
	if ok1 && ok2 && c.rec.counts(due) {
		c.rec.added.record(end.Sub(sent) - answered.Sub(received))
	}
	c.rec.ended(due, end)
	return nil
}

// text is the answer's text in a body or a frame. The load models' needs no
// unescaping.
func (c *caller) text(b []byte) ([]byte, bool) {
	key := []byte(`"content":"`)
	if c.req.api == dialect.Anthropic {
		key = []byte(`"text":"`)
	}
	_, rest, ok := bytes.Cut(b, key)
	if !ok {
		return nil, false
	}
	text, _, ok := bytes.Cut(rest, []byte{'"'})
	return text, ok
}
