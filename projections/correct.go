package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// An Amendment is what a correction does to calls, and on whose word.
type Amendment struct {
	Basis  domain.Basis
	Author string
	// Reason is for the auditor: it can't be erased, see domain.UsageCorrected.
	Reason string
	Change Change
}

// A Change turns the call of an event, a copy, into what it should be. It
// depends on nothing but the event. errLeave leaves the call as it is; another
// error refuses, and says why in words for an operator.
type Change func(e ledger.Entry, call *domain.RequestCompleted) error

// errLeave is returned for a call that isn't a change's business.
var errLeave = errors.New("left as it is")

// IsUnsettled reports whether an event is a call whose end nobody knows and that
// no correction has settled yet.
func IsUnsettled(e domain.Event) bool {
	call, ok := e.Body.(*domain.RequestCompleted)
	return ok && call.Outcome == domain.Unknown
}

// correct is the event that makes of a call what it should be; false if it is
// so already. The same correction of the same event has the same id, whoever
// makes it.
func (a *Amendment) correct(e ledger.Entry) (event domain.Event, changed bool, err error) {
	old, ok := domain.CallOf(e.Event.Body)
	if !ok {
		return domain.Event{}, false, fmt.Errorf("it is a %s, not a call", e.Event.Body.Kind())
	}
	next := &domain.UsageCorrected{Call: *old, Basis: a.Basis, Reason: a.Reason}
	call := &next.Call
	call.Private.Flags = slices.Clone(old.Private.Flags)
	call.Request, call.Supersedes = old.RequestID(e.Event.ID), e.Event.ID
	if err := a.Change(e, call); err != nil {
		if errors.Is(err, errLeave) {
			err = nil
		}
		return domain.Event{}, false, err
	}
	call.Held = decimal.Zero // it is known now
	if !IsUnsettled(e.Event) && sameFigures(old, call) {
		return domain.Event{}, false, nil
	}
	id, err := correctionID(e.Event.ID, next)
	if err != nil {
		return domain.Event{}, false, err
	}
	return domain.Event{ID: id, At: e.Event.At, Author: a.Author, Body: next}, true, nil
}

// sameFigures reports whether both say the same of what was used and is owed.
func sameFigures(a, b *domain.RequestCompleted) bool {
	return a.Usage == b.Usage && a.Held.Equal(b.Held) &&
		a.Charge.Amount.Equal(b.Charge.Amount) && a.Charge.Currency == b.Charge.Currency &&
		a.Private.Cost.Amount.Equal(b.Private.Cost.Amount) && a.Private.Cost.Currency == b.Private.Cost.Currency
}

// correctionID follows from the event that is corrected and what is said of it.
func correctionID(old domain.EventID, c *domain.UsageCorrected) (domain.EventID, error) {
	figures, err := json.Marshal(struct {
		Usage        domain.Metered
		Charge, Cost domain.Price
	}{c.Call.Usage, c.Call.Charge, c.Call.Private.Cost})
	if err != nil {
		return domain.EventID{}, fmt.Errorf("derive the correction's id: %w", err)
	}
	return domain.DerivedID[domain.EventID](old.Time(), string(domain.KindUsageCorrected), old.String(), string(c.Basis), string(figures)), nil
}

// DecideCorrect decides corrections of the calls that the events at these
// indexes are about. It reads no projection: whether an event still stands is
// for ledger.supersedes to say, under the head. What was superseded meanwhile,
// what has its figures already and what the amendment refuses needs no event.
// The table counts what is decided.
func DecideCorrect(ctx context.Context, tx pgx.Tx, a *Amendment, indexes []int64) ([]domain.Event, *CorrectionTable, error) {
	entries, err := ledger.ReadIndexes(ctx, tx, indexes)
	if err != nil {
		return nil, nil, err
	}
	gone, err := superseded(ctx, tx, entries)
	if err != nil {
		return nil, nil, err
	}
	var events []domain.Event
	table := new(CorrectionTable)
	for _, e := range entries {
		if gone[e.Event.ID] {
			continue
		}
		event, changed, err := a.correct(e)
		if err != nil {
			table.refuse(e, err)
			continue
		}
		if changed {
			events = append(events, event)
			table.add(e.Event.Body, event.Body)
		}
	}
	return events, table, nil
}

// superseded are those of the events that don't stand any more.
func superseded(ctx context.Context, q ledger.Querier, entries []ledger.Entry) (map[domain.EventID]bool, error) {
	ids := make([][16]byte, len(entries))
	for i := range entries {
		ids[i] = entries[i].Event.ID
	}
	rows, err := q.Query(ctx, `SELECT id FROM ledger.supersedes WHERE id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("look for what is superseded: %w", err)
	}
	gone := map[domain.EventID]bool{}
	var id [16]byte
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		gone[id] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for what is superseded: %w", err)
	}
	return gone, nil
}
