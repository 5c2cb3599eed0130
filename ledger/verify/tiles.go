package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A tile holds tileWidth hashes, which are tileHeight levels of the tree apart
// from those of the tiles above (https://c2sp.org/tlog-tiles).
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// A storedTile is a row of ledger.tiles.
type storedTile struct {
	level  int
	number int64
	width  int
	hashes []byte
}

// readTiles returns the tiles of a level by number, from first to last.
func readTiles(ctx context.Context, tx pgx.Tx, level int, first, last int64) ([]storedTile, error) {
	const query = `SELECT tile, COALESCE(width, 0)::int, COALESCE(hashes, '') FROM ledger.tiles WHERE level = $1 AND tile >= $2 AND tile <= $3 ORDER BY tile, width`
	var tiles []storedTile
	t := storedTile{level: level}
	err := each(ctx, tx, "tiles", []any{&t.number, &t.width, &t.hashes}, func() error {
		tiles = append(tiles, t)
		t.hashes = nil // Scan makes a new one
		return nil
	}, query, level, first, last)
	return tiles, err
}

// tileRows is the hashes of each level's tile that is being filled.
type tileRows [][]byte

// add appends the hash of a complete subtree; full is called with a tile that it
// completes.
func (r *tileRows) add(level int, number int64, h hash, full func(level int, number int64, hashes []byte) error) error {
	if level%tileHeight != 0 {
		return nil
	}
	level /= tileHeight
	for len(*r) <= level {
		*r = append(*r, make([]byte, 0, tileWidth*sha256.Size))
	}
	row := append((*r)[level], h[:]...)
	(*r)[level] = row
	if len(row) < tileWidth*sha256.Size {
		return nil
	}
	(*r)[level] = row[:0]
	return full(level, number/tileWidth, row)
}

// compareTile holds a tile's rows against the hashes of which it must consist,
// all of them or, at the right edge, the first.
func (r *run) compareTile(level int, number int64, hashes []byte, stored []storedTile) {
	complete := false
	for _, t := range stored {
		complete = complete || t.width == tileWidth
		n := t.width * sha256.Size
		if n > len(hashes) {
			continue // see strayTiles
		}
		if len(t.hashes) == n && bytes.Equal(t.hashes, hashes[:n]) {
			continue
		}
		at := 0
		for at < t.width-1 && len(t.hashes) == n && bytes.Equal(t.hashes[:(at+1)*sha256.Size], hashes[:(at+1)*sha256.Size]) {
			at++
		}
		first := (number*tileWidth + int64(at)) << (tileHeight * level)
		r.found.add(Finding{Index: first, Through: first + 1<<(tileHeight*level) - 1, Table: "tiles", Column: "hashes",
			Somewhere: level > 0,
			Problem:   "a hash is not that of the events", Found: fmt.Sprintf("level %d, tile %d, hash %d", level, number, at)})
	}
	if first := number << (tileHeight * (level + 1)); !complete && first+1<<(tileHeight*(level+1)) <= r.sealedThere {
		r.found.add(Finding{Index: first, Through: first + 1<<(tileHeight*(level+1)) - 1, Table: "tiles",
			Problem: "the tile of these events is missing", Expected: fmt.Sprintf("level %d, tile %d", level, number)})
	}
}

// strayTiles reports the tiles over events that aren't there.
func (r *run) strayTiles(ctx context.Context, tx pgx.Tx) error {
	var t storedTile
	return each(ctx, tx, "tiles", []any{&t.level, &t.number, &t.width}, func() error {
		if t.level >= 0 && t.number >= 0 && t.level < levels(r.head.Size)+1 && (t.number*tileWidth+int64(t.width)) <= r.head.Size>>(tileHeight*t.level) {
			return nil
		}
		r.found.add(Finding{Index: NoIndex, Table: "tiles", Problem: "a tile is of events that aren't there",
			Found: fmt.Sprintf("level %d, tile %d, width %d", t.level, t.number, t.width)})
		return nil
	}, `SELECT level::int, tile, width::int FROM ledger.tiles ORDER BY level, tile, width`)
}
