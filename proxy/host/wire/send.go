package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

const (
	// inlineBody is the longest request body that is written before the answer is
	// listened for. Up to here the kernels' buffers take all of it even if the
	// peer reads nothing, so the write can't stand in the way of an early answer.
	inlineBody = 64 << 10
	// writePiece is how much is written under one deadline.
	writePiece = 256 << 10
	// writeReturns is how long the end of an upload may trail the answer's end
	// before the connection is given up.
	writeReturns = 50 * time.Millisecond
)

// send writes the request, or starts to if it is long. It returns how many of its
// bytes may have reached the peer.
func (c *conn) send(o *Origin, r *Request) (int64, error) {
	pool := &c.end.client.buffers
	buf := pool.getSmall()
	first, queue := join(r.appendHead(buf[:0], o), r.Body)
	if r.length() <= inlineBody {
		sent, err := c.write(first, queue)
		pool.put(buf)
		return sent, err
	}
	u := &upload{done: make(chan struct{})}
	c.upload = u
	go func() { // ends with the write: release closes the connection and waits
		defer close(u.done)
		u.sent, u.err = c.write(first, queue)
		u.end = time.Now()
		pool.put(buf)
		if errors.Is(u.err, os.ErrDeadlineExceeded) {
			_ = c.sock.conn.Close() // wakes the reader, who asks for u.err
		}
	}()
	return 0, nil
}

// join fills the free end of b with the body's first bytes. If the body fits, all
// is in first; else queue is first and what follows it.
func join(b []byte, body [][]byte) (first []byte, queue [][]byte) {
	for i, s := range body {
		k := min(cap(b)-len(b), len(s))
		b = append(b, s[:k]...)
		if k < len(s) {
			queue = append(make([][]byte, 0, len(body)-i+1), b, s[k:])
			return b, append(queue, body[i+1:]...)
		}
	}
	return b, nil
}

func (c *conn) write(first []byte, queue [][]byte) (sent int64, err error) {
	if queue == nil {
		n, err := c.nc.Write(first)
		return int64(n), err
	}
	for len(queue) > 0 && err == nil {
		var piece net.Buffers
		piece, queue = cut(queue, writePiece)
		var w io.Writer = c.nc
		if c.plain() {
			c.sock.armWrite()
			w = c.sock.conn // writev needs the bare connection
		}
		var n int64
		n, err = piece.WriteTo(w)
		sent += n
	}
	return sent, err
}

// cut takes the first size bytes, or all if they are fewer, from queue, which it
// changes.
func cut(queue [][]byte, size int) (piece net.Buffers, rest [][]byte) {
	for len(queue) > 0 && size > 0 {
		s := queue[0]
		if len(s) > size {
			queue[0] = s[size:]
			return append(piece, s[:size]), queue
		}
		piece = append(piece, s)
		size -= len(s)
		queue = queue[1:]
	}
	return piece, queue
}

// upload is the writing of a long request beside the reading of its answer.
type upload struct {
	done chan struct{} // closed at its end; the rest is set before
	sent int64
	err  error
	end  time.Time
}

// complete says whether all was written; where there is no upload, it was. The
// peer may have read and answered all before the last write has even returned:
// so it waits for a moment.
func (u *upload) complete() bool {
	if u == nil {
		return true
	}
	if !u.ended() {
		select {
		case <-u.done:
		case <-time.After(writeReturns):
			return false
		}
	}
	return u.err == nil
}

func (u *upload) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// wait waits for the end, which is near, as the connection is closed already.
func (u *upload) wait() {
	if u != nil {
		<-u.done
	}
}
