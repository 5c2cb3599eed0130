package projections

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
)

// RequestFilter says which calls are listed. Zero fields don't filter.
type RequestFilter struct {
	ID  domain.EventID // of the call: of its first event
	Org domain.OrgID
	Key domain.KeyID
	// From and To bound when calls were admitted: From ≤ At < To.
	From, To time.Time
}

// RequestRow is a call as it stands after all corrections.
type RequestRow struct {
	ID domain.EventID
	// Event is the event that says so, at Index: the last of the call's.
	Event   domain.EventID
	Index   int64
	At      time.Time // when it was admitted
	Org     domain.OrgID
	Project domain.ProjectID
	Key     domain.KeyID // zero if none
	// Model is the one that served; "" if none did, as is Provider.
	Model, Provider string
	Outcome         domain.Outcome
	Cost, Charge    domain.Price
	Held            decimal.Decimal // in the charge's currency
	Usage           domain.Usage
}

// ReadRequests streams calls by the time of their admission. The sequence ends
// after its first error.
func ReadRequests(ctx context.Context, q Querier, f RequestFilter) iter.Seq2[RequestRow, error] {
	query := `SELECT id, event_id, index, at, org_id, project_id, COALESCE(key_id, '` + noID + `'), COALESCE(model, ''), COALESCE(provider, ''),
			outcome, cost, cost_currency, charge, charge_currency, COALESCE(held, 0), ` + each(meters(), "COALESCE(%, 0)", ", ") + `
		FROM projections.requests
		WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR org_id = $2) AND ($3::uuid IS NULL OR key_id = $3)
			AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5) ORDER BY at, id`
	return func(yield func(RequestRow, error) bool) {
		rows, err := q.Query(ctx, query, idOrNull(f.ID), idOrNull(f.Org), idOrNull(f.Key), timeOrNull(f.From), timeOrNull(f.To))
		if err != nil {
			yield(RequestRow{}, fmt.Errorf("read calls: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row, err := scanRequest(rows)
			if err != nil {
				yield(RequestRow{}, fmt.Errorf("read calls: %w", err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(RequestRow{}, fmt.Errorf("read calls: %w", err))
		}
	}
}

func scanRequest(rows pgx.Rows) (RequestRow, error) {
	var r RequestRow
	to := []any{&r.ID, &r.Event, &r.Index, &r.At, &r.Org, &r.Project, &r.Key, &r.Model, &r.Provider, &r.Outcome,
		&r.Cost.Amount, &r.Cost.Currency, &r.Charge.Amount, &r.Charge.Currency, &r.Held}
	for m := range r.Usage {
		to = append(to, &r.Usage[m])
	}
	err := rows.Scan(to...)
	r.At = r.At.UTC()
	return r, err
}

// OrgRow is an organisation, or a project of one.
type OrgRow struct {
	Org     domain.OrgID
	Project domain.ProjectID // zero for the organisation itself
	Name    string           // "" if it has none, or was erased
	Created time.Time
}

// ListOrgs lists organisations and projects in the order in which they were made.
func ListOrgs(ctx context.Context, q Querier) ([]OrgRow, error) {
	const query = `SELECT o.org_id, o.project_id, COALESCE(e.name, ''), o.created_at FROM (
			SELECT id AS org_id, '` + noID + `'::uuid AS project_id, created_at, index FROM projections.orgs
			UNION ALL SELECT org_id, id, created_at, index FROM projections.projects
		) o LEFT JOIN ledger.erasable e ON e.index = o.index ORDER BY o.index`
	rows, err := q.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list organisations: %w", err)
	}
	orgs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[OrgRow])
	if err != nil {
		return nil, fmt.Errorf("list organisations: %w", err)
	}
	for i := range orgs {
		orgs[i].Created = orgs[i].Created.UTC()
	}
	return orgs, nil
}
