package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// checkHead holds the head against the last event.
func (r *run) checkHead(ctx context.Context, tx pgx.Tx) error {
	want := time.Unix(0, 0).UTC()
	if r.head.Size > 0 {
		want = r.last
	}
	if !r.last.IsZero() && !r.head.RecordedAt.Equal(want) || r.head.Size == 0 && !r.head.RecordedAt.Equal(want) {
		r.found.add(Finding{Index: max(r.head.Size-1, NoIndex), Table: "head", Column: "recorded_at", Problem: "is not that of the last event",
			Expected: want.Format(time.RFC3339Nano), Found: r.head.RecordedAt.Format(time.RFC3339Nano)})
	}
	for _, table := range []string{tableEvents, tableErasable} {
		f := Finding{Table: table, Column: "index", Problem: "stands outside of the ledger's head"}
		err := each(ctx, tx, table, []any{&f.Index}, func() error { r.found.add(f); return nil },
			`SELECT index FROM ledger.`+table+` WHERE index < 0 OR index >= $1 ORDER BY index LIMIT 1000`, r.head.Size)
		if err != nil {
			return err
		}
	}
	return nil
}

// countRows counts each partition's rows as they lie there. All else is read by
// the primary key, and who can edit the catalog can hide rows from an index that
// a sum over the table finds.
func (r *run) countRows(ctx context.Context, tx pgx.Tx) error {
	var name string
	var rows, low, high int64
	total := int64(0)
	err := each(ctx, tx, "partitions", []any{&name, &rows, &low, &high}, func() error {
		total += rows
		if number := low / partitionEvents; low < 0 || high/partitionEvents != number || name != partitionName(number) {
			r.found.add(Finding{Index: max(low, 0), Through: high, Table: name, Column: "index", Problem: "the partition has events of another one"})
		}
		return nil
	}, `SELECT c.relname::text, p.rows, p.low, p.high FROM (SELECT tableoid, count(*) AS rows, min(index) AS low, max(index) AS high FROM ledger.events GROUP BY tableoid) p
		JOIN pg_class c ON c.oid = p.tableoid ORDER BY c.relname`)
	if err != nil {
		return err
	}
	if total != r.head.Size {
		r.found.add(Finding{Index: NoIndex, Table: tableEvents, Problem: "the number of rows is not the size in ledger.head",
			Expected: fmt.Sprint(r.head.Size), Found: fmt.Sprint(total)})
	}
	return nil
}
