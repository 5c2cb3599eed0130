package spool

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// A scan is what one segment holds, as far as its frames are valid.
type scan struct {
	header   header
	path     string
	end      int64     // behind the last valid frame
	mark     int64     // the highest synced mark in it
	sealed   bool      // it ends with a seal
	sealedAt time.Time // when; zero if it isn't sealed
}

// A folder follows the open calls through frames in order.
type folder struct {
	calls   *calls // open where the folder is
	carry   *calls // those of the head being read; nil if it is complete
	missing int    // carried records still to come
	reserve int64  // for calls that are found open
}

func newFolder(reserve int64) *folder { return &folder{calls: newCalls(), reserve: reserve} }

// fold takes the next frame of a segment; first says that it is the segment's first one. The error says what is
// wrong with a log that has the frame here.
func (o *folder) fold(f *frame, first bool) error {
	if first != (f.kind == kindHead) {
		return errors.New("a segment's first frame must be its head, and no other")
	}
	carried := f.flags&flagCarried != 0
	switch {
	case first:
		n, ok := headCount(f.payload)
		if !ok {
			return errors.New("the segment's head has the wrong length")
		}
		o.carry, o.missing = newCalls(), n
	case carried && o.carry != nil:
		o.carry.apply(f, o.reserve)
		o.missing--
	case carried || o.carry != nil:
		return errors.New("the segment's carried records are not as many as its head says")
	default:
		o.calls.apply(f, o.reserve)
	}
	if o.carry != nil && o.missing == 0 {
		o.calls, o.carry = o.carry, nil
	}
	return nil
}

// scanSegment reads segment n of a spool from its header to its last valid frame and hands each frame to visit, which
// may be nil.
func scanSegment(f File, path string, id [16]byte, n uint64, visit func(off int64, f *frame) error) (scan, error) {
	h, err := readHeader(f, path, id, n)
	if err != nil {
		return scan{}, err
	}
	sc := scan{header: h, path: path, end: headerSize}
	d := newDecoder(f, seedFor(id, n), headerSize, h.size)
	for !sc.sealed {
		fr, err := d.next()
		if errors.Is(err, errNoFrame) || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return scan{}, fmt.Errorf("read %s: %w", path, err)
		}
		if visit != nil {
			if err := visit(sc.end, &fr); err != nil {
				return scan{}, &CorruptError{File: path, Offset: sc.end, Reason: err.Error()}
			}
		}
		sc.mark = max(sc.mark, int64(fr.synced))
		sc.end = d.off
		if fr.kind == kindSeal {
			sc.sealed, sc.sealedAt = true, time.UnixMicro(fr.at)
		}
	}
	return sc, nil
}

// A tail is what stands behind the last valid frame of the last segment with a byte in it.
type tail struct {
	end  int64 // behind its last byte that isn't zero
	mark int64 // the highest synced mark of valid frames in it
}

// readTail looks behind a scan. An empty tail ends where it begins.
func readTail(f File, sc scan) (tail, error) {
	if sc.sealed {
		return tail{end: sc.end}, nil // nothing was ever written behind a seal
	}
	end, err := lastNonZero(f, sc.end, sc.header.size)
	if err != nil {
		return tail{}, fmt.Errorf("read %s: %w", sc.path, err)
	}
	if end == sc.end {
		return tail{end: end}, nil
	}
	mark, err := highestMark(f, seedFor(sc.header.id, sc.header.number), sc.end, sc.header.size)
	if err != nil {
		return tail{}, fmt.Errorf("read %s: %w", sc.path, err)
	}
	return tail{end: end, mark: mark}, nil
}

// judge decides what the end of the last segment is. Damage before the mark of a valid frame behind it is
// corruption; behind all marks it is the torn tail of a crash.
func judge(sc scan, t tail) error {
	if t.mark > sc.end {
		return &CorruptError{File: sc.path, Offset: sc.end, Reason: fmt.Sprintf(
			"no valid record here, but a later one says that the file was synced up to %d", t.mark)}
	}
	return nil
}

// reaches says whether a log that ends at end has all that the cursor says was synced.
func reaches(dir string, end, synced Position) error {
	if synced > end {
		return &CorruptError{File: segmentPath(dir, end.Segment()), Offset: end.Offset(), Reason: fmt.Sprintf(
			"no valid record here, but the cursor says that the log was synced up to %s", synced)}
	}
	return nil
}
