package projections

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger"
)

// AnswerRejection asks to settle a record that the ledger couldn't take.
type AnswerRejection struct {
	// Digest is the record's in ledger.rejected, SHA-256.
	Digest [32]byte
	At     time.Time
	Author string
	// Cause says what it was and what was done about it.
	Cause string
}

// DecideAnswer decides the answer, and enters it in ledger.answers. A digest
// that isn't there is refused with CodeNotFound; a record that has been answered
// needs no event.
func DecideAnswer(ctx context.Context, tx pgx.Tx, a AnswerRejection) ([]domain.Event, error) {
	const query = `SELECT r.received_at, EXISTS (SELECT FROM ledger.answers a WHERE a.digest = r.digest) FROM ledger.rejected r WHERE r.digest = $1`
	const answer = `INSERT INTO ledger.answers (digest, by) VALUES ($1, $2)`
	if a.Cause == "" {
		return nil, domain.Invalid("reason", "An answer says what the record was and what was done about it.")
	}
	var received time.Time
	answered := false
	err := tx.QueryRow(ctx, query, a.Digest[:]).Scan(&received, &answered)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, &domain.Error{Code: domain.CodeNotFound, Field: "digest", Message: "There is no rejected record with this digest."}
	case err != nil:
		return nil, fmt.Errorf("look for the rejected record: %w", err)
	case answered:
		return nil, nil
	}
	digest := hex.EncodeToString(a.Digest[:])
	id := domain.DerivedID[domain.EventID](received, string(domain.KindRejectionAnswered), digest)
	if _, err := tx.Exec(ctx, answer, a.Digest[:], id); err != nil {
		return nil, fmt.Errorf("answer the rejected record: %w", err)
	}
	return []domain.Event{{ID: id, At: a.At, Author: a.Author, Body: &domain.RejectionAnswered{Digest: digest, Cause: a.Cause}}}, nil
}

// Rejected is a record that the ledger couldn't take.
type Rejected struct {
	Digest   [32]byte
	Received time.Time
	ID       domain.EventID // zero if it can't be read
	Reason   string
	Answered bool
}

// FindRejected finds the rejected record whose digest begins with these bytes in
// hex. None, or several, are refused with domain.CodeNotFound or CodeConflict.
func FindRejected(ctx context.Context, q ledger.Querier, prefix string) (Rejected, error) {
	const query = `SELECT r.digest, r.received_at, COALESCE(r.id, '` + noID + `'), r.reason, EXISTS (SELECT FROM ledger.answers a WHERE a.digest = r.digest)
		FROM ledger.rejected r WHERE encode(r.digest, 'hex') LIKE $1 || '%' LIMIT 2`
	rows, err := q.Query(ctx, query, prefix)
	if err != nil {
		return Rejected{}, fmt.Errorf("look for the rejected record: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Rejected, error) {
		var r Rejected
		var digest []byte
		err := row.Scan(&digest, &r.Received, (*[16]byte)(&r.ID), &r.Reason, &r.Answered)
		copy(r.Digest[:], digest)
		r.Received = r.Received.UTC()
		return r, err
	})
	switch {
	case err != nil:
		return Rejected{}, fmt.Errorf("look for the rejected record: %w", err)
	case len(found) == 0:
		return Rejected{}, &domain.Error{Code: domain.CodeNotFound, Field: "digest", Message: "There is no rejected record with this digest."}
	case len(found) > 1:
		return Rejected{}, &domain.Error{Code: domain.CodeConflict, Field: "digest", Message: "Several rejected records begin so: give more digits."}
	}
	return found[0], nil
}
