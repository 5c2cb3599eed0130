package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger/internal/row"
)

// A Loss is what an operator says who accepts one.
type Loss struct {
	// Author is operator:<login>.
	Author string
	// Origin is the name of the new origin, Previous the last signed checkpoint of
	// the old one, "" if there is none.
	Origin, Previous string
	// Cause says in words why.
	Cause string
}

// BeginAnew accepts that some entries are lost, after Refill: it appends an
// OriginStarted that says so. From then on the places that spools know behind it
// are void. The head must be frozen, and stays so. What still can be had of the
// lost range is for Resend.
func (r *Recovery) BeginAnew(ctx context.Context, loss Loss) (Place, error) {
	place := Place{Index: NoIndex}
	err := db.InTx(ctx, r.l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a, err := r.lockLater(ctx, tx)
		if err != nil {
			return err
		}
		missing := r.Missing
		if len(missing) > domain.MaxMissing { // the last range stands for the rest
			missing = append(slices.Clone(missing[:domain.MaxMissing-1]),
				domain.IndexRange{From: missing[domain.MaxMissing-1].From, To: missing[len(missing)-1].To})
		}
		var random [10]byte
		_, _ = rand.Read(random[:]) // never fails, see crypto/rand
		event := domain.Event{ID: domain.NewID[domain.EventID](a.at, random), At: a.at, Author: loss.Author,
			Body: &domain.OriginStarted{Origin: loss.Origin, Previous: loss.Previous, Size: a.size, Missing: missing, Cause: loss.Cause}}
		rows, err := a.encode([]domain.Event{event})
		if err != nil {
			return err
		}
		place = Place{a.size, a.at}
		return a.append(ctx, rows, false)
	})
	if err != nil {
		return place, wrap("start a new origin", err)
	}
	r.e.origins = append(r.e.origins, origin{place.Index, place.RecordedAt.UnixMicro()})
	r.lost = append(r.lost, r.e.claims[r.Refillable:]...)
	if r.lost, err = r.unknown(ctx, r.lost); err != nil {
		return place, wrap("start a new origin", err)
	}
	r.Unplaced = len(r.lost)
	return place, nil
}

// lockLater takes the frozen head for an append that is later than all that any
// spool knows of: what was lost is told from what comes by its time.
func (r *Recovery) lockLater(ctx context.Context, tx pgx.Tx) (*appender, error) {
	a, head, err := r.l.lockFrozen(ctx, tx)
	if err != nil {
		return nil, err
	}
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&a.at); err != nil {
		return nil, err
	}
	known := latest(r.e.claims, r.lost)
	for _, s := range r.e.seen {
		if s.At.After(known) {
			known = s.At
		}
	}
	for _, before := range []time.Time{head.RecordedAt, known} {
		if next := before.Add(time.Microsecond); !before.IsZero() && a.at.Before(next) {
			a.at = next
		}
	}
	a.at = a.at.UTC()
	return a, nil
}

// Resend appends the events that can't have their old indexes, at new ones, and
// those that the ledger had set aside, which it does again. What is there already
// stays as it is. The head must be frozen, and stays so.
func (r *Recovery) Resend(ctx context.Context) (Result, error) {
	var all Result
	for _, claims := range [][]claim{r.lost, r.e.aside} {
		for chunk := range slices.Chunk(claims, r.cfg.Batch) {
			res, err := r.resend(ctx, chunk)
			if err != nil {
				return all, wrap("append what has no place", err)
			}
			all.Appended += res.Appended
			all.Duplicates += res.Duplicates
			all.Rejected = append(all.Rejected, res.Rejected...)
		}
	}
	return all, nil
}

// resend appends one chunk. Postgres refuses none of what a ledger had, so that
// the batch isn't cut into halves.
func (r *Recovery) resend(ctx context.Context, chunk []claim) (Result, error) {
	var rows []row.Row
	var bad []rejection
	mem := new(row.Arena)
	for _, c := range chunk {
		if !c.held() {
			continue
		}
		enc, canonical, err := r.event(c)
		if errors.Is(err, domain.ErrEncoding) {
			record, readErr := r.e.archives[c.from].Record(c.pos)
			if readErr != nil {
				return Result{}, readErr
			}
			bad = append(bad, rejection{Rejection: Rejection{ID: c.id, Reason: "can't be read: " + err.Error()}, record: record.Payload,
				spool: domain.SpoolID(r.e.archives[c.from].ID()), epoch: record.Epoch})
			continue
		}
		if err != nil {
			return Result{}, err
		}
		made, err := row.Stored(enc, canonical, mem)
		if err != nil {
			bad = append(bad, rejectRow(made, "can't be read: "+err.Error(), ""))
			continue
		}
		if r.e.erased(c.index, c.at) {
			made = made.WithoutErasable()
		}
		rows = append(rows, made)
	}
	return r.appendFrozen(ctx, rows, bad)
}

// appendFrozen is an append under a frozen head.
func (r *Recovery) appendFrozen(ctx context.Context, rows []row.Row, bad []rejection) (res Result, err error) {
	err = db.InTx(ctx, r.l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a, err := r.lockLater(ctx, tx)
		if err != nil {
			return err
		}
		if err := a.append(ctx, rows, true); err != nil {
			return err
		}
		res = a.Result
		bad = append(bad, a.rejections...)
		for _, b := range bad {
			res.Rejected = append(res.Rejected, b.Rejection)
		}
		if len(bad) == 0 {
			return nil
		}
		return rejectIn(ctx, tx, bad)
	})
	return res, err
}
