package wire

import (
	"errors"
	"io"
)

// body is the Body of an answer on a conn.
type body struct {
	c       *conn // nil once the call has ended
	resp    *Response
	framing framing
	reuse   bool // as far as the head says
	left    int64
	chunks  chunkDecoder

	from, to int   // c.buf[from:to] is data that was not handed out yet
	ended    bool  // the data is the last
	broken   error // what comes behind the data
	err      error // what comes now that c is nil
}

// begin takes the connection over. An empty body ends, and gives it back, at once.
func (b *body) begin(c *conn, x *answer, h head, method string) {
	b.c, b.resp = c, &x.Response
	b.framing, b.reuse = h.body(method)
	b.left = h.length
	b.chunks.limit = c.end.client.cfg.MaxHeaderBytes
	if b.framing == noBody {
		_ = b.finish() // there is no trailer that could be wrong
	}
}

func (b *body) Next() ([]byte, error) {
	if err := b.ready(); err != nil {
		return nil, err
	}
	data := b.c.buf[b.from:b.to]
	b.from = b.to
	return data, nil
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.direct(len(p)) {
		return b.readDirect(p)
	}
	if err := b.ready(); err != nil {
		return 0, err
	}
	n := copy(p, b.c.buf[b.from:b.to])
	b.from += n
	if b.from == b.to && b.ended {
		_ = b.finish() // its error stays for the next call
	}
	return n, nil
}

func (b *body) Buffered() int {
	if b.c == nil {
		return 0
	}
	if b.from == b.to {
		b.decode()
	}
	return b.to - b.from
}

func (b *body) Close() error {
	if b.c == nil {
		return nil
	}
	b.from = b.to
	b.decode()
	if b.ended && b.finish() == io.EOF {
		return nil
	}
	if c := b.c; c != nil {
		b.c, b.err = nil, fail(ErrClosed, "read body", nil)
		c.release(false)
	}
	return nil
}

// ready waits until there is data.
func (b *body) ready() error {
	for {
		switch {
		case b.c == nil:
			return b.err
		case b.from < b.to:
			return nil
		case b.broken != nil:
			return b.fail(b.broken)
		case b.ended:
			return b.finish()
		case b.c.r < b.c.w:
			b.decode()
		default:
			b.fill()
		}
	}
}

// decode turns all that was read into data; sets ended or broken at the end.
func (b *body) decode() {
	if b.ended || b.broken != nil {
		return
	}
	c := b.c
	raw := c.buf[c.r:c.w]
	data, used := len(raw), len(raw) // toClose: all
	switch b.framing {
	case sized:
		data = int(min(b.left, int64(len(raw))))
		used = data
		b.took(data)
	case chunked:
		data, used, b.broken = b.chunks.decode(raw)
		b.ended = b.chunks.state == chunksDone
	}
	b.from, b.to = c.r, c.r+data
	c.r += used
}

// took notes n bytes of data that were read past decode.
func (b *body) took(n int) {
	switch b.framing {
	case sized:
		b.left -= int64(n)
		b.ended = b.left == 0
	case chunked:
		b.chunks.took(int64(n))
	}
}

// fill reads more; nothing is buffered.
func (b *body) fill() {
	b.c.setLimit(b.c.seen, b.c.end.client.cfg.IdleTimeout)
	b.stopped(b.c.refill())
}

// stopped takes the error of a read: only a body without a length may end so, and
// over TLS only with its farewell (RFC 9112 §9.8), of which crypto/tls makes
// nothing.
func (b *body) stopped(err error) {
	switch {
	case err == nil:
	case b.framing == toClose && errors.Is(err, io.EOF) && (b.c.plain() || !b.c.sock.bare):
		b.ended = true
	case errors.Is(err, io.EOF):
		b.broken = io.ErrUnexpectedEOF
	default:
		b.broken = err
	}
}

// direct says whether a read of n bytes should go past the buffer.
func (b *body) direct(n int) bool {
	if b.c == nil || b.ended || b.broken != nil || b.from < b.to || b.c.r < b.c.w || n < len(b.c.buf) {
		return false
	}
	return b.framing != chunked || b.chunks.state == inData
}

func (b *body) readDirect(p []byte) (int, error) {
	switch b.framing {
	case sized:
		p = p[:min(int64(len(p)), b.left)]
	case chunked:
		p = p[:min(int64(len(p)), b.chunks.left)]
	}
	b.c.setLimit(b.c.seen, b.c.end.client.cfg.IdleTimeout)
	n, err := b.c.read(p)
	if n == 0 {
		b.stopped(err)
		return 0, b.ready()
	}
	b.took(n)
	if b.ended {
		_ = b.finish() // there is no trailer that could be wrong
	}
	return n, nil
}

// finish ends the call at the body's end. It returns io.EOF, unless the trailer is
// malformed.
func (b *body) finish() error {
	if len(b.chunks.trailer) > 0 {
		var f fields
		if err := f.parse(string(b.chunks.trailer), nil); err != nil {
			return b.fail(err)
		}
		b.resp.Trailer = f.header
	}
	c := b.c
	b.c, b.err = nil, io.EOF
	c.release(b.reuse)
	return io.EOF
}

func (b *body) fail(err error) error {
	c := b.c
	b.c = nil
	b.err = c.fail(readFault(err, ErrIdle), "read body", err)
	return b.err
}

var _ Body = (*body)(nil)
