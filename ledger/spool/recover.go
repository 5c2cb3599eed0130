package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Recovery reads everything and decides before it changes a byte: a directory that Open refuses stays as it was.

// A found is what stands in a directory.
type found struct {
	meta     meta
	fresh    bool // there is no spool yet
	cursor   cursor
	known    bool // the cursor is there and valid
	leftover []string
	kept     []keptSegment
	last     *scan // the last segment with a frame or a trace of one; nil if there is none
	tail     tail
	restart  bool     // last has a head whose carried records are incomplete: it begins again
	blank    []header // segments behind last, all zeros: in order
	discard  []string // names of blank ones that are not whole
	calls    *calls
	unsent   uint64   // records to be shipped behind the cursor
	ship     Position // behind the last of them
	highest  Head     // what Placed records say, of those that were scanned
}

// load reads dir. It changes nothing.
func load(cfg Config) (*found, error) {
	nums, leftover, err := listSegments(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	fd := &found{leftover: leftover, calls: newCalls()}
	fd.meta, err = readMeta(cfg.FS, cfg.Dir)
	if missing(err) {
		return fd, fd.loadFresh(cfg, nums)
	}
	if err != nil {
		return nil, err
	}
	if fd.cursor, fd.known, err = readCursor(cfg.FS, cfg.Dir, fd.meta.id); err != nil {
		return nil, err
	}
	if nums, err = fd.splitBlank(cfg, nums); err != nil {
		return nil, err
	}
	if err := contiguous(cfg.Dir, nums); err != nil {
		return nil, err
	}
	if err := fd.scanLog(cfg, nums); err != nil {
		return nil, err
	}
	return fd, fd.check(cfg)
}

// loadFresh is for a directory without a meta file: there must be nothing else of a spool.
func (fd *found) loadFresh(cfg Config, nums []uint64) error {
	_, err := readFile(cfg.FS, filepath.Join(cfg.Dir, cursorName), 1)
	switch {
	case len(nums) > 0:
		return fmt.Errorf("%w: %s has %s (the id also stands in each segment's header)", ErrMetaLost, cfg.Dir, segmentName(nums[0]))
	case err == nil:
		return fmt.Errorf("%w: %s has a cursor", ErrMetaLost, cfg.Dir)
	case !missing(err):
		return err
	}
	fd.meta, fd.fresh = newMeta(), true
	return nil
}

// splitBlank takes the segments off the end of nums that hold nothing but zeros: spares that were never begun. Those
// that can't be gone on with, because they are not whole or one before them isn't, are to be discarded.
func (fd *found) splitBlank(cfg Config, nums []uint64) ([]uint64, error) {
	var blank []header // from the last to the first; size 0 if not whole
	for len(nums) > 0 {
		n := nums[len(nums)-1]
		h, ok, err := readBlank(cfg, fd.meta.id, n)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		h.number = n
		blank = append(blank, h)
		nums = nums[:len(nums)-1]
	}
	var next uint64
	if len(nums) > 0 {
		next = nums[len(nums)-1] + 1
	} else if len(blank) > 0 {
		next = blank[len(blank)-1].number
	}
	for _, h := range slices.Backward(blank) {
		if h.size > 0 && h.number == next {
			fd.blank = append(fd.blank, h)
			next++
			continue
		}
		fd.discard = append(fd.discard, segmentName(h.number))
	}
	return nums, nil
}

// readBlank says whether segment n has no byte behind its header. The header is zero if it isn't whole.
func readBlank(cfg Config, id [16]byte, n uint64) (h header, blank bool, err error) {
	path := segmentPath(cfg.Dir, n)
	f, err := cfg.FS.Open(path, false)
	if err != nil {
		return header{}, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return header{}, false, err
	}
	if size > headerSize {
		end, err := lastNonZero(f, headerSize, size)
		if err != nil || end > headerSize {
			return header{}, false, err
		}
	}
	h, err = readHeader(f, path, id, n)
	if _, damaged := errors.AsType[*CorruptError](err); damaged {
		return header{}, true, nil
	}
	return h, true, err
}

// scanLog reads the segments from the cursor's on, at least the last two: the head of each segment says which calls are
// open, so what is before them matters only to Replay.
func (fd *found) scanLog(cfg Config, nums []uint64) error {
	if len(nums) == 0 {
		return nil
	}
	first := 0
	for i, n := range nums {
		if fd.known && n <= fd.cursor.acked.Segment() && i < max(1, len(nums)-1) {
			first = i
		}
	}
	o := newFolder(frameSize(cfg.MaxRecordBytes))
	for i, n := range nums {
		if i < first {
			fd.kept = append(fd.kept, oldSegment(cfg, fd.meta.id, n))
			continue
		}
		if err := fd.scanOne(cfg, o, n, i == len(nums)-1); err != nil {
			return err
		}
	}
	fd.calls = o.calls
	fd.restart = o.carry != nil
	if fd.restart && nums[0] == fd.last.header.number {
		return &CorruptError{File: fd.last.path, Offset: fd.last.end, Reason: "records of open calls are missing"}
	}
	return nil
}

// scanOne folds segment n; only the last may end without a seal.
func (fd *found) scanOne(cfg Config, o *folder, n uint64, last bool) (err error) {
	path := segmentPath(cfg.Dir, n)
	f, err := cfg.FS.Open(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sc, err := scanSegment(f, path, fd.meta.id, n, func(off int64, fr *frame) error {
		if fr.kind.Shipped() && at(n, off) >= fd.cursor.acked {
			fd.unsent++
			fd.ship = at(n, off) + Position(frameSize(len(fr.payload)))
		}
		if fr.kind == Placed {
			fd.highest.see(fr.payload)
		}
		return o.fold(fr, off == headerSize)
	})
	if err != nil {
		return err
	}
	if last {
		fd.last = &sc
		fd.tail, err = readTail(f, sc)
		return err
	}
	if !sc.sealed {
		return &CorruptError{File: path, Offset: sc.end, Reason: "no valid record here, but a later segment was begun"}
	}
	fd.kept = append(fd.kept, keptSegment{num: n, size: sc.header.size, sealed: sc.sealedAt})
	return nil
}

// check holds what was found against what is known to have been synced.
func (fd *found) check(cfg Config) error {
	end := at(1, headerSize)
	switch {
	case fd.last != nil && fd.last.sealed:
		end = at(fd.last.header.number+1, headerSize)
	case fd.last != nil:
		end = at(fd.last.header.number, fd.last.end)
		if err := judge(*fd.last, fd.tail); err != nil {
			return err
		}
	case len(fd.blank) > 0:
		end = at(fd.blank[0].number, headerSize)
	}
	if err := reaches(cfg.Dir, end, fd.cursor.synced); err != nil {
		return err
	}
	return fd.checkFiles(cfg)
}

// checkFiles refuses a log that doesn't begin where the shipper is, and blank segments that can't be what a crash left.
func (fd *found) checkFiles(cfg Config) error {
	first := at(1, headerSize)
	switch {
	case len(fd.kept) > 0:
		first = at(fd.kept[0].num, headerSize)
	case fd.last != nil:
		first = at(fd.last.header.number, headerSize)
	}
	if fd.known && fd.cursor.acked < first && fd.cursor.acked != 0 {
		return &CorruptError{File: segmentPath(cfg.Dir, fd.cursor.acked.Segment()), Reason: fmt.Sprintf(
			"the segment is missing, and records in it from %s were not shipped", fd.cursor.acked)}
	}
	if len(fd.discard) > 0 && len(fd.blank) == 0 && (fd.last == nil || fd.last.sealed) {
		return &CorruptError{File: filepath.Join(cfg.Dir, fd.discard[0]),
			Reason: "the segment has no valid header, and nothing shows that it was never used"}
	}
	return nil
}

// oldSegment describes a segment that was shipped whole: its next one's head says when it was sealed. What can't be
// read counts as sealed now: it is kept longer, and Replay will name the damage.
func oldSegment(cfg Config, id [16]byte, n uint64) keptSegment {
	k := keptSegment{num: n, size: cfg.SegmentBytes, sealed: time.Now()}
	if f, err := cfg.FS.Open(segmentPath(cfg.Dir, n), false); err == nil {
		if size, err := f.Size(); err == nil {
			k.size = size
		}
		_ = f.Close() // only read
	}
	f, err := cfg.FS.Open(segmentPath(cfg.Dir, n+1), false)
	if err != nil {
		return k
	}
	defer func() { _ = f.Close() }() // only read
	size, err := f.Size()
	if err != nil {
		return k
	}
	if fr, err := newDecoder(f, seedFor(id, n+1), headerSize, size).next(); err == nil {
		k.sealed = time.UnixMicro(fr.at)
	}
	return k
}

// repair makes what was found durable: it cuts the torn tail, and writes again what may only be in the system's memory, for
// after a failed sync the system may take pages for clean that never reached the disk.
func (fd *found) repair(cfg Config) (cut int64, err error) {
	if err := removeAll(cfg.FS, cfg.Dir, append(fd.leftover, fd.discard...)); err != nil {
		return 0, err
	}
	if fd.last == nil {
		return 0, nil
	}
	f, err := cfg.FS.Open(fd.last.path, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	cut = fd.tail.end - fd.last.end
	if fd.restart {
		cut, fd.last.end = fd.tail.end-headerSize, headerSize
	}
	from := max(fd.last.mark, headerSize)
	if err := rewrite(f, from, fd.last.end, fd.tail.end); err != nil {
		return 0, fmt.Errorf("repair %s: %w", fd.last.path, err)
	}
	return cut, nil
}

// rewrite writes [from, end) as it is and zeros from end to zeroTo, and syncs both.
func rewrite(f File, from, end, zeroTo int64) error {
	from = min(from, end)
	b := make([]byte, min(readChunk, zeroTo-from))
	for off := from; off < zeroTo; {
		part := b[:min(int64(len(b)), zeroTo-off)]
		if err := readFull(f, part, off); err != nil {
			return err
		}
		if keep := end - off; keep < int64(len(part)) {
			clear(part[max(0, keep):])
		}
		if err := writeFull(f, part, off); err != nil {
			return err
		}
		off += int64(len(part))
	}
	return f.Sync()
}
