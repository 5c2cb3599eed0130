package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger/internal/row"
)

// A Rejection is a record that can't be in the ledger for what it is.
type Rejection struct {
	// ID is the event's, zero if not even that can be read.
	ID domain.EventID
	// Reason is for people. SQLState is Postgres's, "" if it didn't decide.
	Reason   string
	SQLState string
}

// rejection has what ledger.rejected keeps.
type rejection struct {
	Rejection
	record []byte
	spool  domain.SpoolID
	epoch  uint64
}

func rejectRow(r row.Row, reason, state string) rejection {
	return rejection{Rejection{r.Encoded.ID, reason, state}, r.Encoded.AppendRecord(nil), r.Spool, r.Epoch}
}

// reject keeps the records. One that is there already stays as it is.
func (l *Ledger) reject(ctx context.Context, rejections []rejection) error {
	if len(rejections) == 0 {
		return nil
	}
	err := db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		return rejectIn(ctx, tx, rejections)
	})
	if err != nil {
		return fmt.Errorf("keep rejected records: %w", err)
	}
	return nil
}

func rejectIn(ctx context.Context, tx pgx.Tx, rejections []rejection) error {
	const insert = `INSERT INTO ledger.rejected (digest, id, spool_id, spool_epoch, reason, sqlstate, record)
		VALUES ($1, $2, $3, $4, $5, NULLIF($6, ''), $7) ON CONFLICT (digest) DO NOTHING`
	batch := new(pgx.Batch)
	for _, r := range rejections {
		digest := sha256.Sum256(r.record)
		batch.Queue(insert, digest[:], uuid(r.ID), uuid(r.spool), int64(r.epoch), domain.CleanText(r.Reason, maxReason), r.SQLState, r.record)
	}
	return tx.SendBatch(ctx, batch).Close()
}

// maxReason is how much of a reason is kept, in bytes.
const maxReason = 2048
