package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"time"
)

const (
	seenName  = "head"
	seenMagic = "mantihed"
	seenSize  = 128
)

// Seen is what a process remembers of its ledger, beside its spool: to know it again, whole, after whatever happened
// to the database.
type Seen struct {
	Head              // the highest that it saw
	First    [32]byte // leaf of entry 0: which ledger it is; zero if it was never seen
	Mirrored int64    // entries below it that came from no spool stand in this one
}

func (s Seen) encode() []byte {
	b := make([]byte, seenSize)
	copy(b, seenMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(s.Size))
	if !s.At.IsZero() {
		binary.LittleEndian.PutUint64(b[24:], uint64(s.At.UnixMicro()))
	}
	copy(b[32:], s.Leaf[:])
	copy(b[64:], s.First[:])
	binary.LittleEndian.PutUint64(b[96:], uint64(s.Mirrored))
	binary.LittleEndian.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

func decodeSeen(b []byte) (s Seen, ok bool) {
	if len(b) != seenSize || string(b[:8]) != seenMagic || binary.LittleEndian.Uint32(b[8:]) != formatVersion ||
		crc32.Checksum(b[:124], castagnoli) != binary.LittleEndian.Uint32(b[124:]) {
		return Seen{}, false
	}
	s.Size, s.Mirrored = int64(binary.LittleEndian.Uint64(b[16:])), int64(binary.LittleEndian.Uint64(b[96:]))
	if at := int64(binary.LittleEndian.Uint64(b[24:])); at != 0 {
		s.At = time.UnixMicro(at).UTC()
	}
	copy(s.Leaf[:], b[32:])
	copy(s.First[:], b[64:])
	return s, s.Size >= 0 && s.Mirrored >= 0
}

// SaveSeen puts s into the spool's directory, durably: after a crash the old or the new one is there.
func SaveSeen(dir string, s Seen) error {
	if err := replaceFile(osFS{}, filepath.Join(dir, seenName), s.encode()); err != nil {
		return fmt.Errorf("remember the ledger's head in %s: %w", dir, err)
	}
	return nil
}

// LoadSeen reads what SaveSeen wrote; false if nothing was, or if it is damaged: then nothing is remembered.
func LoadSeen(dir string) (s Seen, ok bool, err error) {
	b, err := readFile(osFS{}, filepath.Join(dir, seenName), seenSize+1)
	if missing(err) {
		return Seen{}, false, nil
	}
	if err != nil {
		return Seen{}, false, fmt.Errorf("read the remembered head in %s: %w", dir, err)
	}
	s, ok = decodeSeen(b)
	return s, ok, nil
}
