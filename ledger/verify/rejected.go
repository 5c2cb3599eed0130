package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/domain"
)

// An answer is where the event stands that settled a rejected record.
type answer struct {
	index int64
	id    domain.EventID
}

// A rejected record, as its row says.
type rejectedRow struct {
	digest, record []byte
	id, spool, by  *[16]byte
	epoch          *int64
	reason         string
}

// checkRejected sees to it that every record that the ledger couldn't take is
// what its digest says, and was answered by an event.
func (r *run) checkRejected(ctx context.Context, tx pgx.Tx) error {
	var row rejectedRow
	there := make(map[string]bool)
	err := each(ctx, tx, "rejected records", []any{&row.digest, &row.record, &row.id, &row.spool, &row.epoch, &row.reason, &row.by}, func() error {
		there[hex.EncodeToString(row.digest)] = true
		r.rejected(&row)
		row = rejectedRow{}
		return nil
	}, `SELECT r.digest, COALESCE(r.record, ''), r.id, r.spool_id, r.spool_epoch, COALESCE(r.reason, ''), a.by FROM ledger.rejected r LEFT JOIN ledger.answers a ON a.digest = r.digest ORDER BY r.received_at, r.digest`)
	if err != nil {
		return err
	}
	for digest, a := range r.answers {
		if !there[digest] {
			r.found.add(Finding{Index: a.index, Table: "rejected", Column: "digest", Problem: "the record that the event answers is gone", Expected: digest})
		}
	}
	var digest []byte
	return each(ctx, tx, "answers", []any{&digest}, func() error {
		if !there[hex.EncodeToString(digest)] {
			r.found.add(Finding{Index: NoIndex, Table: "answers", Column: "digest", Problem: "there is no such rejected record", Found: hex.EncodeToString(digest)})
		}
		return nil
	}, `SELECT digest FROM ledger.answers`)
}

func (r *run) rejected(row *rejectedRow) {
	digest := hex.EncodeToString(row.digest)
	add := func(table, column, problem, expected, found string) {
		r.found.add(Finding{Index: NoIndex, Table: table, Column: column, Problem: problem, Expected: expected, Found: found})
	}
	if sum := sha256.Sum256(row.record); hex.EncodeToString(sum[:]) != digest {
		add("rejected", "record", "is not what its digest says", digest, hex.EncodeToString(sum[:]))
		return
	}
	r.rejectedColumns(row, digest)
	a, answered := r.answers[digest]
	switch {
	case !answered && row.by == nil:
		add("rejected", "digest", "a record that the ledger could not take has no answer: settle it ("+howToAnswer+")", "", digest+", "+domain.CleanText(row.reason, 300))
	case !answered:
		add("answers", "by", "there is no such event that answers the record", "", fmt.Sprintf("%s for %s", idText(row.by), digest))
	case row.by == nil || *row.by != a.id:
		add("answers", "by", "is not the event that answers the record", a.id.String(), idText(row.by))
	}
}

// howToAnswer is what to do about a rejected record.
const howToAnswer = "read its reason, mend what it was about, and say so with `manti correct --answer DIGEST --reason TEXT --apply`"

// rejectedColumns holds id and spool against the record, as far as it can be read.
func (r *run) rejectedColumns(row *rejectedRow, digest string) {
	var id, spool [16]byte
	var epoch int64
	if enc, err := domain.ParseRecord(row.record); err == nil {
		id = enc.ID
		if event, err := domain.Decode(enc); err == nil {
			if call, ok := domain.CallOf(event.Body); ok {
				spool, epoch = call.Private.Spool, int64(call.Private.Epoch)
			}
		} else if row.spool != nil { // what can't be decoded may still have been read in part
			spool, epoch = *row.spool, valueOf(row.epoch)
		}
	} else if row.id != nil {
		id = *row.id
	}
	for column, differs := range map[string]bool{"id": valueOf(row.id) != id, "spool_id": valueOf(row.spool) != spool, "spool_epoch": valueOf(row.epoch) != epoch} {
		if differs {
			r.found.add(Finding{Index: NoIndex, Table: "rejected", Column: column, Problem: "is not what the record says", Found: digest})
		}
	}
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
