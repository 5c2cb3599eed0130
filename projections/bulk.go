package projections

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/ledger"
)

// foldDelta folds by a query for what a batch adds to rows, and a statement that
// merges {delta} into them and returns the change of the digest. Both have the
// parameters $1 = from and $2 = to.
//
// In the large batches of a rebuild, the query runs apart from the statement:
// Postgres shares a query out among its workers only if it writes nothing but a
// new table. That is where nearly all of the time goes, for reading wide rows.
func (p *Projection) foldDelta(ctx context.Context, tx pgx.Tx, b *ledger.Batch, delta, merge string) (decimal.Decimal, error) {
	if b.To-b.From <= ledger.BatchEntries {
		return scanChange(ctx, tx, p.sql(strings.ReplaceAll(merge, "{delta}", delta)), b.From, b.To)
	}
	// Without parameters, the plan is made for this range.
	of := strings.NewReplacer("$1", strconv.FormatInt(b.From, 10), "$2", strconv.FormatInt(b.To, 10))
	if _, err := tx.Exec(ctx, `CREATE TEMP TABLE delta ON COMMIT DROP AS `+of.Replace(p.sql(delta))); err != nil {
		return decimal.Zero, fmt.Errorf("sum up: %w", err)
	}
	change, err := scanChange(ctx, tx, p.sql(strings.ReplaceAll(merge, "{delta}", "SELECT * FROM pg_temp.delta")))
	if err != nil {
		return decimal.Zero, err
	}
	if _, err := tx.Exec(ctx, `DROP TABLE pg_temp.delta`); err != nil {
		return decimal.Zero, fmt.Errorf("drop sums: %w", err)
	}
	return change, nil
}
