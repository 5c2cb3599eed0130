package spool

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// An Archive reads a spool's directory without locking or changing it, also while another process ships from it: to
// refill a ledger. It isn't for concurrent use.
type Archive struct {
	disk FS
	dir  string
	meta meta

	open   File // the segment that Record read last; nil at first
	number uint64
	size   int64
}

// OpenArchive opens the directory of a spool. An error says that there is none, or what the disk says.
func OpenArchive(dir string) (*Archive, error) { return openArchive(osFS{}, dir) }

func openArchive(disk FS, dir string) (*Archive, error) {
	m, err := readMeta(disk, dir)
	if err != nil {
		return nil, fmt.Errorf("read spool %s: %w", dir, err)
	}
	return &Archive{disk: disk, dir: dir, meta: m}, nil
}

// ID is the directory's own UUID.
func (a *Archive) ID() [16]byte { return a.meta.id }

// Dir is where it is.
func (a *Archive) Dir() string { return a.dir }

// Acked is up to where the spool says that its records are in the ledger; 0 if its cursor is lost.
func (a *Archive) Acked() (Position, error) {
	c, _, err := readCursor(a.disk, a.dir, a.meta.id)
	if err != nil {
		return 0, fmt.Errorf("read spool %s: %w", a.dir, err)
	}
	return c.acked, nil
}

// All walks over the records of all kinds that stand in the directory now, but for carried copies; a payload is valid until the
// next step. Damage takes away the records that it is in and nothing else: it comes as a *CorruptError with a zero Record, one for
// each gap, and the walk goes on with the next whole record. A segment that is deleted meanwhile is as one that isn't there. Any
// other error ends the walk.
func (a *Archive) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := a.walk(yield); err != nil {
			yield(Record{}, fmt.Errorf("read spool %s: %w", a.dir, err))
		}
	}
}

// walk is All, but for the error that ends it; that is nil if yield has ended it.
func (a *Archive) walk(yield func(Record, error) bool) error {
	c, _, err := readCursor(a.disk, a.dir, a.meta.id) // before the segments, which only grow
	if err != nil {
		return err
	}
	nums, _, err := listSegments(a.disk, a.dir)
	if err != nil {
		return err
	}
	for i, n := range nums {
		w := archiveWalk{a: a, number: n, last: i == len(nums)-1, synced: c.synced, yield: yield}
		if goOn, err := w.run(); !goOn || err != nil {
			return err
		}
	}
	return nil
}

// An archiveWalk goes through one segment.
type archiveWalk struct {
	a      *Archive
	number uint64
	last   bool     // there was no later segment
	synced Position // by the cursor
	yield  func(Record, error) bool

	f    File
	path string
	size int64
	tail *tail // of the first place without a valid frame; nil if there was none yet
}

// run yields the segment's records, and reports whether the walk goes on.
func (w *archiveWalk) run() (goOn bool, err error) {
	w.path = segmentPath(w.a.dir, w.number)
	f, size, damage, err := w.a.segment(w.number)
	if missing(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
	if w.f, w.size = f, size; damage != nil && !w.yield(Record{}, damage) {
		return false, nil
	}
	d := newDecoder(f, seedFor(w.a.meta.id, w.number), headerSize, max(size, headerSize))
	for {
		off := d.off
		fr, err := d.next()
		if errors.Is(err, errNoFrame) {
			reason, err := w.judge(off)
			if reason == "" || err != nil {
				return err == nil, err
			}
			if err := d.resync(); err != nil {
				return false, err
			}
			if d.off == off { // it was being written
				w.tail = nil
				continue
			}
			if !w.yield(Record{}, &CorruptError{File: w.path, Offset: off, Reason: reason + goesOn(d)}) {
				return false, nil
			}
			continue
		}
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		case fr.kind == kindSeal:
			return true, nil
		case fr.kind >= kindMark || fr.flags&flagCarried != 0:
			continue
		}
		if !w.yield(fr.record(at(w.number, off)), nil) {
			return false, nil
		}
	}
}

// goesOn says where the records go on behind damage.
func goesOn(d *decoder) string {
	if d.off == d.limit {
		return "; there is none behind it either"
	}
	return fmt.Sprintf("; they go on at offset %d", d.off)
}

// judge says why the place off, where no valid frame stands, is damage; "" if it is where the segment's records end: in the
// last one, or in a spare, they may without a seal.
func (w *archiveWalk) judge(off int64) (reason string, err error) {
	if w.tail == nil {
		t, err := readTail(w.f, scan{header: header{id: w.a.meta.id, number: w.number, size: w.size}, path: w.path, end: off})
		if err != nil {
			return "", err
		}
		w.tail = &t // marks only rise, so that it is the tail of later places too
	}
	switch {
	case w.tail.mark > off:
		return fmt.Sprintf("no valid record here, but a later one says that the file was synced up to %d", w.tail.mark), nil
	case w.synced > at(w.number, off):
		return fmt.Sprintf("no valid record here, but the cursor says that the log was synced up to %s", w.synced), nil
	case w.last || off == headerSize && w.tail.end == headerSize:
		return "", nil
	}
	next, err := w.a.begun(w.number + 1)
	if err != nil || !next {
		return "", err
	}
	return "no valid record here, but a later segment was begun", nil
}

// segment opens segment n. Its header only says what is known besides, and each frame vouches for itself: if the header is damaged, that
// is told, and the file is read as far as it goes.
func (a *Archive) segment(n uint64) (f File, size int64, damage *CorruptError, err error) {
	path := segmentPath(a.dir, n)
	if f, err = a.disk.Open(path, false); err != nil {
		return nil, 0, nil, err
	}
	h, err := readHeader(f, path, a.meta.id, n)
	if damage, damaged := errors.AsType[*CorruptError](err); damaged {
		if size, err = f.Size(); err == nil {
			return f, size, damage, nil
		}
	}
	if err != nil {
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	return f, h.size, nil, nil
}

// begun says whether segment n has a record.
func (a *Archive) begun(n uint64) (bool, error) {
	f, size, _, err := a.segment(n)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
	end, err := lastNonZero(f, headerSize, max(size, headerSize))
	return end > headerSize, err
}

// Record reads the one record that begins at pos, in memory of its own.
func (a *Archive) Record(pos Position) (Record, error) {
	if err := a.use(pos.Segment()); err != nil {
		return Record{}, fmt.Errorf("read spool %s at %s: %w", a.dir, pos, err)
	}
	d := newDecoder(a.open, seedFor(a.meta.id, pos.Segment()), pos.Offset(), a.size)
	d.chunk = recordChunk
	fr, err := d.next()
	if err != nil {
		return Record{}, fmt.Errorf("read spool %s at %s: %w", a.dir, pos, err)
	}
	return fr.record(pos), nil
}

// recordChunk holds most records; the decoder grows for a longer one.
const recordChunk = 4 << 10

// use opens segment n unless it is the one that is open.
func (a *Archive) use(n uint64) error {
	if a.open != nil && a.number == n {
		return nil
	}
	if err := a.Close(); err != nil {
		return err
	}
	f, size, _, err := a.segment(n)
	if err != nil {
		return err
	}
	a.open, a.number, a.size = f, n, size
	return nil
}

// Close closes what Record has opened. The archive can be used again.
func (a *Archive) Close() error {
	if a.open == nil {
		return nil
	}
	err := a.open.Close()
	a.open = nil
	return err
}
