package spool

import (
	"errors"
	"io"
	"slices"
	"time"
)

// Stats are the spool's numbers, for metrics, health and the start's report.
type Stats struct {
	Bytes      int64         // length of all segment files
	Room       int64         // bytes that completions can count on
	Reserved   int64         // bytes of it that are promised to open calls
	Segments   int           // files, kept and spare ones too
	OpenCalls  int           // started, without a completion
	Unshipped  uint64        // records that no Ack has covered
	OldestAt   time.Time     // when the oldest unshipped one was written; zero if there is none
	End        Position      // behind the last frame
	Synced     Position      // everything before it is durable
	Acked      Position      // everything before it is in the ledger
	Syncs      uint64        // syncs of segments since Open
	SyncTime   time.Duration // that they took together
	DiskSync   time.Duration // what one small sync took at Open: the median of eight
	TornBytes  int64         // cut off the log's end by Open
	CursorLost bool          // Open found no valid cursor: the shipper begins at the oldest record
}

// Stats reads the numbers. With unshipped records it reads a few of them from the segment.
func (s *Spool) Stats() (Stats, error) {
	acked := s.cursor.acked()
	s.mu.Lock()
	r := s.room()
	st := Stats{
		Bytes: s.bytes(), Room: max(0, r.active, r.total()), Reserved: r.reserved,
		Segments:  len(s.kept) + len(s.queue) + len(s.spares),
		OpenCalls: len(s.calls.open), Unshipped: s.shipped.recorded - s.shipped.acked,
		End: s.active().pos(), Synced: Position(s.synced.Load()), Acked: acked,
		Syncs: s.syncs.count.Load(), SyncTime: time.Duration(s.syncs.nanos.Load()),
		DiskSync: s.took, TornBytes: s.torn, CursorLost: s.lost,
	}
	s.mu.Unlock()
	if st.Unshipped == 0 {
		return st, nil
	}
	var err error
	st.OldestAt, err = s.oldestFrom(acked, st.Synced)
	return st, err
}

// oldestFrom finds the first record to be shipped between two positions; the zero time if there is none.
func (s *Spool) oldestFrom(from, limit Position) (t time.Time, err error) {
	w := walker{disk: s.cfg.FS, dir: s.cfg.Dir, id: s.meta.id, pos: from}
	defer func() { err = errors.Join(err, w.close()) }()
	for {
		f, _, err := w.next(limit)
		if errors.Is(err, io.EOF) {
			return time.Time{}, nil
		}
		if err != nil {
			return time.Time{}, err
		}
		if f.kind.Shipped() {
			return time.UnixMicro(f.at).UTC(), nil
		}
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
