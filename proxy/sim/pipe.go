package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeBytes is how much a pipe holds before its writer must wait, like a
// socket's buffers.
const pipeBytes = 64 << 10

// pipe is one direction of an in-memory connection: a bounded buffer with the
// manners of TCP. It waits on a sync.Cond only, so that it is idle in the eyes
// of synctest.
type pipe struct {
	mu   sync.Mutex
	cond sync.Cond // L is &mu; signalled on every change

	buf  []byte // guarded by mu, as all below; unread bytes are buf[from:]
	from int
	eof  bool  // the writer has closed
	gone bool  // the reader has closed: writes fail
	torn error // the connection was reset: reads fail once buf is empty

	readBy, writeBy deadline
	waiting         int
}

func newPipe() *pipe {
	p := &pipe{}
	p.cond.L = &p.mu
	return p
}

// deadline is a moment at which waiting ends. Its timer is armed only while
// somebody waits: most deadlines are set anew before they matter.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// wait waits for a change, or for the deadline.
func (p *pipe) wait(d *deadline) {
	if !d.at.IsZero() {
		left := time.Until(d.at)
		if d.timer == nil {
			d.timer = time.AfterFunc(left, p.wake)
		} else {
			d.timer.Reset(left)
		}
	}
	p.waiting++
	p.cond.Wait()
	p.waiting--
	if d.timer != nil {
		d.timer.Stop()
	}
}

// wake wakes all who wait.
func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cond.Broadcast()
}

func (p *pipe) changed() {
	if p.waiting > 0 {
		p.cond.Broadcast()
	}
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.gone:
			return 0, net.ErrClosed
		case p.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case p.from < len(p.buf):
			n := copy(b, p.buf[p.from:])
			p.from += n
			if p.from == len(p.buf) {
				p.buf, p.from = p.buf[:0], 0
			}
			p.changed()
			return n, nil
		case p.torn != nil:
			return 0, p.torn
		case p.eof:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		p.wait(&p.readBy)
	}
}

func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	written := 0
	for {
		switch {
		case p.eof:
			return written, net.ErrClosed
		case p.torn != nil:
			return written, p.torn
		case p.gone:
			return written, syscall.EPIPE
		case p.writeBy.passed():
			return written, os.ErrDeadlineExceeded
		}
		if room := pipeBytes - (len(p.buf) - p.from); room > 0 && len(b) > 0 {
			n := min(room, len(b))
			p.append(b[:n])
			b = b[n:]
			written += n
			p.changed()
		}
		if len(b) == 0 {
			return written, nil
		}
		p.wait(&p.writeBy)
	}
}

// append makes room in front before it grows the buffer.
func (p *pipe) append(b []byte) {
	if p.from > 0 && len(p.buf)+len(b) > cap(p.buf) {
		p.buf = p.buf[:copy(p.buf, p.buf[p.from:])]
		p.from = 0
	}
	p.buf = append(p.buf, b...)
}

// set changes the pipe and wakes all who wait.
func (p *pipe) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.cond.Broadcast()
}
