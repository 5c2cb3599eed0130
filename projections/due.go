package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
)

// Lag is how far a projection is behind the ledger.
type Lag struct {
	Projection *Projection
	// Events is how many it hasn't folded. For a control projection it counts
	// only if there is an event of a control kind among them.
	Events int64
	// Age is how long ago the oldest of them was recorded; 0 if there is none.
	Age time.Duration
	// Moved is when it last got on; zero if never.
	Moved time.Time
	// Now is the database's clock.
	Now time.Time
}

// ReadLag looks how far each projection is. It is cheap: a second's rhythm is
// fine.
func ReadLag(ctx context.Context, q Querier, ps []*Projection) ([]Lag, error) {
	const query = `SELECT c.index, c.updated_at, h.size, clock_timestamp(),
			(SELECT e.recorded_at FROM ledger.events e WHERE e.index = COALESCE(c.index, 0)),
			(SELECT e.recorded_at FROM ledger.events e WHERE e.control AND e.index >= COALESCE(c.index, 0) ORDER BY e.index LIMIT 1)
		FROM unnest($1::text[]) WITH ORDINALITY AS n (name, no)
		CROSS JOIN (SELECT size FROM ledger.head WHERE shard = 0) h
		LEFT JOIN projections.checkpoints c ON c.name = n.name ORDER BY n.no`
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.Name()
	}
	rows, err := q.Query(ctx, query, names)
	if err != nil {
		return nil, fmt.Errorf("read lag: %w", err)
	}
	lags := make([]Lag, 0, len(ps))
	var index *int64
	var moved, oldest, oldestControl *time.Time
	var size int64
	var now time.Time
	_, err = pgx.ForEachRow(rows, []any{&index, &moved, &size, &now, &oldest, &oldestControl}, func() error {
		lag := Lag{Projection: ps[len(lags)], Events: size, Moved: timeOrZero(moved), Now: now.UTC()}
		if index != nil {
			lag.Events = size - *index
		}
		if lag.Projection.control {
			oldest = oldestControl
		}
		if oldest == nil {
			lag.Events = 0
		} else {
			lag.Age = max(0, now.Sub(*oldest))
		}
		lags = append(lags, lag)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read lag: %w", err)
	}
	return lags, nil
}

// DropShadows drops what rebuilds left behind that haven't moved since. It
// returns the names of their projections.
func DropShadows(ctx context.Context, b db.Beginner, since time.Time) ([]string, error) {
	const query = `DELETE FROM projections.checkpoints WHERE name = $1 AND updated_at < $2`
	var dropped []string
	for _, p := range All() {
		shadow := p.in(shadow)
		err := db.InTx(ctx, b, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, query, shadow.Name(), since)
			if err != nil || tag.RowsAffected() == 0 {
				return err
			}
			dropped = append(dropped, p.name)
			return shadow.eachTable(ctx, tx, `SELECT projections.drop_shadow($1)`)
		})
		if err != nil {
			return dropped, fmt.Errorf("drop shadow of %s: %w", p.name, err)
		}
	}
	return dropped, nil
}
