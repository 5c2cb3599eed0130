package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is the byte stream of a connection: below TLS, if there is any. It adds
// to a net.Conn what a call needs and net.Conn makes dear or can't do:
//
//   - a limit for reads that is moved with each of them, without arming the
//     runtime's timer each time: the timer is set once and looked at again only
//     when it fires;
//   - a read that doesn't wait, by which an idle connection is probed;
//   - abort, from any goroutine.
//
// All but abort belong to the one goroutine that has the connection.
type socket struct {
	conn net.Conn
	raw  syscall.RawConn // nil if conn has no file descriptor

	limit  time.Time     // reads fail from then on; zero: never
	armed  time.Time     // the read deadline that conn has now
	stall  time.Duration // a write may stand still for this long, up to twice
	wArmed time.Time     // the write deadline that conn has now

	bare bool // a read has met the end of the stream itself

	nowait bool   // Read returns os.ErrDeadlineExceeded rather than wait
	try    []byte // what tryFD reads into
	tryN   int
	tryErr error
	tryFD  func(fd uintptr) // made once; sets tryN, tryErr

	cause atomic.Pointer[error] // why abort was called
}

func newSocket(nc net.Conn, stall time.Duration) *socket {
	s := &socket{conn: nc, stall: stall}
	if sc, ok := nc.(syscall.Conn); ok && canTryRead {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
			s.tryFD = func(fd uintptr) { s.tryN, s.tryErr = tryRead(fd, s.try) }
		}
	}
	return s
}

// abort ends all reads and writes, now and later; aborted returns the cause.
// Closing, rather than a deadline in the past, can't be undone by a reader that
// arms its timer at the same moment.
func (s *socket) abort(cause error) {
	s.cause.CompareAndSwap(nil, &cause)
	_ = s.conn.Close() // a second close is harmless
}

func (s *socket) aborted() error {
	if p := s.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// Read reads what there is, or waits for it until the limit, when it returns
// os.ErrDeadlineExceeded.
func (s *socket) Read(p []byte) (int, error) {
	if s.nowait {
		return s.readNow(p)
	}
	if !s.limit.IsZero() && (s.armed.IsZero() || s.armed.After(s.limit)) {
		s.arm()
	}
	for {
		n, err := s.conn.Read(p)
		if n > 0 || err == nil {
			return n, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			s.bare = errors.Is(err, io.EOF)
			return n, err
		}
		if !s.limit.IsZero() && !time.Now().Before(s.limit) {
			return 0, os.ErrDeadlineExceeded
		}
		s.arm() // the limit has moved since
	}
}

// arm sets the deadline. Where that fails the connection is closed, at one of its
// ends; the read that follows knows better which.
func (s *socket) arm() {
	s.armed = s.limit
	_ = s.conn.SetReadDeadline(s.limit)
}

// readNow reads without waiting. Where there is no file descriptor, as with
// net.Pipe, a deadline in the past does it: net.Pipe then still tells an end.
func (s *socket) readNow(p []byte) (int, error) {
	if s.raw == nil {
		s.armed = time.Unix(1, 0)
		_ = s.conn.SetReadDeadline(s.armed) // as in arm
		return s.conn.Read(p)
	}
	s.try = p
	err := s.raw.Control(s.tryFD)
	s.try = nil
	if err != nil {
		return 0, err
	}
	return s.tryN, s.tryErr
}

// Write writes all of p, or fails once it has stood still for stall.
func (s *socket) Write(p []byte) (int, error) {
	s.armWrite()
	return s.conn.Write(p)
}

// armWrite leaves the write that follows at least stall. The deadline is set to
// twice that, and again only when less than half is left, hence seldom.
func (s *socket) armWrite() {
	if s.stall <= 0 {
		return
	}
	now := time.Now()
	if s.wArmed.Sub(now) >= s.stall {
		return
	}
	s.wArmed = now.Add(2 * s.stall)
	_ = s.conn.SetWriteDeadline(s.wArmed) // as in arm
}

// The rest of net.Conn, for crypto/tls; only Close and the deadline that its
// Close sets for the farewell are ever used.

func (s *socket) Close() error         { return s.conn.Close() }
func (s *socket) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *socket) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

func (s *socket) SetDeadline(t time.Time) error { return s.conn.SetDeadline(t) }

func (s *socket) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

func (s *socket) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) }

var _ net.Conn = (*socket)(nil)
