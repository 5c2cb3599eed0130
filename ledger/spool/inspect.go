package spool

import (
	"errors"
	"fmt"
	"time"
)

// An Info is what Inspect sees in a directory.
type Info struct {
	ID         [16]byte
	Epoch      uint64 // of the last Open
	Segments   []SegmentInfo
	Records    int      // of all kinds that aren't the spool's own, carried copies apart
	OpenCalls  int      // without a completion at the log's end
	Unshipped  int      // records that no saved Ack covers
	Acked      Position // everything before it is in the ledger
	CursorLost bool     // there is no valid cursor
	Synced     Position // the highest place that the files themselves say was durable
	TornBytes  int64    // behind the last valid record; while the spool is in use, what is being written
	Damage     error    // a *CorruptError that Open would, or Replay will, return; nil if all is well
}

// A SegmentInfo is one segment file.
type SegmentInfo struct {
	Number  uint64
	Bytes   int64 // length of the file
	End     int64 // behind its last valid record
	Records int
	Sealed  time.Time // zero if it isn't
}

// Inspect reads a spool without locking or changing it, every segment with every checksum. While it is in use the numbers are of
// one moment or another. An error is one of the disk, or says that there is no spool; damage is in the Info.
func Inspect(dir string) (Info, error) {
	return inspect(osFS{}, dir)
}

func inspect(disk FS, dir string) (Info, error) {
	nums, _, err := listSegments(disk, dir)
	if err != nil {
		return Info{}, fmt.Errorf("inspect spool %s: %w", dir, err)
	}
	m, err := readMeta(disk, dir)
	if err != nil {
		return Info{}, fmt.Errorf("inspect spool %s: %w", dir, err)
	}
	c, known, err := readCursor(disk, dir, m.id)
	if err != nil {
		return Info{}, fmt.Errorf("inspect spool %s: %w", dir, err)
	}
	in := inspector{
		disk: disk, dir: dir, calls: newFolder(0),
		Info: Info{ID: m.id, Epoch: m.epoch, Acked: c.acked, CursorLost: !known, Synced: c.synced},
	}
	in.damage(contiguous(dir, nums))
	for _, n := range nums {
		if err := in.segment(n); err != nil {
			return Info{}, fmt.Errorf("inspect spool %s: %w", dir, err)
		}
	}
	_ = in.damage(reaches(dir, in.logEnd, c.synced)) // is one or nil
	in.OpenCalls = len(in.calls.calls.open)
	return in.Info, nil
}

// An inspector goes through the segments in order.
type inspector struct {
	Info
	disk  FS
	dir   string
	calls *folder
	last  *scan // the segment before, if it ended without a seal

	logEnd Position // behind the last frame
}

// damage keeps the first *CorruptError and returns any other error.
func (in *inspector) damage(err error) error {
	if c, ok := errors.AsType[*CorruptError](err); ok {
		if in.Damage == nil {
			in.Damage = c
		}
		return nil
	}
	return err
}

// segment reads segment n. One that Retire deletes meanwhile is passed over.
func (in *inspector) segment(n uint64) (err error) {
	path := segmentPath(in.dir, n)
	f, err := in.disk.Open(path, false)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info := SegmentInfo{Number: n}
	sc, err := scanSegment(f, path, in.ID, n, func(off int64, fr *frame) error {
		in.count(&info, at(n, off), fr)
		return in.calls.fold(fr, off == headerSize)
	})
	if err != nil {
		in.Segments = append(in.Segments, info)
		return in.damage(err)
	}
	info.Bytes, info.End, info.Sealed = sc.header.size, sc.end, sc.sealedAt
	in.Segments = append(in.Segments, info)
	if sc.mark > 0 {
		in.Synced = max(in.Synced, at(n, sc.mark))
	}
	return in.end(f, sc)
}

func (in *inspector) count(info *SegmentInfo, pos Position, fr *frame) {
	if fr.kind >= kindMark || fr.flags&flagCarried != 0 {
		return
	}
	in.Records++
	info.Records++
	if fr.kind.Shipped() && pos >= in.Acked {
		in.Unshipped++
	}
}

// end judges how a segment ends, as Open does.
func (in *inspector) end(f File, sc scan) error {
	t, err := readTail(f, sc)
	if err != nil {
		return err
	}
	if in.last != nil && t.end > headerSize {
		_ = in.damage(&CorruptError{File: in.last.path, Offset: in.last.end,
			Reason: "no valid record here, but a later segment was begun"}) // is one
	}
	in.last = nil
	if !sc.sealed {
		in.last = &sc
	}
	in.TornBytes += t.end - sc.end
	switch n := sc.header.number; {
	case sc.sealed:
		in.logEnd = at(n+1, headerSize)
	case sc.end > headerSize || in.logEnd == 0:
		in.logEnd = at(n, sc.end)
	}
	return in.damage(judge(sc, t))
}
