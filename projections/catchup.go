package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/ledger"
)

// PoisonError says that a projection can't get past one event, and that parking
// it would not help: the error isn't about the event itself, or too many are
// parked already. All before it are folded; other projections aren't concerned.
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
// that can't be folded, or takes too long, is cut into smaller ones until the
// event that doesn't fold is found. That one is parked (see Parked), and those
// behind it are folded; a *PoisonError if parking can't help. Any other error
// may be gone at the next try.
func CatchUp(ctx context.Context, b db.Beginner, p *Projection) (ledger.Progress, error) {
	return catchUp(ctx, b, p, ledger.BatchEntries)
}

func catchUp(ctx context.Context, b db.Beginner, p *Projection, batch int) (ledger.Progress, error) {
	return catcher{b: b, p: p, batch: batch}.run(ctx)
}

// catcher catches up.
type catcher struct {
	b     db.Beginner
	p     *Projection
	batch int // events that are folded at once, at most
	// progress is told after each batch; nil is nobody.
	progress func(index, size int64)
}

func (c catcher) run(ctx context.Context) (ledger.Progress, error) {
	var at ledger.Progress
	for limit := c.batch; ; {
		next, err := advance(ctx, c.b, c.p, limit)
		foldErr, ofFold := errors.AsType[*ledger.FoldError](err)
		switch {
		case err == nil:
			at = next
			if c.progress != nil {
				c.progress(at.Index, at.Size)
			}
			if at.CaughtUp() {
				return at, nil
			}
		case !ofFold || !mayShrink(ctx, err):
			return at, fmt.Errorf("catch up: %w", err)
		case limit > 1:
			limit /= 2
		case db.IsOutage(err):
			return at, fmt.Errorf("catch up: %w", err) // one event, and too slow
		case !isPoison(err):
			return at, &PoisonError{Projection: c.p.Name(), Index: foldErr.To - 1, Err: foldErr.Err}
		default:
			if err := park(ctx, c.b, c.p, foldErr); err != nil {
				return at, err
			}
			limit = c.batch
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
		if p.place == shadow {
			if _, err := tx.Exec(ctx, longWork); err != nil {
				return err
			}
		}
		var err error
		at, err = ledger.Advance(ctx, tx, p, limit)
		return err
	})
	return at, err
}
