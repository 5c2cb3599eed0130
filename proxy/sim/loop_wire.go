package sim

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

func (l *loop) begin(status int, header []field, length int) {
	b := append(l.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, '\r', '\n')
	for _, f := range header {
		b = append(b, f.name...)
		b = append(b, ':', ' ')
		b = append(b, f.value...)
		b = append(b, '\r', '\n')
	}
	if l.last {
		b = append(b, "Connection: close\r\n"...)
	}
	l.chunked = length < 0
	if l.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
	} else {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(length), 10)
		b = append(b, "\r\n\r\n"...)
	}
	l.out = b
}

// write sends what has gathered and part, in one write of the connection.
func (l *loop) write(part []byte) error {
	switch {
	case !l.chunked:
		l.out = append(l.out, part...)
	case len(part) > 0:
		l.out = strconv.AppendInt(l.out, int64(len(part)), 16)
		l.out = append(l.out, '\r', '\n')
		l.out = append(l.out, part...)
		l.out = append(l.out, '\r', '\n')
	}
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	if err != nil {
		l.last = true
	}
	return err
}

// end sends the last chunk, if the answer has chunks.
func (l *loop) end() error {
	if !l.chunked {
		return nil
	}
	l.chunked = false
	return l.write([]byte("0\r\n\r\n"))
}

func (l *loop) hangup() {
	l.last = true
	_ = l.conn.Close() // it is gone either way
}

// reset makes the kernel send a RST: that is what a close with a linger of 0
// does.
func (l *loop) reset() {
	l.last = true
	switch c := l.conn.(type) {
	case *conn:
		c.reset()
	case *net.TCPConn:
		_ = c.SetLinger(0) // then the close is a FIN; nothing else to be done
		_ = c.Close()
	default:
		_ = c.Close()
	}
}

func (l *loop) raw(bytes []byte) {
	_, _ = l.conn.Write(bytes) // whoever is gone needs no garbage
	l.hangup()
}

func (l *loop) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if l.timer == nil {
		l.timer = time.NewTimer(d)
	} else {
		l.timer.Reset(d)
	}
	select {
	case <-l.timer.C:
		return nil
	case <-l.p.closing:
		l.timer.Stop()
		l.last = true
		return errClosing
	}
}

// stall reads: the caller has nothing to say until its answer has come, so a
// read returns when it leaves or Close closes the connection. What it says all
// the same is thrown away.
func (l *loop) stall() {
	l.last = true
	for {
		if _, err := l.read.Discard(1); err != nil {
			return
		}
	}
}
