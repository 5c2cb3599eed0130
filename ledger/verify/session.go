package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ReadBufferBytes is how much a connection of Config.Pool should read at a time,
// as db.Config has it.
const ReadBufferBytes = 128 << 10

// A session is several connections that see one snapshot and may only read.
type session struct {
	txs   []pgx.Tx
	conns []*pgxpool.Conn
}

// openSession begins n transactions on one snapshot, the first of which exports it.
func openSession(ctx context.Context, pool *pgxpool.Pool, n int) (s *session, err error) {
	s = new(session)
	defer func() {
		if err != nil {
			s.close(ctx)
		}
	}()
	first, err := s.begin(ctx, pool, "")
	if err != nil {
		return s, err
	}
	var snapshot string
	if err := first.QueryRow(ctx, `SELECT pg_catalog.pg_export_snapshot()`).Scan(&snapshot); err != nil {
		return s, fmt.Errorf("export snapshot: %w", err)
	}
	for range n - 1 {
		if _, err := s.begin(ctx, pool, snapshot); err != nil {
			return s, err
		}
	}
	return s, nil
}

// settings make a transaction read everything there is, by ascending index: row
// security would hide rows, so it makes a query fail instead.
const settings = `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '10s';
	SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL client_encoding = 'UTF8'; SET LOCAL row_security = off; SET LOCAL jit = off; SET LOCAL DateStyle = 'ISO'; SET LOCAL TimeZone = 'UTC'`

func (s *session) begin(ctx context.Context, pool *pgxpool.Pool, snapshot string) (pgx.Tx, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s.conns = append(s.conns, conn)
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("begin transaction: %w", err)
	}
	s.txs = append(s.txs, tx)
	if snapshot != "" {
		if _, err := tx.Exec(ctx, `SET TRANSACTION SNAPSHOT '`+snapshot+`'`); err != nil {
			return nil, fmt.Errorf("take the snapshot: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, settings); err != nil {
		return nil, fmt.Errorf("set up transaction: %w", err)
	}
	return tx, nil
}

// close ends all transactions. There is nothing to commit.
func (s *session) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for _, tx := range s.txs {
		_ = tx.Rollback(ctx) // else the connection is closed, which ends it too
	}
	for _, conn := range s.conns {
		conn.Release()
	}
}

// How a transaction's queries find their rows.
const (
	byPlanner = `SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_sort = on`
	// byIndex reads in the order of the index, without sorting.
	byIndex = `SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off`
	// byHeap reads all rows that there are, whatever an index says.
	byHeap = `SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off`
)

func scanBy(ctx context.Context, tx pgx.Tx, how string) error {
	if _, err := tx.Exec(ctx, how); err != nil {
		return fmt.Errorf("set up transaction: %w", err)
	}
	return nil
}

// each runs a query and calls do after each row was scanned into targets.
func each(ctx context.Context, tx pgx.Tx, what string, targets []any, do func() error, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err == nil {
		_, err = pgx.ForEachRow(rows, targets, do)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return err
}
