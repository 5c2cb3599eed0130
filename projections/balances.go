package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// Balances are the sums of cost, charge and held per organisation and currency.
func Balances() *Projection {
	return &Projection{name: "balances", version: callVersion, tables: []table{{"balances", "org_id, currency"}}, fold: foldBalances}
}

func foldBalances(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error) {
	return p.foldDelta(ctx, tx, b, balancesDelta, balancesMerge)
}

const (
	balancesDelta = `
SELECT org_id, currency, sum(calls)::bigint AS calls, sum(cost) AS cost, sum(charge) AS charge, sum(held) AS held
FROM (
	SELECT part.org_id, side.currency, side.calls, side.cost, side.charge, side.held
	FROM (
		SELECT ` + callOrg + ` AS org_id, x.cost_currency, x.charge_currency,
			count(*) AS calls, sum(x.cost) AS cost, sum(x.charge) AS charge, COALESCE(sum(x.held), 0) AS held
		FROM ` + calls + ` x GROUP BY 1, 2, 3
		UNION ALL
		SELECT ` + callOrg + `, x.cost_currency, x.charge_currency,
			-count(*), -sum(x.cost), -sum(x.charge), -COALESCE(sum(x.held), 0)
		FROM ` + replaced + ` x GROUP BY 1, 2, 3
	) part, LATERAL (VALUES (cost_currency, 0, cost, 0, 0), (charge_currency, calls, 0, charge, held))
		side (currency, calls, cost, charge, held)
) sides GROUP BY 1, 2`

	balancesMerge = `
WITH delta AS MATERIALIZED ({delta}), old AS (
	SELECT ` + rowHash + ` AS hash FROM {balances} t JOIN delta USING (org_id, currency)
), new AS (
	INSERT INTO {balances} AS t (org_id, currency, calls, cost, charge, held)
	SELECT org_id, currency, calls, cost, charge, held FROM delta
	ON CONFLICT (org_id, currency) DO UPDATE SET
		calls = t.calls + excluded.calls, cost = t.cost + excluded.cost,
		charge = t.charge + excluded.charge, held = t.held + excluded.held
	RETURNING ` + rowHash + ` AS hash
)
` + changeOfHashes
)

// Balance is what an organisation's calls sum up to in one currency.
type Balance struct {
	Org      domain.OrgID
	Currency domain.Currency
	// Calls are those that are charged in this currency.
	Calls int64
	// Cost is what providers take, Charge what the organisation pays. Held is
	// what calls of unknown outcome could have cost; it isn't part of Charge.
	Cost, Charge, Held decimal.Decimal
	// Incomplete is how many events of the organisation couldn't be folded and
	// are missing in the sums.
	Incomplete int64
}

// ReadBalances lists the balances of an organisation, or of all if org is
// zero, by organisation and currency.
func ReadBalances(ctx context.Context, q Querier, org domain.OrgID) ([]Balance, error) {
	const query = `SELECT org_id, currency, calls, cost, charge, held, 0 FROM projections.balances
		WHERE $1::uuid IS NULL OR org_id = $1 ORDER BY org_id, currency`
	rows, err := q.Query(ctx, query, idOrNull(org))
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	balances, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Balance])
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	parked, err := ReadParked(ctx, q, Balances().Name())
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	for i := range balances {
		balances[i].Incomplete = countTouching(parked, balances[i].Org)
	}
	return balances, nil
}
