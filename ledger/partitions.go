package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
)

// PartitionEvents is how many indexes a partition of ledger.events holds: the
// size of three levels of the tree's tiles.
const PartitionEvents = 1 << 24

// validateTimeout bounds the one reading of a whole partition.
const validateTimeout = time.Hour

// makePartition sees to it that there is a partition for every index below end.
func (a *appender) makePartition(ctx context.Context, end int64) error {
	if end <= a.partitioned {
		return nil
	}
	if err := a.tx.QueryRow(ctx, `SELECT ledger.make_partitions($1)`, end-1).Scan(&a.partitioned); err != nil {
		return fmt.Errorf("make partition: %w", err)
	}
	return nil
}

// sawPartition remembers what has been committed.
func (l *Ledger) sawPartition(end int64) {
	for {
		known := l.partitioned.Load()
		if end <= known || l.partitioned.CompareAndSwap(known, end) {
			return
		}
	}
}

// MakePartitions makes the partition of events after the one that is being
// filled, and those of ids for the coming months, if they are missing. Append
// makes what it needs by itself, but then those who wait for it wait longer:
// call this at the start and every hour or so.
func (l *Ledger) MakePartitions(ctx context.Context) error {
	end := int64(0)
	err := db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		const ahead = `SELECT ledger.make_partitions((SELECT size FROM ledger.head WHERE shard = 0) + $1)`
		return tx.QueryRow(ctx, ahead, PartitionEvents).Scan(&end)
	})
	if err != nil {
		return wrap("make partitions of events", err)
	}
	l.sawPartition(end)
	if _, err := l.pool.Exec(ctx, `SELECT ledger.make_months()`); err != nil {
		return wrap("make partitions of ids", err)
	}
	return nil
}

// ClosePartition gives a full partition the CHECK by which queries for a range
// of time skip it. It reads the whole partition, beside those who read and
// append; one that is closed is left as it is. no counts from 0.
func (l *Ledger) ClosePartition(ctx context.Context, no int64) error {
	doing := fmt.Sprintf("close partition %d", no)
	added := false
	if err := l.pool.QueryRow(ctx, `SELECT ledger.bound_partition($1)`, no).Scan(&added); err != nil {
		return wrap(doing, err)
	}
	err := db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL statement_timeout = %d`, validateTimeout.Milliseconds())); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `SELECT ledger.validate_partition($1)`, no)
		return err
	})
	if err != nil {
		return wrap(doing, err)
	}
	return nil
}
