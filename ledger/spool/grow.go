package spool

import (
	"fmt"
	"time"
)

// growRetry is how long the preallocator waits after a failure: a full disk is not filled and emptied in a loop.
const growRetry = time.Second

// growLoop is the preallocator: it keeps a spare segment, and more when open calls hold much of the room. One
// goroutine, from Open to Close. What goes wrong here never fails the spool: Start returns ErrFull with the reason.
func (s *Spool) growLoop() {
	defer s.parts.Done()
	for {
		select {
		case <-s.grow:
		case <-s.done:
			return
		case <-s.failed:
			return
		}
		for s.wantsSpare() {
			if err := s.addSpare(); err != nil {
				s.refuse(err)
				s.pause(growRetry)
			}
		}
	}
}

// pause waits, but not longer than the spool lives.
func (s *Spool) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.done:
	case <-s.failed:
	}
}

// wantsSpare says whether another segment is wanted and allowed.
func (s *Spool) wantsSpare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usable() != nil || !s.room().tight() {
		return false
	}
	if used := s.bytes(); used+s.cfg.SegmentBytes > s.cfg.MaxBytes {
		s.refused = fmt.Errorf("segments hold %d bytes, the most is %d", used, s.cfg.MaxBytes)
		return false
	}
	return true
}

func (s *Spool) addSpare() error {
	s.mu.Lock()
	n := s.lastNum + 1
	s.mu.Unlock()
	g, err := newSegment(s.cfg.FS, s.cfg.Dir, s.header(n))
	if err != nil {
		return fmt.Errorf("preallocate segment: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastNum, s.refused = n, nil
	s.spares = append(s.spares, g)
	return nil
}

func (s *Spool) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
}

// bytes is the length of all segment files. The caller holds mu.
func (s *Spool) bytes() int64 {
	var n int64
	for _, k := range s.kept {
		n += k.size
	}
	for _, g := range s.queue {
		n += g.size
	}
	for _, g := range s.spares {
		n += g.size
	}
	return n
}
