package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"manti/ledger"
)

// Tiles are those of https://c2sp.org/tlog-tiles: tile n of level l holds 256
// hashes, which are the roots of 256^l leaves each, from leaf n × 256^(l+1) on.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	tileBytes  = tileWidth * tlog.HashSize
	// tileLevels is enough for 2^64 events.
	tileLevels = 8
)

// cachedTiles bounds the full tiles that are kept in memory, 8 KiB each. Those
// above the leaves are needed again and again: one stands for 65,536 events.
const cachedTiles = 256

type tileID struct {
	level int
	n     int64
}

// A tree reads hashes of the ledger's Merkle tree: full tiles from ledger.tiles,
// what lies behind them at level 0 from the leaves. An incomplete tile further
// up is made from the full tiles below it, once: it is kept and only ever grows.
// It is for concurrent use.
type tree struct {
	// keepLeaves keeps the last tile of leaves as well: for whoever holds what
	// comes out against a signed root anyway.
	keepLeaves bool

	mu    sync.Mutex
	edges [tileLevels]edge  // guarded by mu
	full  map[tileID][]byte // guarded by mu
}

// An edge is the begin of a tile. Its bytes are never written to again, only
// appended to.
type edge struct {
	n      int64
	hashes []byte
}

// forget drops what is in memory.
func (t *tree) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.edges, t.full = [tileLevels]edge{}, nil
}

// root is the tree hash of the first size events. All tiles that they fill must
// be in ledger.tiles.
func (t *tree) root(ctx context.Context, q ledger.Querier, size int64) (tlog.Hash, error) {
	h, err := tlog.TreeHash(size, t.reader(ctx, q, size))
	if err != nil {
		return h, fmt.Errorf("root of %d events: %w", size, err)
	}
	return h, nil
}

// reader reads the tree over the first size events. It remembers tiles while
// it is used.
func (t *tree) reader(ctx context.Context, q ledger.Querier, size int64) tlog.HashReader {
	seen := map[tileID][]byte{}
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			tile := tlog.TileForIndex(tileHeight, index)
			id := tileID{tile.L, tile.N}
			data, ok := seen[id]
			if !ok {
				var err error
				if data, err = t.tile(ctx, q, id, widthAt(id, size)); err != nil {
					return nil, err
				}
				seen[id] = data
			}
			tile.W = len(data) / tlog.HashSize
			var err error
			if hashes[i], err = tlog.HashFromTile(tile, data, index); err != nil {
				return nil, err
			}
		}
		return hashes, nil
	})
}

// widthAt is how many hashes a tile has when the tree has size leaves.
func widthAt(id tileID, size int64) int {
	return int(max(0, min(tileWidth, size>>(tileHeight*id.level)-id.n<<tileHeight)))
}

// tile returns the first width hashes of a tile.
func (t *tree) tile(ctx context.Context, q ledger.Querier, id tileID, width int) ([]byte, error) {
	if width == tileWidth {
		return t.fullTile(ctx, q, id)
	}
	return t.edge(ctx, q, id, width)
}

func join(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func (t *tree) fullTile(ctx context.Context, q ledger.Querier, id tileID) ([]byte, error) {
	t.mu.Lock()
	data, ok := t.full[id]
	t.mu.Unlock()
	if ok {
		return data, nil
	}
	tiles, err := readTiles(ctx, q, id, 1)
	if err != nil {
		return nil, err
	}
	if id.level > 0 {
		t.keep(id, tiles[0])
	}
	return tiles[0], nil
}

// keep remembers a full tile, in the place of any other if there are many.
func (t *tree) keep(id tileID, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full == nil {
		t.full = map[tileID][]byte{}
	}
	for other := range t.full {
		if len(t.full) < cachedTiles {
			break
		}
		delete(t.full, other)
	}
	t.full[id] = data
}

// edge returns the begin of a tile, made from the leaves or the tiles below.
func (t *tree) edge(ctx context.Context, q ledger.Querier, id tileID, width int) ([]byte, error) {
	t.mu.Lock()
	known := t.edges[id.level]
	t.mu.Unlock()
	if known.n != id.n {
		known = edge{n: id.n}
	}
	if have := len(known.hashes) / tlog.HashSize; have < width {
		more, err := readHashes(ctx, q, tileID{id.level, id.n<<tileHeight + int64(have)}, width-have)
		if err != nil {
			return nil, err
		}
		known.hashes = append(slices.Clip(known.hashes), join(more)...)
		if id.level > 0 || t.keepLeaves {
			t.extend(id.level, known)
		}
	}
	return known.hashes[:width*tlog.HashSize], nil
}

// readHashes returns count hashes of a level of tiles, from number first.n on:
// leaves, or roots of the full tiles below.
func readHashes(ctx context.Context, q ledger.Querier, first tileID, count int) ([]tlog.Hash, error) {
	if first.level == 0 {
		return readLeaves(ctx, q, first.n, first.n+int64(count))
	}
	below, err := readTiles(ctx, q, tileID{first.level - 1, first.n}, count)
	hashes := make([]tlog.Hash, len(below))
	for i, data := range below {
		hashes[i] = tileRoot(data)
	}
	return hashes, err
}

// extend takes over an edge that is further than the one that is known.
func (t *tree) extend(level int, e edge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.edges[level]; e.n > old.n || e.n == old.n && len(e.hashes) > len(old.hashes) {
		t.edges[level] = e
	}
}

// tileRoot is the hash of a full tile's 256 hashes.
func tileRoot(data []byte) tlog.Hash {
	var nodes [tileWidth]tlog.Hash
	for i := range nodes {
		copy(nodes[i][:], data[i*tlog.HashSize:])
	}
	for n := tileWidth; n > 1; n /= 2 {
		for i := range n / 2 {
			nodes[i] = tlog.NodeHash(nodes[2*i], nodes[2*i+1])
		}
	}
	return nodes[0]
}

// errNoTile: a tile that should be there isn't, or isn't what a tile is.
var errNoTile = errors.New("ledger.tiles lacks a tile")

// readTiles reads count full tiles of a level, from id on.
func readTiles(ctx context.Context, q ledger.Querier, id tileID, count int) ([][]byte, error) {
	const query = `SELECT tile, hashes FROM ledger.tiles WHERE level = $1 AND tile >= $2 AND tile < $3 AND width = 256 ORDER BY tile`
	rows, err := q.Query(ctx, query, id.level, id.n, id.n+int64(count))
	if err != nil {
		return nil, fmt.Errorf("read tiles: %w", err)
	}
	tiles := make([][]byte, 0, count)
	var n int64
	var hashes []byte
	_, err = pgx.ForEachRow(rows, []any{&n, &hashes}, func() error {
		if n != id.n+int64(len(tiles)) || len(hashes) != tileBytes {
			return fmt.Errorf("%w: level %d, number %d", errNoTile, id.level, id.n+int64(len(tiles)))
		}
		tiles = append(tiles, hashes)
		hashes = nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tiles: %w", err)
	}
	if len(tiles) < count {
		return nil, fmt.Errorf("read tiles: %w: level %d, number %d", errNoTile, id.level, id.n+int64(len(tiles)))
	}
	return tiles, nil
}
