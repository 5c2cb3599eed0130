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

// All walks over the records of all kinds that stand in the directory now, but for carried copies; a payload is valid until the
// next step. Damage takes away the rest of its segment and nothing else: it comes as a *CorruptError with a zero Record, and the walk goes on.
// So does a segment that is deleted meanwhile, as one that isn't there. Any other error ends the walk.
func (a *Archive) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		nums, _, err := listSegments(a.disk, a.dir)
		if err != nil {
			yield(Record{}, fmt.Errorf("read spool %s: %w", a.dir, err))
			return
		}
		for i, n := range nums {
			goOn, err := a.segment(n, i == len(nums)-1, yield)
			if _, damaged := errors.AsType[*CorruptError](err); damaged {
				goOn = yield(Record{}, err)
			} else if err != nil {
				yield(Record{}, fmt.Errorf("read spool %s: %w", a.dir, err))
				return
			}
			if !goOn {
				return
			}
		}
	}
}

// segment yields the records of segment n, and reports whether the walk goes on.
func (a *Archive) segment(n uint64, last bool, yield func(Record, error) bool) (goOn bool, err error) {
	path := segmentPath(a.dir, n)
	f, err := a.disk.Open(path, false)
	if missing(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
	h, err := readHeader(f, path, a.meta.id, n)
	if err != nil {
		return true, err
	}
	d := newDecoder(f, seedFor(a.meta.id, n), headerSize, h.size)
	for {
		off := d.off
		fr, err := d.next()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case errors.Is(err, errNoFrame):
			return true, a.afterLast(f, path, off, h, last)
		case err != nil:
			return false, err
		case fr.kind == kindSeal:
			return true, nil
		case fr.kind >= kindMark || fr.flags&flagCarried != 0:
			continue
		}
		if !yield(fr.record(at(n, off)), nil) {
			return false, nil
		}
	}
}

// afterLast judges a segment that ends without a seal: the last one may, and a spare behind it has no record at all.
func (a *Archive) afterLast(f File, path string, end int64, h header, last bool) error {
	t, err := readTail(f, scan{header: h, path: path, end: end})
	if err != nil {
		return err
	}
	if end == headerSize && t.end == headerSize { // a spare
		return nil
	}
	if err := judge(scan{path: path, end: end}, t); err != nil || last {
		return err
	}
	next, err := a.begun(h.number + 1)
	if err != nil || !next {
		return err
	}
	return &CorruptError{File: path, Offset: end, Reason: "no valid record here, but a later segment was begun"}
}

// begun says whether segment n has a record.
func (a *Archive) begun(n uint64) (bool, error) {
	path := segmentPath(a.dir, n)
	f, err := a.disk.Open(path, false)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
	h, err := readHeader(f, path, a.meta.id, n)
	if err != nil {
		return false, err
	}
	_, err = newDecoder(f, seedFor(a.meta.id, n), headerSize, h.size).next()
	return err == nil, nil // without a valid frame it has none
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
	path := segmentPath(a.dir, n)
	f, err := a.disk.Open(path, false)
	if err != nil {
		return err
	}
	h, err := readHeader(f, path, a.meta.id, n)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a.open, a.number, a.size = f, n, h.size
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
