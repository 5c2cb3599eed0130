package seal_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/mod/sumdb/tlog"

	"manti/db/dbtest"
	"manti/ledger/seal"
)

// The tiles in the table are byte for byte those that package tlog makes of
// the same leaves; there are no others, and what lies behind the last full one
// is read right, whatever the size of the tree.
func TestTilesAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	const size = 66_000 // 257 tiles of leaves and 208 leaves, one full tile above
	base := dbtest.Open(t, dbtest.Options{})
	super, pool := base.Pool(t, ""), base.Pool(t, "manti_writer")
	fakeLeaves(t, super, size)
	ref := fakeReference(t, size)
	var tree seal.Tree
	for _, step := range []int64{100, 256, 300, 10_000, 65_535, size, size} {
		if err := tree.Fill(t.Context(), pool, step); err != nil {
			t.Fatal(err)
		}
		checkTiles(t, pool, ref, step)
		checkRoots(t, &tree, pool, ref, step)
	}
	// Another process, which has nothing in memory, sees the same.
	checkRoots(t, new(seal.Tree), pool, ref, size)
	checkProofs(t, new(seal.Tree), pool, ref, size)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func checkTiles(t *testing.T, pool querier, ref *reference, size int64) {
	t.Helper()
	want := map[tlog.Tile]bool{}
	for _, tile := range tlog.NewTiles(8, 0, size) {
		if tile.W == 256 {
			want[tile] = true
		}
	}
	rows, err := pool.Query(t.Context(), `SELECT level, tile, width, hashes FROM ledger.tiles`)
	if err != nil {
		t.Fatal(err)
	}
	tile := tlog.Tile{H: 8}
	var hashes []byte
	_, err = pgx.ForEachRow(rows, []any{&tile.L, &tile.N, &tile.W, &hashes}, func() error {
		if !want[tile] {
			t.Errorf("%d events: there is a tile %s", size, tile.Path())
		}
		delete(want, tile)
		data, err := tlog.ReadTileData(tile, ref)
		if err == nil && !bytes.Equal(data, hashes) {
			t.Errorf("%d events: tile %s has other hashes", size, tile.Path())
		}
		return err
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%d events: %v, missing: %v", size, err, want)
	}
}

func checkRoots(t *testing.T, tree *seal.Tree, pool *pgxpool.Pool, ref *reference, size int64) {
	t.Helper()
	for _, n := range []int64{0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, size - 1, size} {
		if n > size {
			continue
		}
		got, err := tlog.TreeHash(n, tree.Reader(t.Context(), pool, n))
		if want := ref.root(t, n); err != nil || got != want {
			t.Errorf("root of %d, with tiles of %d: got %v, %v, want %v", n, size, got, err, want)
		}
	}
}

func checkProofs(t *testing.T, tree *seal.Tree, pool *pgxpool.Pool, ref *reference, size int64) {
	t.Helper()
	root := ref.root(t, size)
	for _, n := range []int64{0, 1, 255, 256, 40_000, 65_535, 65_536, 65_791, 65_792, size - 1} {
		proof, err := tlog.ProveRecord(size, n, tree.Reader(t.Context(), pool, size))
		if err == nil {
			err = tlog.CheckRecord(proof, size, root, n, fakeLeaf(n))
		}
		if err != nil {
			t.Errorf("inclusion of %d: %v", n, err)
		}
		if n == 0 {
			continue
		}
		consistency, err := tlog.ProveTree(size, n, tree.Reader(t.Context(), pool, size))
		if err == nil {
			err = tlog.CheckTree(consistency, size, root, n, ref.root(t, n))
		}
		if err != nil {
			t.Errorf("consistency from %d: %v", n, err)
		}
	}
}

// BenchmarkProof proves random entries of a million: find nothing of the tree
// in memory but what the proofs before left there.
func BenchmarkProof(b *testing.B) {
	const size = 1_000_000
	base := dbtest.Open(b, dbtest.Options{})
	super, pool := base.Pool(b, ""), base.Pool(b, "manti_writer")
	fakeLeaves(b, super, size)
	var tree seal.Tree
	tree.Keep()
	if err := tree.Fill(b.Context(), pool, size); err != nil {
		b.Fatal(err)
	}
	root, err := tlog.TreeHash(size, tree.Reader(b.Context(), pool, size))
	if err != nil {
		b.Fatal(err)
	}
	for n := int64(0); b.Loop(); n = (n + 618_033) % size {
		proof, err := tlog.ProveRecord(size, n, tree.Reader(b.Context(), pool, size))
		if err == nil {
			err = tlog.CheckRecord(proof, size, root, n, fakeLeaf(n))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
