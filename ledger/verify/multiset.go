package verify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// A sum stands for a set of rows in whatever order they come: the sum of their
// keyed hashes and their number. Who doesn't know the key, which is made anew for
// each run, can't find other rows with the same sum.
type sum struct {
	rows  int64
	lanes [4]uint64
}

// sumKey is short enough for two ids to fit a block of SHA-256 with it.
type sumKey [15]byte

func newSumKey() (k sumKey) {
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// add takes a row: two ids, of which the second may be zero, and an index.
func (s *sum) add(key sumKey, a, b [16]byte, index int64) {
	var text [len(key) + 16 + 16 + 8]byte
	copy(text[:], key[:])
	copy(text[15:], a[:])
	copy(text[31:], b[:])
	binary.BigEndian.PutUint64(text[47:], uint64(index))
	h := sha256.Sum256(text[:])
	for i := range s.lanes {
		s.lanes[i] += binary.BigEndian.Uint64(h[8*i:])
	}
	s.rows++
}

// join adds another sum.
func (s *sum) join(o sum) {
	for i := range s.lanes {
		s.lanes[i] += o.lanes[i]
	}
	s.rows += o.rows
}
