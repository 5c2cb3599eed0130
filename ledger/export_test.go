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
	rounds, _ := newRows(events, new(row.Arena))
	return db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a := &appender{l: l, tx: tx}
		return a.copyIn(ctx, `COPY bare (`+row.EventColumns+`) FROM STDIN (FORMAT binary)`, row.Events(rounds[0], from, time.UnixMicro(1)))
	})
}

// Ready makes the events' rows, the part of an append before the lock.
func (l *Ledger) Ready(events []domain.Encoded) int {
	mem, _ := l.arenas.Get().(*row.Arena)
	if mem == nil {
		mem = new(row.Arena)
	}
	defer l.arenas.Put(mem)
	rounds, _ := newRows(events, mem)
	return len(rounds[0])
}
