package spool

import (
	"fmt"
	"time"
)

// A keptSegment is sealed and synced; it stays until Retire deletes it.
type keptSegment struct {
	num    uint64
	size   int64
	sealed time.Time
}

// Retire deletes the oldest segments that are wholly acked and older than Config.Keep, or beyond
// Config.KeepBytes, as long as covered says so: it is asked with each segment's end, whether everything before it has whatever else
// the owner wants (a signed checkpoint, say); nil wants nothing else. It returns how many were deleted.
func (s *Spool) Retire(covered func(end Position) bool) (int, error) {
	s.retire.Lock()
	defer s.retire.Unlock()
	if err := s.cursor.save(s.settled(), Position(s.synced.Load()), true); err != nil {
		return 0, err // an Ack that a crash could take back allows nothing
	}
	acked := s.cursor.acked()
	for n := 0; ; n++ {
		k, ok := s.retirable(acked, time.Now())
		if !ok || covered != nil && !covered(at(k.num, k.size)) {
			return n, nil
		}
		if err := s.remove(k); err != nil {
			return n, fmt.Errorf("retire %s: %w", segmentPath(s.cfg.Dir, k.num), err)
		}
	}
}

// remove deletes the oldest kept segment, durably before the next one can go: the rest stays without a gap.
func (s *Spool) remove(k keptSegment) error {
	if err := s.cfg.FS.Remove(segmentPath(s.cfg.Dir, k.num)); err != nil && !missing(err) {
		return err
	}
	s.mu.Lock()
	s.kept = s.kept[1:]
	s.mu.Unlock()
	signal(s.grow)
	return s.cfg.FS.SyncDir(s.cfg.Dir)
}

// retirable returns the oldest kept segment if it may go. The next one must hold all open calls durably by then.
func (s *Spool) retirable(acked Position, now time.Time) (keptSegment, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return keptSegment{}, false
	}
	var total int64
	for _, k := range s.kept {
		total += k.size
	}
	k := s.kept[0]
	carried := len(s.kept) > 1 || len(s.queue) == 1 && Position(s.synced.Load()) >= s.headEnd
	old := now.Sub(k.sealed) > s.cfg.Keep || total > s.cfg.KeepBytes
	return k, carried && old && k.num < acked.Segment()
}
