package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
)

// CopyAlone writes the rows of the events into table bare, of which only the
// first three columns are others, and does nothing else: what Append is
// measured against.
func (l *Ledger) CopyAlone(ctx context.Context, events []domain.Encoded, from int64) error {
	rounds, _ := l.newRows(events, new(arena))
	return db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a := &appender{l: l, tx: tx, size: from, at: time.UnixMicro(1)}
		return copyIn(ctx, tx, `COPY bare (index, recorded_at, leaf, `+eventColumns+`) FROM STDIN (FORMAT binary)`, a.eventRows(rounds[0]))
	})
}

// Ready makes the events' rows, the part of an append before the lock.
func (l *Ledger) Ready(events []domain.Encoded) int {
	mem, _ := l.arenas.Get().(*arena)
	if mem == nil {
		mem = new(arena)
	}
	defer l.arenas.Put(mem)
	rounds, _ := l.newRows(events, mem)
	return len(rounds[0])
}
