package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/ledger"
)

// PoisonError says that a projection can't get past one event. All before it
// are folded; other projections aren't concerned. A newer program, or a repair
// of the fold, gets past it: the event itself never changes.
type PoisonError struct {
	Projection string
	Index      int64 // the event's
	Err        error
}

// Error says which event stops which projection, and why.
func (e *PoisonError) Error() string {
	return fmt.Sprintf("projection %s stops at event %d: %v", e.Projection, e.Index, e.Err)
}

// Unwrap is the fold's error.
func (e *PoisonError) Unwrap() error { return e.Err }

// CatchUp folds until nothing is left, each batch in a transaction of its own,
// and says how far it came. It may run in several processes at once. A batch
// that can't be folded, or takes too long, is halved until the event that
// doesn't fold is found: then the error is a *PoisonError. Any other error may
// be gone at the next try.
func CatchUp(ctx context.Context, b db.Beginner, p *Projection) (ledger.Progress, error) {
	return catchUp(ctx, b, p, ledger.BatchEntries)
}

func catchUp(ctx context.Context, b db.Beginner, p *Projection, limit int) (ledger.Progress, error) {
	var at ledger.Progress
	for {
		next, err := advance(ctx, b, p, limit)
		switch {
		case err == nil && next.CaughtUp():
			return next, nil
		case err == nil:
			at = next
		case !mayShrink(ctx, err):
			return at, fmt.Errorf("catch up: %w", err)
		case limit > 1:
			limit /= 2
		case db.IsOutage(err):
			return at, fmt.Errorf("catch up: %w", err) // one event, and too slow
		default:
			return at, poison(ctx, b, p, err)
		}
	}
}

// mayShrink reports whether a smaller batch may do what this one couldn't.
func mayShrink(ctx context.Context, err error) bool {
	const stateCanceled = "57014" // statement_timeout
	if ctx.Err() != nil || errors.Is(err, ledger.ErrRebuild) {
		return false
	}
	return !db.IsOutage(err) || db.SQLState(err) == stateCanceled
}

func advance(ctx context.Context, b db.Beginner, p *Projection, limit int) (ledger.Progress, error) {
	var at ledger.Progress
	err := db.InTx(ctx, b, db.TxOptions{Retries: 3}, func(ctx context.Context, tx pgx.Tx) error {
		var err error
		at, err = ledger.Advance(ctx, tx, p, limit)
		return err
	})
	return at, err
}

// poison names the event at which the projection stands.
func poison(ctx context.Context, b db.Beginner, p *Projection, cause error) error {
	e := &PoisonError{Projection: p.Name(), Err: cause}
	const query = `SELECT COALESCE(min(e.index), 0) FROM ledger.events e
		WHERE e.index >= COALESCE((SELECT c.index FROM projections.checkpoints c WHERE c.name = $1), 0)`
	const controlOnly = ` AND e.control`
	err := db.InTx(ctx, b, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if p.control {
			return tx.QueryRow(ctx, query+controlOnly, p.Name()).Scan(&e.Index)
		}
		return tx.QueryRow(ctx, query, p.Name()).Scan(&e.Index)
	})
	if err != nil {
		return fmt.Errorf("find what stops %s (%w): %w", p.Name(), cause, err)
	}
	return e
}
