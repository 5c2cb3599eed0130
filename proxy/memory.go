package proxy

import (
	"math/bits"
	"sync"
)

// Bodies of these sizes are lent; smaller ones cost as much to lend as to make,
// and larger ones are too rare to be worth keeping.
const (
	minLentBits = 9  // 512 bytes
	maxLentBits = 23 // 8 MiB
)

// Sizes of the buffers in which a stream's frames go out.
const (
	outBytes    = 4 << 10
	maxOutBytes = 64 << 10
)

// memory lends what calls need for a while. A large body would else be zeroed
// for each call and collected after it; small ones are a fifth of what a plain
// call allocates; a slow stream would hold a buffer while nothing comes. What nobody borrows the collector takes. The zero value is
// ready and safe for concurrent use.
type memory struct {
	bodies [maxLentBits - minLentBits + 1]sync.Pool // of *[]byte, by the power of two of their capacity
	outs   sync.Pool                                // of *[]byte
}

// body is n bytes with anything in them: whoever asks fills them all. They may be
// given back when nothing reads them any more.
func (m *memory) body(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minLentBits) - minLentBits
	if n < 1<<minLentBits || class >= len(m.bodies) {
		return make([]byte, n)
	}
	if b, ok := m.bodies[class].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, 1<<(class+minLentBits))
}

// free takes back what body gave, or anything else.
func (m *memory) free(b []byte) {
	class := bits.Len(uint(cap(b))) - 1 - minLentBits
	if class < 0 || class >= len(m.bodies) || cap(b) != 1<<(class+minLentBits) {
		return
	}
	lent := b // or each b would escape, also those that aren't kept
	m.bodies[class].Put(&lent)
}

// out is an empty buffer for frames.
func (m *memory) out() *[]byte {
	if b, ok := m.outs.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, outBytes)
	return &b
}

// freeOut takes back what out gave, grown perhaps.
func (m *memory) freeOut(b *[]byte) {
	if cap(*b) > maxOutBytes {
		return
	}
	*b = (*b)[:0]
	m.outs.Put(b)
}
