package projections

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// A CorrectionTable is who owes how much more or less. The zero value is empty.
type CorrectionTable struct {
	rows map[correctionKey]*Correction
	// Costs is what providers take more or less, by currency.
	Costs map[domain.Currency]*Correction
	// Calls is how many are corrected, Refused how many can't be.
	Calls, Refused int
	// Refusals are the first of those, at most maxRefusals.
	Refusals []CorrectionRefusal
}

// maxRefusals is how many calls are named.
const maxRefusals = 20

type correctionKey struct {
	org      domain.OrgID
	project  domain.ProjectID
	key      domain.KeyID
	model    string
	currency domain.Currency
}

// Correction is what corrections change for the calls of one key to one model.
type Correction struct {
	Org      domain.OrgID
	Project  domain.ProjectID
	Key      domain.KeyID
	Model    string
	Currency domain.Currency
	Calls    int
	Old, New decimal.Decimal
}

// Difference is by how much more than before is owed.
func (c *Correction) Difference() decimal.Decimal { return c.New.Sub(c.Old) }

// CorrectionRefusal is a call that can't be corrected in this way.
type CorrectionRefusal struct {
	Index int64
	Call  domain.EventID
	Err   error
}

func (t *CorrectionTable) refuse(e ledger.Entry, err error) {
	t.Refused++
	if len(t.Refusals) == maxRefusals {
		return
	}
	r := CorrectionRefusal{Index: e.Index, Call: e.Event.ID, Err: err}
	if call, ok := domain.CallOf(e.Event.Body); ok {
		r.Call = call.RequestID(e.Event.ID)
	}
	t.Refusals = append(t.Refusals, r)
}

// add counts a correction. What is owed in another currency than before counts
// in both.
func (t *CorrectionTable) add(before, after domain.Body) {
	old, _ := domain.CallOf(before)
	now, _ := domain.CallOf(after)
	t.Calls++
	row := t.row(now, now.Charge.Currency)
	row.Calls++
	row.New = row.New.Add(now.Charge.Amount)
	row = t.row(now, old.Charge.Currency)
	row.Old = row.Old.Add(old.Charge.Amount)
	cost := t.cost(now.Private.Cost.Currency)
	cost.New = cost.New.Add(now.Private.Cost.Amount)
	cost = t.cost(old.Private.Cost.Currency)
	cost.Old = cost.Old.Add(old.Private.Cost.Amount)
}

func (t *CorrectionTable) row(call *domain.RequestCompleted, currency domain.Currency) *Correction {
	k := correctionKey{call.Org, call.Project, call.Key, call.Model, currency}
	if t.rows == nil {
		t.rows = map[correctionKey]*Correction{}
	}
	row := t.rows[k]
	if row == nil {
		row = &Correction{Org: k.org, Project: k.project, Key: k.key, Model: k.model, Currency: k.currency}
		t.rows[k] = row
	}
	return row
}

func (t *CorrectionTable) cost(currency domain.Currency) *Correction {
	if t.Costs == nil {
		t.Costs = map[domain.Currency]*Correction{}
	}
	if t.Costs[currency] == nil {
		t.Costs[currency] = &Correction{Currency: currency}
	}
	return t.Costs[currency]
}

func (t *CorrectionTable) merge(more *CorrectionTable) {
	t.Calls += more.Calls
	t.Refused += more.Refused
	t.Refusals = append(t.Refusals, more.Refusals[:min(len(more.Refusals), maxRefusals-len(t.Refusals))]...)
	for k, r := range more.rows {
		call := &domain.RequestCompleted{RequestPublic: domain.RequestPublic{Org: k.org, Project: k.project, Key: k.key, Model: k.model}}
		t.row(call, k.currency).sum(r)
	}
	for currency, c := range more.Costs {
		t.cost(currency).sum(c)
	}
}

func (c *Correction) sum(more *Correction) {
	c.Calls += more.Calls
	c.Old, c.New = c.Old.Add(more.Old), c.New.Add(more.New)
}

// Rows are the table's, by organisation, project, key, model and currency.
func (t *CorrectionTable) Rows() []*Correction {
	rows := make([]*Correction, 0, len(t.rows))
	for _, r := range t.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *Correction) int {
		return cmp.Or(bytes.Compare(a.Org[:], b.Org[:]), bytes.Compare(a.Project[:], b.Project[:]), bytes.Compare(a.Key[:], b.Key[:]),
			cmp.Compare(a.Model, b.Model), cmp.Compare(a.Currency, b.Currency))
	})
	return rows
}

// Totals are the sums over all rows, by currency.
func (t *CorrectionTable) Totals() map[domain.Currency]*Correction {
	totals := map[domain.Currency]*Correction{}
	for k, r := range t.rows {
		if totals[k.currency] == nil {
			totals[k.currency] = &Correction{Currency: k.currency}
		}
		totals[k.currency].sum(r)
	}
	return totals
}
