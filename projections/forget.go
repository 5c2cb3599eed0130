package projections

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger"
)

// A Person is who is to be forgotten: a user by id, or whoever callers named by
// this string. One of both is set.
type Person struct {
	User    domain.UserID
	EndUser string
}

// Indexes are those of the events whose erasable part is about the person, in
// batches: of a user, all that the user's keys called, and the names of those
// keys; of an end user, the calls made for it. Corrections carry what they
// correct, and are among them.
func (p Person) Indexes(ctx context.Context, q ledger.Querier) iter.Seq2[[]int64, error] {
	const query = `SELECT x.index FROM ledger.erasable x JOIN ledger.events e ON e.index = x.index
		WHERE x.index >= $1 AND x.index < $2 AND e.index >= $1 AND e.index < $2 AND (e.user_id = $3 OR x.end_user = $4) ORDER BY x.index`
	return windows(ctx, q, func(from, to int64) ([]int64, error) {
		var endUser *string
		if p.EndUser != "" {
			endUser = &p.EndUser
		}
		rows, err := q.Query(ctx, query, from, to, idOrNull(p.User), endUser)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[int64])
	})
}

// Forgotten is what was, or would be, erased.
type Forgotten struct {
	Parts int
	// Through is the size of the ledger: events below it were looked at.
	Through int64
	// Rejected is how many records in ledger.rejected are about the person.
	// They can't be erased.
	Rejected int
}

// DryForget counts what Forget would erase.
func DryForget(ctx context.Context, q ledger.Querier, p Person) (Forgotten, error) {
	head, err := ledger.ReadHead(ctx, q)
	if err != nil {
		return Forgotten{}, err
	}
	f := Forgotten{Through: head.Size}
	for batch, err := range p.Indexes(ctx, q) {
		if err != nil {
			return Forgotten{}, fmt.Errorf("forget: %w", err)
		}
		f.Parts += len(batch)
	}
	f.Rejected, err = p.rejected(ctx, q)
	return f, err
}

// Forget erases all that the ledger's events say of the person, batch by batch,
// each in one transaction with the event that says so. It may be interrupted and
// called again. What is erased is no part of any figure, and every proof holds:
// the tree is made of the hash of what was there.
func Forget(ctx context.Context, l *ledger.Ledger, q ledger.Querier, p Person, author string) (Forgotten, error) {
	f, err := DryForget(ctx, q, p)
	if err != nil {
		return f, err
	}
	f.Parts = 0
	for batch, err := range p.Indexes(ctx, q) {
		if err != nil {
			return f, fmt.Errorf("forget: %w", err)
		}
		erased := 0
		_, err = l.Command(ctx, nil, func(ctx context.Context, tx pgx.Tx, now time.Time) (events []domain.Event, err error) {
			events, erased, err = DecideForget(ctx, tx, ForgetParts{User: p.User, Indexes: batch, At: now, Author: author})
			return events, err
		})
		if err != nil {
			return f, fmt.Errorf("forget: %w", err)
		}
		f.Parts += erased
	}
	return f, nil
}

// ForgetParts asks to erase the parts of events that are about a person.
type ForgetParts struct {
	User    domain.UserID // zero if the person has no id of ours
	Indexes []int64
	At      time.Time
	Author  string
}

// DecideForget erases the parts and decides the event that says so. Parts that
// are gone already are left out; if all are, there is no event.
func DecideForget(ctx context.Context, tx pgx.Tx, f ForgetParts) ([]domain.Event, int, error) {
	head, err := ledger.ReadHead(ctx, tx)
	if err != nil {
		return nil, 0, err
	}
	rows, err := tx.Query(ctx, `DELETE FROM ledger.erasable WHERE index = ANY($1) RETURNING index`, f.Indexes)
	if err != nil {
		return nil, 0, fmt.Errorf("erase: %w", err)
	}
	erased, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, 0, fmt.Errorf("erase: %w", err)
	}
	if len(erased) == 0 {
		return nil, 0, nil
	}
	slices.Sort(erased)
	body := &domain.PersonForgotten{User: f.User, Indexes: erased, Through: head.Size}
	// A part is erased once, so its index names the event.
	id := domain.DerivedID[domain.EventID](f.At, string(body.Kind()), fmt.Sprint(erased[0]))
	return []domain.Event{{ID: id, At: f.At, Author: f.Author, Body: body}}, len(erased), nil
}

// rejected counts the records about the person that the ledger couldn't take.
func (p Person) rejected(ctx context.Context, q ledger.Querier) (n int, err error) {
	rows, err := q.Query(ctx, `SELECT record FROM ledger.rejected`)
	if err != nil {
		return 0, fmt.Errorf("look through the rejected records: %w", err)
	}
	var record []byte
	_, err = pgx.ForEachRow(rows, []any{&record}, func() error {
		if p.isIn(record) {
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look through the rejected records: %w", err)
	}
	return n, nil
}

func (p Person) isIn(record []byte) bool {
	enc, err := domain.ParseRecord(record)
	if err != nil || enc.Erasable == nil {
		return false
	}
	e, err := domain.Decode(enc)
	if err != nil {
		return false
	}
	switch b := e.Body.(type) {
	case *domain.KeyIssued:
		return b.User == p.User && !p.User.IsZero()
	default:
		call, ok := domain.CallOf(b)
		return ok && (call.User == p.User && !p.User.IsZero() || call.Erasable.EndUser == p.EndUser && p.EndUser != "")
	}
}
