package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
)

// batchBytes bounds a batch's payloads: 500 records of 64 KiB don't come at once.
const batchBytes = 4 << 20

// A walker reads a spool's frames over segment borders.
type walker struct {
	disk FS
	dir  string
	id   [16]byte
	pos  Position // of the next frame

	f    File // nil if no segment is open
	size int64
	dec  *decoder
}

// next returns the frame at w.pos, with its position, and moves behind it; io.EOF at limit. What isn't valid before
// limit is corrupt, for limit is never more than what was synced. The payload is valid until the next call.
func (w *walker) next(limit Position) (frame, Position, error) {
	if w.pos >= limit {
		return frame{}, 0, io.EOF
	}
	if err := w.open(); err != nil {
		return frame{}, 0, err
	}
	w.dec.limit = w.size
	if w.pos.Segment() == limit.Segment() {
		w.dec.limit = limit.Offset()
	}
	pos := w.pos
	f, err := w.dec.next()
	if errors.Is(err, errNoFrame) || errors.Is(err, io.EOF) {
		err = &CorruptError{File: w.path(), Offset: pos.Offset(), Reason: "no valid record here, but it was synced"}
	}
	if err != nil {
		return frame{}, 0, err
	}
	w.pos = at(pos.Segment(), w.dec.off)
	if f.kind == kindSeal {
		w.pos = at(pos.Segment()+1, headerSize)
		if err := w.close(); err != nil {
			return frame{}, 0, err
		}
	}
	return f, pos, nil
}

func (w *walker) path() string { return segmentPath(w.dir, w.pos.Segment()) }

// open opens the segment of w.pos if none is.
func (w *walker) open() error {
	if w.f != nil {
		return nil
	}
	f, err := w.disk.Open(w.path(), false)
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	h, err := readHeader(f, w.path(), w.id, w.pos.Segment())
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size = f, h.size
	w.dec = newDecoder(f, seedFor(w.id, w.pos.Segment()), w.pos.Offset(), h.size)
	return nil
}

func (w *walker) close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f, w.dec = nil, nil
	return err
}

// A reader is where the shipper is.
type reader struct {
	mu     sync.Mutex
	walker        // guarded by mu
	seq    uint64 // guarded by mu: shipped kinds' records read
}

func (r *reader) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.walker.close()
}

// A Batch is what to ship next: records of kinds that are Shipped, in order, in memory of its own.
type Batch struct {
	Records []Record
	End     Position // behind everything that the batch stands for
	seq     uint64
}

// Next waits until there are durable records that it has not returned yet, or ctx ends, and returns them: at most most of
// them, and at most 4 MiB unless one alone is larger. It is for one shipper; after Open it goes on behind the last Ack. An error
// of the disk or a *CorruptError leaves it where it is.
func (s *Spool) Next(ctx context.Context, most int) (Batch, error) {
	s.reader.mu.Lock()
	defer s.reader.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return Batch{}, err
		}
		b, err := s.read(max(most, 1))
		if err != nil || len(b.Records) > 0 {
			return b, err
		}
		if err := s.await(ctx, b.End); err != nil {
			return Batch{}, err
		}
	}
}

// read collects what is durable now. The caller holds reader.mu.
func (s *Spool) read(most int) (Batch, error) {
	r := &s.reader
	if err := r.skip(s.cursor.acked()); err != nil {
		return Batch{}, err
	}
	limit := Position(s.synced.Load())
	var b Batch
	bytes := make([]byte, 0, r.expect(limit, most))
	for len(b.Records) < most && len(bytes) < batchBytes {
		f, pos, err := r.next(limit)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && len(b.Records) > 0 {
			break // what was read is good; the error comes again
		}
		if err != nil {
			return Batch{}, err
		}
		if !f.kind.Shipped() {
			continue
		}
		rec := f.record(pos)
		from := len(bytes)
		bytes = append(bytes, f.payload...)
		rec.Payload = bytes[from:len(bytes):len(bytes)]
		b.Records = append(b.Records, rec)
		r.seq++
	}
	b.End, b.seq = r.pos, r.seq
	return b, nil
}

// skip moves behind what needs no shipping any more: Retire may have deleted it. The caller holds mu.
func (r *reader) skip(acked Position) error {
	if r.pos >= acked {
		return nil
	}
	r.pos = acked
	return r.walker.close()
}

// usualPayload is a little more than a call's completion takes.
const usualPayload = 2 << 10

// expect is how many payload bytes a batch of most records up to limit will
// hold, roughly: room for them at once is cheaper than growing.
func (r *reader) expect(limit Position, most int) int64 {
	n := int64(min(most, batchBytes/usualPayload)) * usualPayload
	if r.pos.Segment() == limit.Segment() {
		n = min(n, limit.Offset()-r.pos.Offset())
	}
	return max(n, 0)
}

// await returns when a record to ship is durable behind from.
func (s *Spool) await(ctx context.Context, from Position) error {
	s.mu.Lock()
	if s.failure != nil {
		defer s.mu.Unlock()
		return s.failure
	}
	if s.ship > from && Position(s.synced.Load()) > from {
		s.mu.Unlock()
		return nil
	}
	s.waiting, s.waitFrom = true, from
	s.mu.Unlock()
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.failed:
		return s.fatal()
	case <-s.done:
		return ErrClosed
	}
}

// Ack says that the ledger has everything up to the end of b, and of all batches before it. It is saved at once and
// synced within a second or two: a lost Ack makes the shipper repeat itself, which ids make harmless.
func (s *Spool) Ack(b Batch) error {
	s.mu.Lock()
	s.shipped.acked = max(s.shipped.acked, b.seq)
	s.mu.Unlock()
	return s.cursor.save(b.End, Position(s.synced.Load()), false)
}

// Replay walks over all records that are retained and durable now, from the first that begins at from or behind it; 0 is
// the oldest. Records of all kinds come, carried copies too (Record.Carried); a payload is valid until the next step. An error ends
// it: a *CorruptError, one of the disk, or that of a segment which Retire has deleted meanwhile.
func (s *Spool) Replay(from Position) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		limit := Position(s.synced.Load())
		w := walker{disk: s.cfg.FS, dir: s.cfg.Dir, id: s.meta.id, pos: at(max(s.firstSegment(), from.Segment()), headerSize)}
		defer func() { _ = w.close() }() // only read
		for {
			f, pos, err := w.next(limit)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			if f.kind < kindMark && pos >= from && !yield(f.record(pos), nil) {
				return
			}
		}
	}
}
