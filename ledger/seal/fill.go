package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/mod/sumdb/tlog"

	"manti/db"
)

// errBusy: another sealer is writing tiles.
var errBusy = errors.New("another sealer is at work")

// tilesAtOnce bounds a transaction that writes tiles: 16,384 leaves, some tens
// of milliseconds.
const tilesAtOnce = leavesAtOnce / tileWidth

// sealLock is the number of the advisory lock of those who write tiles. Nobody
// waits for it, so it has no place in the order of locks.
const sealLock = 0x6d616e7469_01 // "manti", 1

// fill writes all tiles that the first size events fill. It is errBusy if
// another one is writing them.
func (t *tree) fill(ctx context.Context, pool *pgxpool.Pool, size int64) error {
	for {
		done := false
		err := db.InTx(ctx, pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) (err error) {
			done, err = t.fillSome(ctx, tx, size)
			return err
		})
		if err != nil || done {
			return err
		}
	}
}

// fillSome writes at most tilesAtOnce tiles of leaves, and what they fill above.
// What is there already is only known under the lock.
func (t *tree) fillSome(ctx context.Context, tx pgx.Tx, size int64) (done bool, err error) {
	if written, err := tilesWritten(ctx, tx); err != nil || written >= size>>tileHeight {
		return err == nil, err
	}
	free := false
	if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(sealLock)).Scan(&free); err != nil {
		return false, fmt.Errorf("lock the tiles: %w", err)
	}
	if !free {
		return false, errBusy
	}
	written, err := tilesWritten(ctx, tx)
	if err != nil {
		return false, err
	}
	end := min(size>>tileHeight, written+tilesAtOnce)
	if written >= end {
		return true, nil
	}
	leaves, err := readLeaves(ctx, tx, written<<tileHeight, end<<tileHeight)
	if err != nil {
		return false, err
	}
	if err := t.write(ctx, tx, written, leaves); err != nil {
		return false, err
	}
	return end == size>>tileHeight, nil
}

// tilesWritten is the number of full tiles of leaves. They are written in their
// order, each in one transaction with all that it fills above itself.
func tilesWritten(ctx context.Context, tx pgx.Tx) (n int64, err error) {
	const query = `SELECT COALESCE(max(tile) + 1, 0) FROM ledger.tiles WHERE level = 0`
	if err := tx.QueryRow(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("count tiles: %w", err)
	}
	return n, nil
}

// newTiles are rows of ledger.tiles in the making.
type newTiles struct {
	levels  []int16
	numbers []int64
	hashes  [][]byte
}

// write inserts the tiles that hashes fill: first are those of the leaves from
// 256 × from on, then level by level the roots of the tiles before.
func (t *tree) write(ctx context.Context, tx pgx.Tx, from int64, hashes []tlog.Hash) error {
	var tiles newTiles
	first := from << tileHeight // number of the first hash in its level
	for level := 0; len(hashes) > 0; level++ {
		n := first >> tileHeight
		data := join(hashes)
		if before := int(first - n<<tileHeight); before > 0 {
			begin, err := t.tile(ctx, tx, tileID{level, n}, before)
			if err != nil {
				return err
			}
			data = append(begin[:len(begin):len(begin)], data...)
		}
		hashes = hashes[:0]
		for first = n; len(data) >= tileBytes; n++ {
			tiles.levels, tiles.numbers, tiles.hashes = append(tiles.levels, int16(level)), append(tiles.numbers, n), append(tiles.hashes, data[:tileBytes])
			hashes = append(hashes, tileRoot(data))
			data = data[tileBytes:]
		}
	}
	const insert = `INSERT INTO ledger.tiles (level, tile, width, hashes) SELECT l, n, 256, h FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) AS t (l, n, h)`
	if _, err := tx.Exec(ctx, insert, tiles.levels, tiles.numbers, tiles.hashes); err != nil {
		return fmt.Errorf("write tiles: %w", err)
	}
	return nil
}
