package seal

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the tree for tests of it alone.
type Tree struct{ tree }

// Keep makes the tree that of a Prover.
func (t *Tree) Keep() { t.keepLeaves = true }

// Fill writes tiles.
func (t *Tree) Fill(ctx context.Context, pool *pgxpool.Pool, size int64) error {
	return t.fill(ctx, pool, size)
}

// Reader reads hashes.
func (t *Tree) Reader(ctx context.Context, pool *pgxpool.Pool, size int64) tlog.HashReader {
	return t.reader(ctx, pool, size)
}
