package sim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// Limits of the loop's requests.
const (
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 64 << 20
	// keptBodyBytes is how large a body's buffer may be to be kept for the
	// connection's next request.
	keptBodyBytes = 2 << 20
)

// loop serves HTTP/1.1 on one connection. It does much less than net/http's
// server, in one goroutine, and so costs a fraction of it; and it can break an
// answer in ways that net/http can't. It is a wire.
type loop struct {
	p     *Provider
	conn  net.Conn
	read  *bufio.Reader
	out   []byte // what leaves with the next write
	body  []byte
	call  call
	timer *time.Timer

	chunked bool // the answer's length isn't known
	last    bool // the connection ends with this answer
}

var _ wire = (*loop)(nil)

func (l *loop) run() {
	defer l.conn.Close()
	for !l.last {
		in, err := l.request()
		if err != nil {
			l.complain(err)
			return
		}
		l.call.serve(l.p, l, in)
		if cap(l.body) > keptBodyBytes {
			l.body = nil
		}
	}
}

var (
	errTooLarge  = errors.New("sim: the request is too large")
	errMalformed = errors.New("sim: the request is no HTTP/1.1")
)

// complain answers a request that couldn't be read; a connection that ended
// needs no answer.
func (l *loop) complain(err error) {
	status := 0
	switch {
	case errors.Is(err, errTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errMalformed):
		status = http.StatusBadRequest
	default:
		return
	}
	l.last = true
	l.begin(status, nil, 0)
	_ = l.write(nil) // the connection is closed either way
}

// framing is what a request's header says of its body.
type framing struct {
	length  int
	chunked bool
	expect  bool // 100-continue
}

// request reads a request.
func (l *loop) request() (incoming, error) {
	line, err := l.line()
	if err != nil {
		return incoming{}, err
	}
	method, rest, ok := bytes.Cut(line, []byte{' '})
	target, version, ok2 := bytes.Cut(rest, []byte{' '})
	if !ok || !ok2 || !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return incoming{}, errMalformed
	}
	l.last = string(version) == "HTTP/1.0"
	path, _, _ := bytes.Cut(target, []byte{'?'})
	in := incoming{method: string(method), path: string(path)}
	var f framing
	for size := 0; ; {
		if line, err = l.line(); err != nil {
			return incoming{}, err
		}
		if len(line) == 0 {
			break
		}
		if size += len(line); size > maxHeaderBytes {
			return incoming{}, errTooLarge
		}
		if err := l.header(line, &in, &f); err != nil {
			return incoming{}, err
		}
	}
	err = l.readBody(f)
	in.body = l.body
	return in, err
}

// line reads a line without its end. It is valid until the next read.
func (l *loop) line() ([]byte, error) {
	line, err := l.read.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// header reads one line of the header.
func (l *loop) header(line []byte, in *incoming, f *framing) error {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok {
		return errMalformed
	}
	value = textproto.TrimBytes(value)
	is := func(s string) bool { return len(name) == len(s) && bytes.EqualFold(name, []byte(s)) }
	switch {
	case is("content-length"):
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 0 {
			return errMalformed
		}
		f.length = n
	case is("transfer-encoding"):
		f.chunked = bytes.EqualFold(value, []byte("chunked"))
	case is("connection"):
		l.last = l.last || bytes.EqualFold(value, []byte("close"))
	case is("expect"):
		f.expect = true
	case is("x-client-request-id"):
		in.clientID = string(value)
	case is("sim-fault"):
		in.fault = string(value)
	case is("x-api-key"):
		in.key = string(value)
	case is("authorization") && len(value) > 7 && bytes.EqualFold(value[:7], []byte("bearer ")):
		in.key = string(value[7:])
	}
	return nil
}

func (l *loop) readBody(f framing) error {
	l.body = l.body[:0]
	if f.length > maxBodyBytes {
		return errTooLarge
	}
	if f.expect {
		if _, err := l.conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return err
		}
	}
	if f.chunked {
		return l.readChunks()
	}
	return l.readMore(f.length)
}

// readMore reads n more bytes of the body.
func (l *loop) readMore(n int) error {
	from := len(l.body)
	if from+n > cap(l.body) {
		l.body = append(make([]byte, 0, max(from+n, 2*cap(l.body))), l.body...)
	}
	l.body = l.body[:from+n]
	_, err := io.ReadFull(l.read, l.body[from:])
	return err
}

func (l *loop) readChunks() error {
	for {
		line, err := l.line()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte{';'})
		n, err := strconv.ParseUint(string(textproto.TrimBytes(size)), 16, 32)
		if err != nil {
			return errMalformed
		}
		if len(l.body)+int(n) > maxBodyBytes {
			return errTooLarge
		}
		if err := l.readMore(int(n)); err != nil {
			return err
		}
		for { // the chunk's end, or the trailer's
			if line, err = l.line(); err != nil {
				return err
			}
			if n > 0 || len(line) == 0 {
				break
			}
		}
		if n == 0 {
			return nil
		}
	}
}
