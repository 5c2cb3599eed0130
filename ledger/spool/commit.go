package spool

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// markAfter is how long the log must be quiet before a mark is written behind it. Until then damage to the
// last group can't be told from a torn tail; with every later frame, and after this, it can.
const markAfter = time.Second

// With gatherCalls open calls or more, a sync begins gatherFor behind the end of the one before, at the earliest.
const (
	gatherCalls = 16
	gatherFor   = 2 * time.Millisecond
)

var errStuck = errors.New("a sync did not come back")

// A group waits for one commit. All who join before it begins share it.
type group struct {
	done chan struct{}
	err  error // set before done is closed
}

// finish tells the group; only the first word counts. The caller holds mu. A nil group has nobody to tell.
func (g *group) finish(err error) {
	if g == nil {
		return
	}
	select {
	case <-g.done:
	default:
		g.err = err
		close(g.done)
	}
}

// join returns the group of the next commit, which covers everything accepted so far. The caller holds mu.
func (s *Spool) join() *group {
	if s.next == nil {
		s.next = &group{done: make(chan struct{})}
	}
	return s.next
}

// syncStats count syncs for metrics.
type syncStats struct {
	count atomic.Uint64
	nanos atomic.Int64
}

// commitLoop is the committer: it writes and syncs whenever it is kicked. One goroutine, from Open to Close.
func (s *Spool) commitLoop() {
	defer s.parts.Done()
	for {
		select {
		case <-s.kick:
			s.gather()
			s.commit()
		case <-s.done:
			return
		case <-s.failed:
			return
		}
	}
}

// gather lets others join the sync. Whoever kicks would be overtaken at once, so goroutines that are ready to run go
// first: they may have records for it. With many calls open some end soon: then syncs keep gatherFor from each other, as
// each takes as much processor time as a good part of a call. A call alone waits for nothing.
func (s *Spool) gather() {
	s.mu.Lock()
	open, since := len(s.calls.open), time.Since(s.ended)
	s.mu.Unlock()
	switch {
	case open >= gatherCalls && since < gatherFor:
		time.Sleep(gatherFor - since)
	case open > 0:
		runtime.Gosched()
	}
}

// commit makes everything accepted so far durable and tells the group that waits for it.
func (s *Spool) commit() {
	s.mu.Lock()
	if s.failure != nil {
		s.mu.Unlock()
		return
	}
	g, target := s.next, s.active().pos()
	s.next, s.running, s.began = nil, g, time.Now()
	s.mu.Unlock()

	s.guard.Reset(s.cfg.SlowSync)
	err := s.flush(target)
	if err == nil {
		err = s.syncWritten()
	}
	s.guard.Stop()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.began, s.stalled, s.ended = nil, time.Time{}, false, time.Now()
	if err == nil {
		err = s.failure // the watchdog gave up on this commit: nobody is told that it succeeded
	}
	g.finish(err)
}

// commitAndWait is a commit of everything accepted so far, for Close.
func (s *Spool) commitAndWait() error {
	s.mu.Lock()
	if s.failure != nil {
		defer s.mu.Unlock()
		return s.failure
	}
	g := s.join()
	s.mu.Unlock()
	for {
		signal(s.kick)
		<-g.done
		if !errors.Is(g.err, ErrSlow) {
			return g.err
		}
		s.mu.Lock()
		g = s.join()
		s.mu.Unlock()
	}
}

// watchdog runs when a commit has taken SlowSync, and again at StuckSync. Late, for a commit that has just ended,
// it does nothing.
func (s *Spool) watchdog() {
	s.mu.Lock()
	took := time.Since(s.began)
	if s.began.IsZero() || took < s.cfg.SlowSync {
		s.mu.Unlock()
		return
	}
	if took < s.cfg.StuckSync {
		s.stalled = true
		s.running.finish(ErrSlow)
		s.next.finish(ErrSlow)
		s.next = nil
		s.guard.Reset(s.cfg.StuckSync - took)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	_ = s.fail(fmt.Errorf("%w within %s", errStuck, s.cfg.StuckSync)) // Run returns it
}

// flush returns when everything accepted up to target has been handed to the system, by this caller or another.
func (s *Spool) flush(target Position) error {
	if Position(s.written.Load()) >= target {
		return nil
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	for Position(s.written.Load()) < target {
		if err := s.writeNext(); err != nil {
			return err
		}
	}
	return nil
}

// writeNext writes what the oldest unfinished segment has accepted. A sealed one is synced before anything of its
// successor is written: so only the last segment with a byte in it can have a torn tail. The caller holds wmu.
func (s *Spool) writeNext() error {
	s.mu.Lock()
	if s.failure != nil {
		defer s.mu.Unlock()
		return s.failure
	}
	g, sealed := s.queue[0], len(s.queue) > 1
	data := g.buf
	g.buf = s.back[:0]
	s.mu.Unlock()
	if len(data) > 0 {
		if err := writeFull(g.f, data, g.written); err != nil {
			return s.fail(fmt.Errorf("write segment %d: %w", g.num, err))
		}
		g.written += int64(len(data))
	}
	s.back = data
	if cap(data) > 1<<20 {
		s.back = nil
	}
	s.written.Store(uint64(at(g.num, g.written)))
	if sealed {
		return s.finishSegment(g)
	}
	return nil
}

// finishSegment syncs a segment that is written to its seal and takes it out of the queue. The caller holds wmu.
func (s *Spool) finishSegment(g *segment) error {
	s.smu.Lock()
	defer s.smu.Unlock()
	if err := s.syncFile(g); err != nil {
		return err
	}
	s.mu.Lock()
	s.kept = append(s.kept, keptSegment{num: g.num, size: g.size, sealed: time.Now()})
	s.queue = s.queue[1:]
	begin := at(s.queue[0].num, headerSize)
	s.advance(begin)
	s.mu.Unlock()
	s.written.Store(uint64(begin))
	return g.f.Close()
}

// syncWritten makes everything durable that has been written when it begins.
func (s *Spool) syncWritten() error {
	s.smu.Lock()
	defer s.smu.Unlock()
	s.mu.Lock()
	g, target := s.queue[0], Position(s.written.Load())
	s.mu.Unlock()
	if target <= Position(s.synced.Load()) {
		return nil
	}
	if err := s.syncFile(g); err != nil {
		return err
	}
	s.mu.Lock()
	s.advance(target)
	s.mu.Unlock()
	return nil
}

// syncFile is the one place where segments are synced. An error is final: what the system holds after it is
// unknown, and a second sync would lie. The caller holds smu, so that nobody's sync succeeds past a failed one.
func (s *Spool) syncFile(g *segment) error {
	if err := s.fatal(); err != nil {
		return err
	}
	begin := time.Now()
	if err := g.f.Sync(); err != nil {
		return s.fail(fmt.Errorf("sync segment %d: %w", g.num, err))
	}
	took := time.Since(begin)
	s.syncs.count.Add(1)
	s.syncs.nanos.Add(int64(took))
	if s.cfg.OnSync != nil {
		s.cfg.OnSync(took)
	}
	return nil
}

// advance moves the durable position and wakes the reader if there is something for it. The caller holds mu.
func (s *Spool) advance(to Position) {
	from := Position(s.synced.Load())
	if to <= from {
		return
	}
	s.synced.Store(uint64(to))
	if s.waiting && s.ship > s.waitFrom {
		s.waiting = false
		signal(s.ready)
	}
}

// arm makes sure that tick will run. The caller holds mu.
func (s *Spool) arm() {
	if !s.armed {
		s.armed = true
		s.lazy.Reset(s.cfg.SyncEvery)
	}
}

// tick runs SyncEvery after a record and until the log is quiet: it begins a sync if something is unsynced, and then
// marks what is synced.
func (s *Spool) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if s.usable() != nil {
		return
	}
	synced := Position(s.synced.Load())
	if s.dirty > synced {
		signal(s.kick)
		s.armed = true
		s.lazy.Reset(s.cfg.SyncEvery)
		return
	}
	if s.dirty <= s.marked {
		return
	}
	if s.quiet != s.dirty {
		s.quiet = s.dirty
		s.lazy.Reset(markAfter) // a record that comes earlier shortens it, as armed is not set
		return
	}
	if s.mark() {
		signal(s.kick)
	}
}

// mark puts a mark behind the log if there is something to say and room that isn't promised. The caller holds mu.
func (s *Spool) mark() bool {
	if s.dirty <= s.marked {
		return false
	}
	g := s.active()
	r, ok := s.room().place(frameSize(0))
	if !ok || g.left() < frameSize(0) || !r.covered() {
		return false
	}
	f := s.frame(kindMark, [16]byte{}, nil)
	s.put(&f)
	s.marked = s.dirty
	return true
}
