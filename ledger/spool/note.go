package spool

import "fmt"

// placeMargin is the part of a segment that calls can't have: the places of what is shipped must find room in a spool
// that is full, or it would never be emptied. 1 MiB of 64 MiB takes the places of 50,000 records, more than a
// segment holds.
const placeMargin = 64

// Append records what the ledger made of records (Placed), or what it has from elsewhere (Entry); id is the event's
// of an Entry. When it returns the record is written; Sync says when it is durable. It belongs to no call and isn't shipped.
//
// It returns ErrFull where it would take room that completions are promised, ErrSlow while the disk is
// stalled, ErrTooLarge above 1 MiB or a segment, ErrClosed, ErrFailed.
func (s *Spool) Append(k Kind, id [16]byte, payload []byte) (Position, error) {
	if k != Placed && k != Entry {
		return 0, fmt.Errorf("spool: a record of kind %q can't be appended by itself", k)
	}
	n := frameSize(len(payload))
	if len(payload) > maxPayload || n > segmentRoom(s.cfg.SegmentBytes) {
		return 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(payload))
	}
	s.mu.Lock()
	pos, err := s.note(k, id, payload, n)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return pos, s.flush(pos)
}

// note is Append up to the write. The caller holds mu.
func (s *Spool) note(k Kind, id [16]byte, payload []byte, n int64) (Position, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	if s.stalled {
		return 0, ErrSlow
	}
	r, ok := s.room().place(n)
	if k != Placed {
		r.reserved += s.margin()
	}
	if !ok || !r.covered() {
		signal(s.grow)
		return 0, s.full()
	}
	if r.tight() {
		signal(s.grow)
	}
	f := s.frame(k, id, payload)
	pos := s.put(&f)
	s.arm()
	if k == Placed {
		s.highest.see(payload)
	}
	return pos, nil
}

// margin is the room that only places may use.
func (s *Spool) margin() int64 { return s.cfg.SegmentBytes / placeMargin }

// Highest is the highest place that Placed records say, of those that Open found behind the last Ack and those that
// were appended since: the ledger had at least that once.
func (s *Spool) Highest() Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.highest
}

// settled is a position before which nothing is left to ship although no Ack says so, for only records that aren't
// shipped came since; 0 if there is something to ship.
func (s *Spool) settled() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shipped.recorded != s.shipped.acked {
		return 0
	}
	return Position(s.synced.Load())
}
