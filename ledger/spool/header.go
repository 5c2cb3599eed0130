package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	formatVersion = 1

	headerSize   = 4096 // bytes before a segment's first frame: written once, before the file has its name
	segmentMagic = "mantiseg"
	segmentExt   = ".seg"
	tmpExt       = ".tmp"

	minSegment = 16 << 10
	maxSegment = 2 << 30 // offsets stay below 2³¹
)

// A header is what a segment file says about itself in its first 4096 bytes.
type header struct {
	id     [16]byte // of the spool
	number uint64
	size   int64 // of the file, which never changes
	epoch  uint64
}

func (h header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	copy(b[16:32], h.id[:])
	binary.LittleEndian.PutUint64(b[32:], h.number)
	binary.LittleEndian.PutUint64(b[40:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[48:], h.epoch)
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
	return b
}

func decodeHeader(b []byte) (header, error) {
	if len(b) != headerSize || string(b[:8]) != segmentMagic {
		return header{}, fmt.Errorf("this is not a segment's header")
	}
	if crc32.Checksum(b[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return header{}, fmt.Errorf("the segment's header doesn't match its checksum")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return header{}, fmt.Errorf("the segment has format version %d, this program knows %d", v, formatVersion)
	}
	h := header{
		number: binary.LittleEndian.Uint64(b[32:]),
		size:   int64(binary.LittleEndian.Uint64(b[40:])),
		epoch:  binary.LittleEndian.Uint64(b[48:]),
	}
	copy(h.id[:], b[16:32])
	return h, nil
}

// segmentName is the file name of segment n: its number in decimal, so that names sort as numbers do.
func segmentName(n uint64) string { return fmt.Sprintf("%010d%s", n, segmentExt) }

// segmentNumber is the inverse of segmentName; false for other files.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentExt)
	if !ok || len(digits) != 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return n, err == nil && n > 0
}

// readHeader checks that f is segment n of spool id, whole and as long as it says.
func readHeader(f File, path string, id [16]byte, n uint64) (header, error) {
	size, err := f.Size()
	if err != nil {
		return header{}, fmt.Errorf("stat %s: %w", path, err)
	}
	corrupt := func(off int64, reason string) (header, error) {
		return header{}, &CorruptError{File: path, Offset: off, Reason: reason}
	}
	if size < headerSize {
		return corrupt(size, "the file ends before its header does")
	}
	b := make([]byte, headerSize)
	if err := readFull(f, b, 0); err != nil {
		return header{}, fmt.Errorf("read %s: %w", path, err)
	}
	h, err := decodeHeader(b)
	switch {
	case err != nil:
		return corrupt(0, err.Error())
	case h.id != id:
		return corrupt(16, "the segment belongs to another spool")
	case h.number != n:
		return corrupt(32, fmt.Sprintf("the header says segment %d, the file name says %d", h.number, n))
	case h.size != size:
		return corrupt(min(size, h.size), fmt.Sprintf("the header says %d bytes, the file has %d", h.size, size))
	}
	return h, nil
}

func segmentPath(dir string, n uint64) string { return filepath.Join(dir, segmentName(n)) }
