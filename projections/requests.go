package projections

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/ledger"
)

// Requests is every call as it stands after all corrections.
func Requests() *Projection {
	row := `ROW(t.id, ` + each(requestPlain(), "t.%", ", ") + `, ` + each(requestAmounts(), "trim_scale(t.%)", ", ") + `, ` +
		each(requestTimes(), "extract(epoch FROM t.%)", ", ") + `)`
	return &Projection{name: "requests", version: 1, tables: []table{{"requests", row}}, fold: foldRequests}
}

// What a call's row is made of, besides its id: in three groups, because a
// digest must depend neither on a session's time zone nor on trailing zeros.
func requestTimes() []string {
	return []string{"at", "first_byte_at", "first_token_at", "ended_at"}
}

func requestAmounts() []string { return []string{"cost", "charge", "held"} }

func requestPlain() []string {
	return append(meters(), "event_id", "index", "org_id", "project_id", "key_id", "user_id", "service_id",
		"status", "attempts", "stream", "dialect", "endpoint", "asked_model", "model", "provider", "tier",
		"outcome", "error", "provenance", "cost_currency", "charge_currency", "flags")
}

func foldRequests(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error) {
	return scanChange(ctx, tx, p.sql(foldRequestsSQL(p.tables[0].hash())), b.From, b.To)
}

// Of the events about a call the last one holds: each supersedes the one before.
func foldRequestsSQL(hash string) string {
	all := slices.Concat(requestTimes(), requestAmounts(), requestPlain())
	source := strings.NewReplacer("x.event_id", "x.id AS event_id", "x.at,", admittedAt+" AS at,",
		"x.org_id,", callOrg+" AS org_id,", "x.project_id,", callProject+" AS project_id,").Replace(each(all, "x.%", ", "))
	return `
WITH current AS MATERIALIZED (
	SELECT DISTINCT ON (x.request_id) x.request_id AS id, ` + source + `
	FROM ` + calls + ` x
	ORDER BY x.request_id, x.index DESC
), old AS (
	SELECT ` + hash + ` AS hash FROM {requests} t JOIN current USING (id)
), new AS (
	INSERT INTO {requests} AS t (id, ` + each(all, "%", ", ") + `)
	SELECT id, ` + each(all, "%", ", ") + ` FROM current
	ON CONFLICT (id) DO UPDATE SET ` + each(all, "% = excluded.%", ", ") + `
	RETURNING ` + hash + ` AS hash
)
` + changeOfHashes
}
