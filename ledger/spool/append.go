package spool

import (
	"context"
	"fmt"
	"time"
)

// Start records that a call is admitted, with room for a completion of up to reserve payload bytes. When it
// returns the record is written: it survives the end of the process; Sync says when it also survives a power cut, which
// is within 100 ms in any case. The position is what to give to Kick and Sync.
//
// It returns ErrFull if the completions of all open calls and this one wouldn't surely find room, ErrSlow while the
// disk is stalled, ErrDuplicate if the call is open, ErrTooLarge, ErrClosed, ErrFailed.
func (s *Spool) Start(id [16]byte, payload []byte, reserve int) (Position, error) {
	if err := s.fits(max(len(payload), reserve)); err != nil {
		return 0, err
	}
	s.mu.Lock()
	pos, err := s.start(id, payload, frameSize(max(reserve, 0)))
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return pos, s.flush(pos)
}

// start is Start up to the write. The caller holds mu.
func (s *Spool) start(id [16]byte, payload []byte, reserve int64) (Position, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	if s.stalled {
		return 0, ErrSlow
	}
	if s.calls.open[id] != nil {
		return 0, ErrDuplicate
	}
	n := frameSize(len(payload))
	if err := s.admit(n, reserve); err != nil {
		return 0, err
	}
	f := s.frame(Start, id, payload)
	pos := s.put(&f)
	s.calls.start(&f, reserve)
	s.arm()
	return pos, nil
}

// Attempt records a further attempt of an open call, with the same promises as Start and the same errors, and
// ErrNotOpen. The room that Start reserved is for the completion alone.
func (s *Spool) Attempt(id [16]byte, payload []byte) (Position, error) {
	if err := s.fits(len(payload)); err != nil {
		return 0, err
	}
	s.mu.Lock()
	pos, err := s.attempt(id, payload)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return pos, s.flush(pos)
}

// attempt is Attempt up to the write. The caller holds mu.
func (s *Spool) attempt(id [16]byte, payload []byte) (Position, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	if s.stalled {
		return 0, ErrSlow
	}
	c := s.calls.open[id]
	if c == nil {
		return 0, ErrNotOpen
	}
	if err := s.admit(frameSize(len(payload)), 0); err != nil {
		return 0, err
	}
	f := s.frame(Attempt, id, payload)
	f.epoch = c.epoch
	pos := s.put(&f)
	s.calls.more(c, &f)
	s.arm()
	return pos, nil
}

// End records a call's completion and returns nil when it is durable. Callers at the same time share a sync.
//
// With ErrSlow and ErrFailed it isn't known whether the record is durable: it may be found by the next Open. All
// other errors mean that it was not written: ErrNotOpen if the call is not open, ErrTooLarge, ErrClosed, and ErrFull, which only a completion
// larger than its call's reserve, or that of a call of an earlier epoch, can meet: the call stays open then.
func (s *Spool) End(id [16]byte, payload []byte) error {
	if err := s.fits(len(payload)); err != nil {
		return err
	}
	s.mu.Lock()
	g, err := s.end(id, payload)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	signal(s.kick)
	if g == nil {
		return ErrSlow
	}
	<-g.done
	return g.err
}

// end is End up to the wait; without a group the disk is stalled. The caller holds mu.
func (s *Spool) end(id [16]byte, payload []byte) (*group, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	c := s.calls.open[id]
	if c == nil {
		return nil, ErrNotOpen
	}
	n := frameSize(len(payload))
	after, ok := s.room().place(n)
	after.carried -= c.live
	after.reserved -= c.reserve
	if !ok || n > c.reserve && !after.covered() {
		return nil, s.full()
	}
	f := s.frame(End, id, payload)
	s.put(&f)
	s.calls.end(id, c) // after put: a rotation carries the call, as a crash can leave the head without the completion
	s.arm()
	if s.stalled {
		return nil, nil
	}
	return s.join(), nil
}

// Kick begins a sync of everything up to pos, if it isn't durable already, and doesn't wait for it.
func (s *Spool) Kick(pos Position) {
	if Position(s.synced.Load()) < pos {
		signal(s.kick)
	}
}

// Sync returns nil when everything up to pos is durable, ErrSlow if the disk takes too long, ErrFailed, or ctx's error.
func (s *Spool) Sync(ctx context.Context, pos Position) error {
	if Position(s.synced.Load()) >= pos {
		return nil
	}
	s.mu.Lock()
	if s.failure != nil || s.stalled {
		err := s.failure
		s.mu.Unlock()
		if err == nil {
			err = ErrSlow
		}
		return err
	}
	g := s.join()
	s.mu.Unlock()
	signal(s.kick)
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return fmt.Errorf("wait for spool sync: %w", ctx.Err())
	case <-s.done:
		if Position(s.synced.Load()) >= pos {
			return nil
		}
		return ErrClosed
	}
}

func (s *Spool) fits(n int) error {
	if n > s.cfg.MaxRecordBytes {
		return fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLarge, n, s.cfg.MaxRecordBytes)
	}
	return nil
}

// frame is a new record of now.
func (s *Spool) frame(k Kind, id [16]byte, payload []byte) frame {
	return frame{kind: k, epoch: s.meta.epoch, at: time.Now().UnixMicro(), id: id, payload: payload}
}

func (s *Spool) active() *segment { return s.queue[len(s.queue)-1] }

// room is what admission decides on. The caller holds mu.
func (s *Spool) room() room {
	return room{
		active: s.active().left(), spares: int64(len(s.spares)), spare: segmentRoom(s.cfg.SegmentBytes),
		carried: s.calls.carried, reserved: s.calls.reserved,
		largest: frameSize(s.cfg.MaxRecordBytes),
	}
}

// admit refuses a frame of n bytes to be carried, and its reserve, unless all completions keep their room. The caller
// holds mu.
func (s *Spool) admit(n, reserve int64) error {
	r, ok := s.room().place(n)
	r.carried += n
	r.reserved += reserve + s.margin()
	if ok && r.covered() {
		if r.tight() {
			signal(s.grow)
		}
		return nil
	}
	signal(s.grow)
	return s.full()
}

// full is ErrFull with the reason, if the disk has given one. The caller holds mu.
func (s *Spool) full() error {
	if s.refused != nil {
		return fmt.Errorf("%w: %w", ErrFull, s.refused)
	}
	return ErrFull
}

// put accepts a frame that has its place and returns the position behind it. The caller holds mu.
func (s *Spool) put(f *frame) Position {
	if s.active().left() < frameSize(len(f.payload)) {
		s.rotate()
	}
	g := s.active()
	synced := Position(s.synced.Load())
	if synced.Segment() == g.num {
		f.synced = uint32(synced.Offset())
	}
	g.append(f)
	if f.kind != kindMark {
		s.dirty = g.pos()
	}
	if f.kind.Shipped() {
		s.ship = g.pos()
		s.shipped.recorded++
	}
	return g.pos()
}

// rotate seals the active segment and goes on in the first spare, with all open calls carried over. Nothing is written
// here: flush does that in order, and syncs the old segment before the first byte of the new one. The caller holds mu.
func (s *Spool) rotate() {
	seal := s.frame(kindSeal, [16]byte{}, nil)
	s.active().append(&seal)
	s.queue = append(s.queue, s.spares[0])
	s.spares = s.spares[1:]
	s.begin()
	signal(s.grow)
}

// begin writes a fresh segment's head and the records of all open calls. The caller holds mu.
func (s *Spool) begin() {
	head := s.frame(kindHead, [16]byte{}, headPayload(s.calls.frames))
	g := s.active()
	g.append(&head)
	for id, c := range s.calls.open {
		c.each(id, g.append)
	}
	s.headEnd, s.dirty = g.pos(), g.pos()
}
