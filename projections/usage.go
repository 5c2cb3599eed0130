package projections

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/ledger"
)

// Usage is what was used and paid by the hour, key, model and provider.
func Usage() *Projection {
	return &Projection{name: "usage", version: callVersion, tables: []table{{"usage", usageKey}}, fold: foldUsage}
}

// usageKey are the columns of the primary key.
const usageKey = `org_id, hour, project_id, key_id, model, provider, cost_currency, charge_currency`

// usageSums are the columns that are sums.
func usageSums() []string {
	return append(meters(), "calls", "failed", "unknown", "cost", "charge", "held")
}

func foldUsage(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error) {
	return p.foldDelta(ctx, tx, b, usageDelta(), usageMerge())
}

func usageDelta() string {
	sums := usageSums()
	return `
SELECT ` + usageKey + `, ` + each(sums, "sum(%) AS %", ", ") + `
FROM (
	SELECT ` + usageKey + `, ` + each(sums, "COALESCE(sum(%), 0) AS %", ", ") + `
	FROM (` + usageRow(calls) + `) b GROUP BY ` + usageKey + `
	UNION ALL
	SELECT ` + usageKey + `, ` + each(sums, "-COALESCE(sum(%), 0)", ", ") + `
	FROM (` + usageRow(replaced) + `) r GROUP BY ` + usageKey + `
) part GROUP BY ` + usageKey
}

func usageMerge() string {
	sums := usageSums()
	return `
WITH delta AS MATERIALIZED ({delta}), old AS (
	SELECT ` + rowHash + ` AS hash FROM {usage} t JOIN delta USING (` + usageKey + `)
), new AS (
	INSERT INTO {usage} AS t (` + usageKey + `, ` + each(sums, "%", ", ") + `)
	SELECT ` + usageKey + `, ` + each(sums, "%", ", ") + ` FROM delta
	ON CONFLICT (` + usageKey + `) DO UPDATE SET ` + each(sums, "% = t.% + excluded.%", ", ") + `
	RETURNING ` + rowHash + ` AS hash
)
` + changeOfHashes
}

// usageRow is each event of an item for FROM as a row of usage.
func usageRow(from string) string {
	return `SELECT ` + callOrg + ` AS org_id, date_trunc('hour', ` + admittedAt + `, 'UTC') AS hour, ` + callProject + ` AS project_id,
		COALESCE(x.key_id, '` + noID + `') AS key_id,
		COALESCE(x.model, '') AS model, COALESCE(x.provider, '') AS provider, x.cost_currency, x.charge_currency,
		1 AS calls, (x.outcome IN ('provider_error', 'upstream_failed', 'broken', 'failed'))::int AS failed,
		(x.outcome = 'unknown')::int AS unknown, x.cost, x.charge, x.held, ` + each(meters(), "x.%", ", ") + `
		FROM ` + from + ` x`
}
