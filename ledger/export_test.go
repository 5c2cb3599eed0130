package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger/internal/row"
)

// CopyAlone writes the rows of the events into table bare, of which only the
// first three columns are others, and does nothing else: what Append is
// measured against.
func (l *Ledger) CopyAlone(ctx context.Context, events []domain.Encoded, from int64) error {
	p := l.prepare(events)
	defer l.release(p)
	return db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a := &appender{l: l, tx: tx}
		return a.copyIn(ctx, `COPY bare (`+row.EventColumns+`) FROM STDIN (FORMAT binary)`, row.Events(p.rounds[0], from, time.UnixMicro(1)))
	})
}

// Ready makes the events' rows, the part of an append before the lock.
func (l *Ledger) Ready(events []domain.Encoded) int {
	p := l.prepare(events)
	defer l.release(p)
	return len(p.rounds[0])
}
