package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

const (
	zeroChunk    = 1 << 20 // bytes of zeros written at once
	zeroSyncEach = 8 << 20 // synced in steps, so that a commit's sync never waits behind a whole segment of zeros
)

// A segment is one file that is or will be written.
type segment struct {
	num     uint64
	size    int64
	seed    uint32
	f       File
	end     int64  // guarded by Spool.mu: behind the last frame accepted
	buf     []byte // guarded by Spool.mu: frames accepted and not yet handed to a write
	written int64  // guarded by Spool.wmu: buf begins here
}

func (g *segment) pos() Position { return at(g.num, g.end) }

// left is the room for frames in g, its seal apart.
func (g *segment) left() int64 { return g.size - g.end - sealSize }

// append accepts a frame; the caller has made sure that it fits.
func (g *segment) append(f *frame) {
	g.buf = appendFrame(g.buf, g.seed, g.end, f)
	g.end += frameSize(len(f.payload))
}

// newSegment makes segment n of zeros and gives it its name when it is durable as a whole: a segment with its name
// is never shorter or without header because of a crash.
func newSegment(disk FS, dir string, h header) (*segment, error) {
	path := segmentPath(dir, h.number)
	f, err := disk.Create(path + tmpExt)
	if err != nil {
		return nil, err
	}
	err = fillSegment(f, h)
	if err == nil {
		err = disk.Rename(path+tmpExt, path)
	}
	if err == nil {
		err = disk.SyncDir(dir)
	}
	if err != nil {
		// Give a full disk its space back; what went wrong is the error to tell.
		_ = f.Close()
		_ = disk.Remove(path + tmpExt)
		return nil, err
	}
	return &segment{
		num: h.number, size: h.size, seed: seedFor(h.id, h.number), f: f, end: headerSize, written: headerSize,
	}, nil
}

// fillSegment writes zeros over the whole length, then the header, and syncs them.
func fillSegment(f File, h header) error {
	zeros := make([]byte, min(zeroChunk, h.size))
	for off := int64(0); off < h.size; {
		n := min(int64(len(zeros)), h.size-off)
		if err := writeFull(f, zeros[:n], off); err != nil {
			return err
		}
		off += n
		if off%zeroSyncEach == 0 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	if err := writeFull(f, h.encode(), 0); err != nil {
		return err
	}
	return f.Sync()
}

// openSegment opens one that is there for writing from offset end.
func openSegment(disk FS, dir string, h header, end int64) (*segment, error) {
	f, err := disk.Open(segmentPath(dir, h.number), true)
	if err != nil {
		return nil, err
	}
	return &segment{
		num: h.number, size: h.size, seed: seedFor(h.id, h.number), f: f, end: end, written: end,
	}, nil
}

// headPayload says how many carried records follow a segment's head.
func headPayload(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

func headCount(payload []byte) (int, bool) {
	if len(payload) != 4 {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(payload)), true
}

// listSegments returns the numbers of dir's segments in order, and the names of files left from a crash while they were made.
func listSegments(disk FS, dir string) (nums []uint64, leftover []string, err error) {
	names, err := disk.List(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if n, ok := segmentNumber(name); ok {
			nums = append(nums, n)
		}
		of, tmp := strings.CutSuffix(name, tmpExt)
		if _, ok := segmentNumber(of); tmp && (ok || of == metaName || of == cursorName) {
			leftover = append(leftover, name)
		}
	}
	return nums, leftover, nil
}

// contiguous names the first segment that is missing between others.
func contiguous(dir string, nums []uint64) error {
	for i := 1; i < len(nums); i++ {
		if nums[i] != nums[i-1]+1 {
			return &CorruptError{
				File: segmentPath(dir, nums[i-1]+1), Reason: fmt.Sprintf("the segment is missing, but %s is there", segmentName(nums[i])),
			}
		}
	}
	return nil
}

func removeAll(disk FS, dir string, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, disk.Remove(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}
