package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
)

// SilentAfter is how long a spool may not be seen before somebody should look:
// its process reports every ten seconds.
const SilentAfter = 10 * time.Minute

// A SpoolState is a spool as its shipper last reported it.
type SpoolState struct {
	ID       domain.SpoolID
	Replica  string
	Epoch    int64
	LastSeen time.Time
	// Silent is how long ago that was, by the database's clock.
	Silent time.Duration
	// Unshipped counts the ended calls that the ledger didn't have then, and
	// OldestUnshipped is when the oldest of them ended; zero if there is none.
	Unshipped       int64
	OldestUnshipped time.Time
	// AtRest: it was closed in order, with nothing left.
	AtRest bool
	// Lost: an operator declared it lost.
	Lost bool
}

// Orphaned reports whether nobody ships from the spool although it may hold calls
// that the ledger doesn't have.
func (s SpoolState) Orphaned() bool { return s.Silent >= SilentAfter && !s.AtRest && !s.Lost }

// Spools returns every spool that ever shipped to the ledger, the last seen first.
func Spools(ctx context.Context, q Querier) ([]SpoolState, error) {
	const query = `SELECT id, replica, epoch, last_seen, clock_timestamp() - last_seen, unshipped, oldest_unshipped, at_rest, lost
		FROM ledger.spools ORDER BY last_seen DESC, id`
	rows, err := q.Query(ctx, query)
	if err != nil {
		return nil, wrap("read spools", err)
	}
	spools, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s SpoolState, err error) {
		var id [16]byte
		var oldest *time.Time
		err = row.Scan(&id, &s.Replica, &s.Epoch, &s.LastSeen, &s.Silent, &s.Unshipped, &oldest, &s.AtRest, &s.Lost)
		s.ID, s.LastSeen = id, s.LastSeen.UTC()
		if oldest != nil {
			s.OldestUnshipped = oldest.UTC()
		}
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("read spools: %w", err)
	}
	return spools, nil
}
