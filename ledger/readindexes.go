package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ReadIndexes returns the events at the indexes, decoded, by ascending index. One
// that isn't there is an error. The querier needs the writer's or the auditor's
// rights.
func ReadIndexes(ctx context.Context, q Querier, indexes []int64) ([]Entry, error) {
	const query = `SELECT e.index, e.recorded_at, e.id, e.kind, e.canonical, e.private_salt, e.private, x.salt, x.data
		FROM ledger.events e LEFT JOIN ledger.erasable x ON x.index = e.index
		WHERE e.index = ANY($1) ORDER BY e.index`
	rows, err := q.Query(ctx, query, indexes)
	if err != nil {
		return nil, wrap("read events", err)
	}
	entries, err := pgx.CollectRows(rows, scanEntry)
	if err != nil {
		return nil, wrap("read events", err)
	}
	if len(entries) != len(indexes) {
		return nil, fmt.Errorf("read events: %d of %d are there", len(entries), len(indexes))
	}
	return entries, nil
}
