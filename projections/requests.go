package projections

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/ledger"
)

// Requests is every call as it stands after all corrections.
func Requests() *Projection {
	return &Projection{name: "requests", version: callVersion, tables: []table{{"requests", "id"}}, fold: foldRequests}
}

// requestColumns are what a call's row is made of, besides its id.
func requestColumns() []string {
	return append(meters(), "event_id", "index", "at", "first_byte_at", "first_token_at", "ended_at",
		"org_id", "project_id", "key_id", "user_id", "service_id",
		"status", "attempts", "stream", "dialect", "endpoint", "asked_model", "model", "provider", "tier",
		"outcome", "error", "provenance", "cost", "cost_currency", "charge", "charge_currency", "held", "flags")
}

func foldRequests(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error) {
	return scanChange(ctx, tx, p.sql(foldRequestsSQL()), b.From, b.To)
}

// Of the events about a call the last one holds: each supersedes the one before.
func foldRequestsSQL() string {
	columns := requestColumns()
	source := strings.NewReplacer("x.event_id", "x.id AS event_id", "x.at,", admittedAt+" AS at,",
		"x.org_id,", callOrg+" AS org_id,", "x.project_id,", callProject+" AS project_id,").Replace(each(columns, "x.%", ", "))
	return `
WITH current AS MATERIALIZED (
	SELECT DISTINCT ON (x.request_id) x.request_id AS id, ` + source + `
	FROM ` + calls + ` x
	ORDER BY x.request_id, x.index DESC
), old AS (
	SELECT ` + rowHash + ` AS hash FROM {requests} t JOIN current USING (id)
), new AS (
	INSERT INTO {requests} AS t (id, ` + each(columns, "%", ", ") + `)
	SELECT id, ` + each(columns, "%", ", ") + ` FROM current
	ON CONFLICT (id) DO UPDATE SET ` + each(columns, "% = excluded.%", ", ") + `
	RETURNING ` + rowHash + ` AS hash
)
` + changeOfHashes
}
