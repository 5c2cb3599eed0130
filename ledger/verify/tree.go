package verify

import (
	"crypto/sha256"
	"math/bits"
)

// hash is a node of the tree.
type hash = [sha256.Size]byte

// A tree is the RFC 6962 tree over the leaves that were added, kept as its
// largest complete subtrees, the largest first.
type tree struct {
	size   int64
	stack  []hash // one for each bit of size
	buffer [1 + 2*sha256.Size]byte
}

// add appends a leaf and calls each with every complete subtree that it ends:
// its level, its number in the level, and its hash.
func (t *tree) add(leaf hash, each func(level int, number int64, h hash)) {
	each(0, t.size, leaf)
	h := leaf
	for level := 0; t.size>>level&1 == 1; level++ {
		last := len(t.stack) - 1
		h = t.node(&t.stack[last], &h)
		t.stack = t.stack[:last]
		each(level+1, t.size>>(level+1), h)
	}
	t.stack = append(t.stack, h)
	t.size++
}

// root is the hash of the whole tree.
func (t *tree) root() hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	h := t.stack[len(t.stack)-1]
	for i := len(t.stack) - 2; i >= 0; i-- {
		h = t.node(&t.stack[i], &h)
	}
	return h
}

// node is the hash of a node from those of its children.
func (t *tree) node(left, right *hash) hash {
	t.buffer[0] = 1
	copy(t.buffer[1:], left[:])
	copy(t.buffer[1+sha256.Size:], right[:])
	return sha256.Sum256(t.buffer[:])
}

// levels is the number of levels of tiles that a tree of this size has.
func levels(size int64) int {
	return (bits.Len64(uint64(size)) + tileHeight - 1) / tileHeight
}
