package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
)

// rowWriter writes a batch's rows one event after the other, in one round
// trip, for projections whose events are few.
type rowWriter struct {
	p     *Projection
	ids   [][16]byte
	batch pgx.Batch
}

// write queues a statement that changes no row but those with this id.
func (w *rowWriter) write(id [16]byte, sql string, args ...any) {
	w.ids = append(w.ids, id)
	w.batch.Queue(w.p.sql(sql), args...)
}

// run writes, and returns by how much the sum of the rows' hashes changed.
func (w *rowWriter) run(ctx context.Context, tx pgx.Tx) (decimal.Decimal, error) {
	if len(w.ids) == 0 {
		return decimal.Zero, nil
	}
	hashes := w.p.sumOfHashes("t.id = ANY($1)")
	before, err := scanChange(ctx, tx, hashes, w.ids)
	if err != nil {
		return decimal.Zero, fmt.Errorf("digest before: %w", err)
	}
	if err := tx.SendBatch(ctx, &w.batch).Close(); err != nil {
		return decimal.Zero, err
	}
	after, err := scanChange(ctx, tx, hashes, w.ids)
	if err != nil {
		return decimal.Zero, fmt.Errorf("digest after: %w", err)
	}
	return after.Sub(before), nil
}

// ControlChannel is where folds of control events say that there was one, for
// LISTEN. Notifications are lost where nobody listens: who needs them polls too.
const ControlChannel = "manti_control"

// notify tells listeners at commit, if the rows are the live ones.
func (p *Projection) notify(ctx context.Context, tx pgx.Tx) error {
	if p.place != live {
		return nil
	}
	if _, err := tx.Exec(ctx, `SELECT pg_notify($1, '')`, ControlChannel); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
