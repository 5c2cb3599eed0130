package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A Spool is an open spool directory. All its methods may be called concurrently.
type Spool struct {
	cfg    Config
	meta   meta
	lock   io.Closer
	cursor *cursorFile
	took   time.Duration // what one sync took at Open
	torn   int64         // bytes cut at Open
	lost   bool          // no valid cursor was found at Open

	retire sync.Mutex // held by Retire

	// Locks are taken in this order: wmu, smu, mu.
	wmu  sync.Mutex // held for writes to segment files, which so happen in order
	smu  sync.Mutex // held for syncs: a failed one is known before another can succeed
	back []byte     // guarded by wmu: the buffer that isn't being filled

	written atomic.Uint64 // Position: everything before it has been handed to the system; moved under wmu
	synced  atomic.Uint64 // Position: everything before it is durable; moved under mu

	mu       sync.Mutex
	queue    []*segment    // guarded by mu: sealed ones not yet synced, then the active one
	spares   []*segment    // guarded by mu: preallocated, in order
	kept     []keptSegment // guarded by mu: sealed and synced, in order
	lastNum  uint64        // guarded by mu: of the last segment that was made
	calls    *calls        // guarded by mu
	next     *group        // guarded by mu: waits for the next commit
	running  *group        // guarded by mu: waits for the commit under way
	stalled  bool          // guarded by mu: the commit under way takes longer than SlowSync
	began    time.Time     // guarded by mu: when the commit under way began; zero if none is
	ended    time.Time     // guarded by mu: when the last commit ended
	armed    bool          // guarded by mu: lazy will fire
	dirty    Position      // guarded by mu: behind the last frame that isn't a mark
	marked   Position      // guarded by mu: dirty when the last mark was written
	quiet    Position      // guarded by mu: dirty when tick last found everything synced
	ship     Position      // guarded by mu: behind the last frame that is to be shipped
	headEnd  Position      // guarded by mu: behind the carried records of the active segment
	shipped  counts        // guarded by mu
	highest  Head          // guarded by mu: what Placed records say
	waiting  bool          // guarded by mu: Next waits for ready
	waitFrom Position      // guarded by mu: where Next goes on
	closed   bool          // guarded by mu
	failure  error         // guarded by mu, set once, before failed is closed
	refused  error         // guarded by mu: why the last preallocation failed

	kick   chan struct{} // wakes the committer
	grow   chan struct{} // wakes the preallocator
	ready  chan struct{} // wakes Next
	failed chan struct{} // closed when the spool has failed
	done   chan struct{} // closed by Close
	lazy   *time.Timer   // runs tick
	guard  *time.Timer   // runs watchdog
	parts  sync.WaitGroup
	reader reader
	syncs  syncStats
}

// counts number the shipped kinds' records since Open, counting what was unshipped then.
type counts struct{ recorded, acked uint64 }

// ID is the directory's own UUID.
func (s *Spool) ID() [16]byte { return s.meta.id }

// Epoch is the number of this Open in the directory's life, from 1.
func (s *Spool) Epoch() uint64 { return s.meta.epoch }

// Run waits until ctx ends, and returns nil, or until the spool fails, and returns why: the process should end then.
// The spool works from Open to Close whether or not Run is called, so that all others can stop before it.
func (s *Spool) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.failed:
		return s.fatal()
	}
}

// fatal is why the spool has failed, nil if it hasn't.
func (s *Spool) fatal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// usable is the error for calls after a failure or Close. The caller holds mu.
func (s *Spool) usable() error {
	if s.failure != nil {
		return s.failure
	}
	if s.closed {
		return ErrClosed
	}
	return nil
}

// fail ends the spool for good: whoever waits is told, and so is everybody who comes.
func (s *Spool) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = fmt.Errorf("%w: %w", ErrFailed, err)
		close(s.failed)
	}
	s.running.finish(s.failure)
	s.next.finish(s.failure)
	return s.failure
}

// Close syncs what is written and gives the directory back. Calls that are open stay open: the next Open reports
// them. After a failure it returns that.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	s.lazy.Stop()
	err := s.finish()
	close(s.done)
	if errors.Is(err, errStuck) {
		return err // a sync that never comes back can't be waited for; the files stay with it
	}
	s.parts.Wait()
	return errors.Join(err, s.release())
}

// finish commits what is there, then a mark that says so: damage to any of it will be known as such.
func (s *Spool) finish() error {
	if err := s.commitAndWait(); err != nil {
		return err
	}
	s.mu.Lock()
	marked := s.mark()
	s.mu.Unlock()
	if marked {
		if err := s.commitAndWait(); err != nil {
			return err
		}
	}
	return s.cursor.save(0, Position(s.synced.Load()), true)
}

// release closes all files and lets go of the directory.
func (s *Spool) release() error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, g := range append(s.queue, s.spares...) {
		errs = append(errs, g.f.Close())
	}
	errs = append(errs, s.reader.close(), s.cursor.close(), s.lock.Close())
	return errors.Join(errs...)
}

// signal wakes whoever receives from c, now or next time.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
