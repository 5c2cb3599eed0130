package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/ledger"
)

// Moment is a state of the ledger.
type Moment struct {
	// Index is how many events it held: those with a lower index.
	Index int64
	// RecordedAt is when the last of them was recorded; zero if there is none.
	RecordedAt time.Time
}

// AtIndex is the state with every event of an index below this one.
// ErrNoMoment if the ledger has no such place.
func AtIndex(ctx context.Context, q ledger.Querier, index int64) (Moment, error) {
	head, err := ledger.ReadHead(ctx, q)
	if err != nil {
		return Moment{}, err
	}
	if index < 0 || index > head.Size {
		return Moment{}, fmt.Errorf("%w: %d, the ledger has %d events", ErrNoMoment, index, head.Size)
	}
	return momentAt(ctx, q, index)
}

// AtTime is the state with every event that was recorded at this time or before.
func AtTime(ctx context.Context, q ledger.Querier, at time.Time) (Moment, error) {
	head, err := ledger.ReadHead(ctx, q)
	if err != nil {
		return Moment{}, err
	}
	// recorded_at never falls: halve the range.
	low, high := int64(0), head.Size // events below low are in, those from high on aren't
	for low < high {
		middle := low + (high-low)/2
		m, err := momentAt(ctx, q, middle+1)
		if err != nil {
			return Moment{}, err
		}
		if m.RecordedAt.After(at) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return momentAt(ctx, q, low)
}

// ErrNoMoment is returned for an index that the ledger doesn't have.
var ErrNoMoment = errors.New("no such place in the ledger")

func momentAt(ctx context.Context, q ledger.Querier, index int64) (Moment, error) {
	m := Moment{Index: index}
	if index == 0 {
		return m, nil
	}
	if err := q.QueryRow(ctx, `SELECT recorded_at FROM ledger.events WHERE index = $1`, index-1).Scan(&m.RecordedAt); err != nil {
		return Moment{}, fmt.Errorf("read time of event %d: %w", index-1, err)
	}
	m.RecordedAt = m.RecordedAt.UTC()
	return m, nil
}

// Replay folds projections from the ledger's beginning up to a moment, into
// temporary tables, and lets read ask them. What is read is what the live rows
// were when they had folded the same events. It says nothing of what the ledger
// learned later: a call that was recorded after the moment is missing even if it
// was admitted before, and one that was corrected later is as it was. progress,
// which may be nil, is told how far each projection came.
func Replay(ctx context.Context, b db.Beginner, at Moment, read func(context.Context, *Past) error, progress func(index, size int64), ps ...*Projection) error {
	return db.InTx(ctx, b, pastOptions, func(ctx context.Context, tx pgx.Tx) error {
		then, err := openPast(ctx, tx, ps...)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		for _, p := range ps {
			if _, err := then.fold(ctx, p, at.Index, nil, progress); err != nil {
				return fmt.Errorf("replay %s: %w", p.name, err)
			}
		}
		return read(ctx, then)
	})
}
