package spool

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// measureSyncs is how many syncs Open times: enough for a median, few enough for a slow disk (80 ms at 10 ms each).
const measureSyncs = 8

// Open opens the spool in cfg.Dir, makes it if there is none, and holds it until Close. The shipper goes on where the
// last Ack was saved, Unfinished tells which calls of earlier epochs are open, and the epoch is one higher.
//
// Errors: *LockedError if another process has the directory, *CorruptError if synced bytes are damaged, ErrMetaLost, and what the
// disk says. An error leaves the segments and the cursor as they were, but for a torn tail that is cut.
func Open(cfg Config) (*Spool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	wrap := func(err error) error { return fmt.Errorf("open spool %s: %w", cfg.Dir, err) }
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, wrap(err)
	}
	lock, err := cfg.FS.Lock(cfg.Dir)
	if err != nil {
		return nil, wrap(err)
	}
	s, err := openLocked(cfg, lock)
	if err != nil {
		return nil, wrap(errors.Join(err, lock.Close()))
	}
	s.parts.Add(2)
	go s.commitLoop()
	go s.growLoop()
	return s, nil
}

func openLocked(cfg Config, lock io.Closer) (*Spool, error) {
	fd, err := load(cfg)
	if err != nil {
		return nil, err
	}
	s := newSpool(cfg, lock)
	if s.torn, err = fd.repair(cfg); err != nil {
		return nil, err
	}
	s.meta = meta{id: fd.meta.id, epoch: fd.meta.epoch + 1}
	if err := replaceFile(cfg.FS, filepath.Join(cfg.Dir, metaName), s.meta.encode()); err != nil {
		return nil, fmt.Errorf("raise the epoch: %w", err)
	}
	if err := s.adopt(fd); err != nil {
		return nil, errors.Join(err, s.closeSegments())
	}
	if err := s.openCursor(fd); err != nil {
		return nil, errors.Join(err, s.closeSegments())
	}
	return s, nil
}

func newSpool(cfg Config, lock io.Closer) *Spool {
	s := &Spool{
		cfg: cfg, lock: lock, calls: newCalls(),
		kick: make(chan struct{}, 1), grow: make(chan struct{}, 1), ready: make(chan struct{}, 1),
		failed: make(chan struct{}), done: make(chan struct{}),
	}
	s.lazy = time.AfterFunc(time.Hour, s.tick)
	s.lazy.Stop()
	s.guard = time.AfterFunc(time.Hour, s.watchdog)
	s.guard.Stop()
	return s
}

// adopt takes over the log that was found, with a segment to go on in.
func (s *Spool) adopt(fd *found) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.calls, s.ship = fd.kept, fd.calls, fd.ship
	s.shipped.recorded, s.highest = fd.unsent, fd.highest
	blank := fd.blank
	var active *segment
	var err error
	switch {
	case fd.last != nil && !fd.last.sealed:
		active, err = openSegment(s.cfg.FS, s.cfg.Dir, fd.last.header, fd.last.end)
	case len(blank) > 0:
		active, err = openSegment(s.cfg.FS, s.cfg.Dir, blank[0], headerSize)
		blank = blank[1:]
	default:
		active, err = newSegment(s.cfg.FS, s.cfg.Dir, s.header(fd.nextNumber()))
	}
	if err != nil {
		return fmt.Errorf("segment to write: %w", err)
	}
	if fd.last != nil && fd.last.sealed {
		s.kept = append(s.kept, keptSegment{num: fd.last.header.number, size: fd.last.header.size, sealed: fd.last.sealedAt})
	}
	s.queue = []*segment{active}
	if err := s.adoptSpares(blank, active.num); err != nil {
		return err
	}
	s.synced.Store(uint64(active.pos()))
	s.written.Store(uint64(active.pos()))
	s.dirty, s.headEnd = active.pos(), active.pos()
	if active.end == headerSize {
		s.begin()
	}
	s.arm()
	signal(s.grow)
	return nil
}

// nextNumber is the number of the segment behind all that were found.
func (fd *found) nextNumber() uint64 {
	if fd.last != nil {
		return fd.last.header.number + 1
	}
	return 1
}

func (s *Spool) header(n uint64) header {
	return header{id: s.meta.id, number: n, size: s.cfg.SegmentBytes, epoch: s.meta.epoch}
}

// adoptSpares opens the blank segments behind the active one. Those of another length than this configuration's are
// removed, with all behind them, and made again. The caller holds mu.
func (s *Spool) adoptSpares(blank []header, active uint64) error {
	s.lastNum = active
	var drop []string
	for _, h := range blank {
		if h.size != s.cfg.SegmentBytes || len(drop) > 0 {
			drop = append([]string{segmentName(h.number)}, drop...)
			continue
		}
		g, err := openSegment(s.cfg.FS, s.cfg.Dir, h, headerSize)
		if err != nil {
			return err
		}
		s.spares = append(s.spares, g)
		s.lastNum = h.number
	}
	if len(drop) == 0 {
		return nil
	}
	if err := removeAll(s.cfg.FS, s.cfg.Dir, drop); err != nil {
		return err
	}
	return s.cfg.FS.SyncDir(s.cfg.Dir)
}

// openCursor puts the reader behind the last Ack, or at the first segment that is kept, and times the disk.
func (s *Spool) openCursor(fd *found) error {
	c := fd.cursor
	if c.acked == 0 {
		c.acked = at(s.firstSegment(), headerSize)
	}
	s.lost = !fd.known && !fd.fresh
	c.seq, c.synced = c.seq+1, Position(s.synced.Load())
	var err error
	if s.cursor, err = openCursor(s.cfg.FS, s.cfg.Dir, s.meta.id, c); err != nil {
		return err
	}
	s.reader.walker = walker{disk: s.cfg.FS, dir: s.cfg.Dir, id: s.meta.id, pos: c.acked}
	if s.took, err = s.cursor.measure(measureSyncs); err != nil {
		return errors.Join(err, s.cursor.close())
	}
	return nil
}

// firstSegment is the oldest segment that is there.
func (s *Spool) firstSegment() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) > 0 {
		return s.kept[0].num
	}
	return s.queue[0].num
}

func (s *Spool) closeSegments() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lazy.Stop()
	var errs []error
	for _, g := range append(s.queue, s.spares...) {
		errs = append(errs, g.f.Close())
	}
	return errors.Join(errs...)
}

// Unfinished are the calls of earlier epochs that have no completion yet. The owner writes one for each, with End.
func (s *Spool) Unfinished() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for id, c := range s.calls.open {
		if c.epoch < s.meta.epoch {
			out = append(out, c.export(id))
		}
	}
	return out
}
