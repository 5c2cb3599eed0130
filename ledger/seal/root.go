package seal

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"manti/ledger"
)

// A Frontier is the Merkle tree over a sequence of leaves of which only the right
// edge is kept: 64 hashes at most. The zero value is the empty tree.
type Frontier struct {
	size int64
	// full are the roots of the perfect subtrees, from left to right: one for
	// each bit of size.
	full []tlog.Hash
}

// Add appends a leaf hash.
func (f *Frontier) Add(leaf tlog.Hash) {
	h := leaf
	for n := bits.TrailingZeros64(^uint64(f.size)); n > 0; n-- {
		last := len(f.full) - 1
		h = tlog.NodeHash(f.full[last], h)
		f.full = f.full[:last]
	}
	f.full = append(f.full, h)
	f.size++
}

// Size is the number of leaves.
func (f *Frontier) Size() int64 { return f.size }

// Root is the RFC 6962 tree hash of the leaves so far.
func (f *Frontier) Root() tlog.Hash {
	last := len(f.full) - 1
	if last < 0 {
		h, _ := tlog.TreeHash(0, nil) // reads nothing
		return h
	}
	h := f.full[last]
	for i := last - 1; i >= 0; i-- {
		h = tlog.NodeHash(f.full[i], h)
	}
	return h
}

// leavesAtOnce bounds one query, whose rows lie 2 KB apart from each other.
const leavesAtOnce = 1 << 14

// RootOf is the tree hash of the first size events, from their leaves in
// ledger.events: not from tiles, and without computing a leaf anew. It is ErrBehind
// if there are fewer.
func RootOf(ctx context.Context, q ledger.Querier, size int64) (tlog.Hash, error) {
	var f Frontier
	for f.Size() < size {
		leaves, err := readLeaves(ctx, q, f.Size(), min(f.Size()+leavesAtOnce, size))
		if err != nil {
			return tlog.Hash{}, err
		}
		for _, leaf := range leaves {
			f.Add(leaf)
		}
	}
	return f.Root(), nil
}

// Check holds the ledger's leaves against a checkpoint. ErrBehind and
// ErrInconsistent say what differs.
func Check(ctx context.Context, q ledger.Querier, c Checkpoint) error {
	head, err := ledger.ReadHead(ctx, q)
	if err != nil {
		return err
	}
	if head.Size < c.Size {
		return behind(c, head.Size)
	}
	root, err := RootOf(ctx, q, c.Size)
	if err != nil {
		return err
	}
	return compare(c, root)
}

func behind(c Checkpoint, size int64) error {
	return fmt.Errorf("%w: it has %d events, but %s was signed", ErrBehind, size, c)
}

// compare holds the root of the first events against what was signed of them.
func compare(c Checkpoint, root tlog.Hash) error {
	if root != c.Root {
		return fmt.Errorf("%w: its first %d events have the root %s, but %s was signed", ErrInconsistent, c.Size, root, c)
	}
	return nil
}

// readLeaves returns the leaves of the indexes from (inclusive) to to (exclusive),
// all of them: it is ErrBehind if one is missing.
func readLeaves(ctx context.Context, q ledger.Querier, from, to int64) ([]tlog.Hash, error) {
	const query = `SELECT index, leaf FROM ledger.events WHERE index >= $1 AND index < $2 ORDER BY index`
	rows, err := q.Query(ctx, query, from, to)
	if err != nil {
		return nil, fmt.Errorf("read leaves from %d: %w", from, err)
	}
	leaves := make([]tlog.Hash, 0, to-from)
	var index int64
	var leaf []byte
	_, err = pgx.ForEachRow(rows, []any{&index, &leaf}, func() error {
		if want := from + int64(len(leaves)); index != want {
			return fmt.Errorf("%w: there is no event %d", ErrInconsistent, want)
		}
		if len(leaf) != tlog.HashSize {
			return fmt.Errorf("%w: the leaf of event %d has %d bytes", ErrInconsistent, index, len(leaf))
		}
		leaves = append(leaves, tlog.Hash(leaf))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read leaves from %d: %w", from, err)
	}
	if missing := from + int64(len(leaves)); missing < to {
		return nil, fmt.Errorf("%w: there is no event %d", ErrBehind, missing)
	}
	return leaves, nil
}
