package direct

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/domain"
	"manti/ledger"
)

// Sweep records the open calls of sessions that are gone as unknown, and returns
// how many it recorded. Any number of processes may do so at the same time: the
// ledger takes each event once.
func Sweep(ctx context.Context, pool *pgxpool.Pool, book *ledger.Ledger) (recorded int, err error) {
	const dead = `DELETE FROM manti.sessions WHERE last_seen < clock_timestamp() - make_interval(secs => $1)`
	if _, err := pool.Exec(ctx, dead, deadAfter.Seconds()); err != nil {
		return 0, fmt.Errorf("sweep sessions: %w", err)
	}
	for {
		ids, n, err := sweepBatch(ctx, pool, book)
		recorded += n
		if err != nil {
			return recorded, fmt.Errorf("sweep open calls: %w", err)
		}
		if ids < batchCalls {
			return recorded, nil
		}
	}
}

func sweepBatch(ctx context.Context, pool *pgxpool.Pool, book *ledger.Ledger) (found, recorded int, err error) {
	const query = `SELECT o.id, o.record, i.id IS NOT NULL FROM manti.open_calls o LEFT JOIN ledger.ids i ON i.id = o.id
		WHERE NOT EXISTS (SELECT FROM manti.sessions s WHERE s.id = o.session) ORDER BY o.id LIMIT $1`
	rows, err := pool.Query(ctx, query, batchCalls)
	if err != nil {
		return 0, 0, err
	}
	var ids []domain.EventID
	var events []domain.Encoded
	var id [16]byte
	var record []byte
	var ended bool
	_, err = pgx.ForEachRow(rows, []any{&id, &record, &ended}, func() error {
		ids = append(ids, id)
		if !ended {
			events = append(events, ledger.UnknownCall(id, record))
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return 0, 0, err
	}
	if len(events) > 0 {
		res, err := book.Append(ctx, events)
		if err != nil {
			return 0, 0, err
		}
		recorded = res.Appended
	}
	_, err = pool.Exec(ctx, `DELETE FROM manti.open_calls WHERE id = ANY($1)`, uuids(ids))
	return len(ids), recorded, err
}
