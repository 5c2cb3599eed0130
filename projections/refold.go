package projections

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/ledger"
)

// Difference is how the live rows of a projection differ from what a fold of the
// ledger from its beginning gives.
type Difference struct {
	Projection string
	// Index is where both were compared: all events below it are folded.
	Index int64
	// Parked is how many events both leave out because they couldn't be folded.
	Parked int64
	// Rows is how many rows differ, or are on one side only.
	Rows int64
	// Digest is set if the running digest isn't that of the refolded rows.
	Digest bool
	// First are the first of the rows, at most ten.
	First []RowDifference
}

// RowDifference is a row that isn't what the ledger says.
type RowDifference struct {
	Table string
	// Key is the row's primary key, as column=value.
	Key string
	// Columns are those that differ; empty if the row is on one side only.
	Columns []ColumnDifference
	// Missing is set if there is no live row, Extra if there should be none.
	Missing, Extra bool
}

// ColumnDifference has values as JSON.
type ColumnDifference struct {
	Column, Live, Ledger string
}

// None reports whether there is no difference.
func (d Difference) None() bool { return d.Rows == 0 && !d.Digest }

// Err is nil if there is no difference, else ErrDiverged with all that is known.
func (d Difference) Err() error {
	if d.None() {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDiverged, d)
}

// String says it in a line.
func (d Difference) String() string {
	if d.None() {
		return fmt.Sprintf("%s at index %d: equal", d.Projection, d.Index)
	}
	if d.Rows == 0 {
		return fmt.Sprintf("%s at index %d: the rows are right, but not the running digest", d.Projection, d.Index)
	}
	text := fmt.Sprintf("%s at index %d: %d rows differ", d.Projection, d.Index, d.Rows)
	if d.Rows == 1 {
		text = fmt.Sprintf("%s at index %d: 1 row differs", d.Projection, d.Index)
	}
	var named []string
	for _, row := range d.First {
		named = append(named, row.String())
	}
	if int64(len(named)) < d.Rows {
		named = append(named, "…")
	}
	return text + ": " + strings.Join(named, "; ")
}

// String names the row and what is wrong with it.
func (r RowDifference) String() string {
	switch {
	case r.Missing:
		return fmt.Sprintf("%s (%s) is missing", r.Table, r.Key)
	case r.Extra:
		return fmt.Sprintf("%s (%s) should not be there", r.Table, r.Key)
	}
	var parts []string
	for _, c := range r.Columns {
		parts = append(parts, fmt.Sprintf("%s is %s, by the ledger %s", c.Column, c.Live, c.Ledger))
	}
	return fmt.Sprintf("%s (%s): %s", r.Table, r.Key, strings.Join(parts, ", "))
}

// Refold folds a projection from the beginning into temporary tables, up to where
// the live rows are, and compares both row by row and with the running digest.
// All of it is as of one moment; nobody is held up, and nothing is changed. Events
// that the live projection has parked are left out. progress, which may be nil,
// is told how far it came.
//
// ErrRebuild, of package ledger, if the live rows are of another version.
func Refold(ctx context.Context, b db.Beginner, p *Projection, progress func(index, size int64)) (Difference, error) {
	d := Difference{Projection: p.name}
	err := db.InTx(ctx, b, pastOptions, func(ctx context.Context, tx pgx.Tx) error {
		ledgerPast, err := openPast(ctx, tx, p)
		if err != nil {
			return err
		}
		digest, err := d.readLive(ctx, tx, p)
		if err != nil {
			return err
		}
		leaveOut, err := parkedIndexes(ctx, tx, p)
		if err != nil {
			return err
		}
		d.Parked = int64(len(leaveOut))
		folded, err := ledgerPast.fold(ctx, p, d.Index, leaveOut, progress)
		if err != nil {
			return err
		}
		d.Digest = !bytes.Equal(cmpDigest(digest), cmpDigest(folded.digest))
		if err := d.compare(ctx, tx, p, p.in(past)); err != nil {
			return err
		}
		if folded.parked > 0 {
			return fmt.Errorf("%d events can be folded by the live projection, but not here: another version of the program folded them", folded.parked)
		}
		return nil
	})
	if err != nil {
		return d, fmt.Errorf("refold %s: %w", p.name, err)
	}
	return d, nil
}

// readLive reads where the live rows are, and their digest.
func (d *Difference) readLive(ctx context.Context, tx pgx.Tx, p *Projection) (digest []byte, err error) {
	version := 0
	err = tx.QueryRow(ctx, `SELECT version, index, digest FROM projections.checkpoints WHERE name = $1`, p.name).Scan(&version, &d.Index, &digest)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read checkpoint: %w", err)
	case version != p.version:
		return nil, fmt.Errorf("%w: checkpoint %d, code %d", ledger.ErrRebuild, version, p.version)
	}
	return digest, nil
}

// parkedIndexes are those that a projection has left out, in order.
func parkedIndexes(ctx context.Context, tx pgx.Tx, p *Projection) ([]int64, error) {
	rows, err := tx.Query(ctx, `SELECT index FROM projections.parked WHERE projection = $1 ORDER BY index`, p.Name())
	if err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	return indexes, nil
}

// maxNamed is how many rows a difference names.
const maxNamed = 10

// compare compares the live rows with others, row by row: a digest can be
// forged, by who can write rows.
func (d *Difference) compare(ctx context.Context, tx pgx.Tx, live, others *Projection) error {
	for _, t := range live.tables {
		joined := fmt.Sprintf(`FROM %s l FULL JOIN %s r USING (%s) WHERE l IS DISTINCT FROM r`, live.tableName(t.name), others.tableName(t.name), t.key)
		n := int64(0)
		if err := tx.QueryRow(ctx, `SELECT count(*) `+joined).Scan(&n); err != nil {
			return fmt.Errorf("compare table %s: %w", t.name, err)
		}
		d.Rows += n
		if n == 0 || len(d.First) >= maxNamed {
			continue
		}
		rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT to_jsonb(l), to_jsonb(r) %s ORDER BY %s LIMIT %d`, joined, t.key, maxNamed-len(d.First)))
		if err != nil {
			return fmt.Errorf("name rows of %s: %w", t.name, err)
		}
		var liveRow, otherRow map[string]json.RawMessage
		_, err = pgx.ForEachRow(rows, []any{&liveRow, &otherRow}, func() error {
			d.First = append(d.First, t.difference(liveRow, otherRow))
			liveRow, otherRow = nil, nil
			return nil
		})
		if err != nil {
			return fmt.Errorf("name rows of %s: %w", t.name, err)
		}
	}
	return nil
}

// difference names a row by its key and says which columns differ.
func (t table) difference(live, fromLedger map[string]json.RawMessage) RowDifference {
	d := RowDifference{Table: t.name, Missing: live == nil, Extra: fromLedger == nil}
	there := live
	if d.Missing {
		there = fromLedger
	}
	var key []string
	for column := range strings.SplitSeq(t.key, ", ") {
		key = append(key, column+"="+strings.Trim(string(there[column]), `"`))
	}
	d.Key = strings.Join(key, " ")
	if d.Missing || d.Extra {
		return d
	}
	for _, column := range slices.Sorted(maps.Keys(live)) {
		if !bytes.Equal(live[column], fromLedger[column]) {
			d.Columns = append(d.Columns, ColumnDifference{column, string(live[column]), string(fromLedger[column])})
		}
	}
	return d
}
