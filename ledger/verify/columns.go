package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/domain"
	"manti/ledger/internal/row"
)

// A column is a column that is compared.
type column struct{ name, kind string }

// hidden reports whether a column holds what no report may show: private parts, salts, and strings
// of callers and people.
func hidden(table, name string) bool {
	if table == tableErasable {
		return name != "index" && name != "id"
	}
	return name == "canonical" || name == "private" || name == "private_salt"
}

// readColumns sees to it that the tables have the columns that this program
// writes, and no others: those it couldn't check.
func (r *run) readColumns(ctx context.Context, tx pgx.Tx) (err error) {
	if r.eventColumns, err = r.columnsOf(ctx, tx, tableEvents, row.Names(row.EventColumns)); err != nil {
		return err
	}
	r.erasableColumns, err = r.columnsOf(ctx, tx, tableErasable, row.Names(row.ErasableColumns))
	return err
}

func (r *run) columnsOf(ctx context.Context, tx pgx.Tx, table string, names []string) ([]column, error) {
	kinds := make(map[string]string)
	var name, kind string
	err := each(ctx, tx, "columns", []any{&name, &kind}, func() error { kinds[name] = kind; return nil },
		`SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'ledger' AND c.relname = $1 AND a.attnum > 0 AND NOT a.attisdropped`, table)
	if err != nil {
		return nil, err
	}
	columns := make([]column, 0, len(names))
	for _, name := range names {
		kind, ok := kinds[name]
		if !ok {
			return nil, fmt.Errorf("ledger.%s has no column %s: its schema is another version's (`manti migrate` brings it up to date) or was changed", table, name)
		}
		columns = append(columns, column{name, kind})
		delete(kinds, name)
	}
	for name := range kinds {
		r.found.add(Finding{Index: NoIndex, Table: table, Column: name, Problem: "this program doesn't know the column, so it isn't checked"})
	}
	return columns, nil
}

// differ names the fields in which a stored row isn't what its event makes it.
func (r *run) differ(table string, columns []column, index int64, want, got tuple) {
	for _, c := range columns {
		w, werr := want.next()
		g, gerr := got.next()
		if werr != nil || gerr != nil || same(c.kind, w, g) {
			continue
		}
		f := Finding{Index: index, Table: table, Column: c.name, Problem: "is not what the event says", Expected: render(c.kind, w), Found: render(c.kind, g)}
		if hidden(table, c.name) {
			f.Expected, f.Found = "", ""
		}
		r.found.add(f)
	}
}

// same compares two values byte for byte, but for jsonb, which Postgres writes as
// it likes.
func same(kind string, a, b []byte) bool {
	if (a == nil) != (b == nil) {
		return false
	}
	if bytes.Equal(a, b) {
		return true
	}
	if kind != "jsonb" || len(a) == 0 || len(b) == 0 {
		return false
	}
	var x, y any
	return json.Unmarshal(a[1:], &x) == nil && json.Unmarshal(b[1:], &y) == nil && reflect.DeepEqual(x, y)
}

// render shows a value for people.
func render(kind string, field []byte) string {
	if field == nil {
		return "NULL"
	}
	switch {
	case kind == "uuid" && len(field) == 16:
		return domain.EventID(field).String()
	case kind == "bigint" && len(field) == 8:
		return strconv.FormatInt(int64(binary.BigEndian.Uint64(field)), 10)
	case kind == "smallint" && len(field) == 2:
		return strconv.Itoa(int(int16(binary.BigEndian.Uint16(field))))
	case kind == "boolean" && len(field) == 1:
		return strconv.FormatBool(field[0] != 0)
	case kind == "timestamp with time zone" && len(field) == 8:
		return timeOf(field).Format(time.RFC3339Nano)
	case kind == "numeric":
		return numeric(field)
	case kind == "text":
		return strconv.Quote(domain.CleanText(string(field), 200))
	case kind == "text[]":
		return texts(field)
	}
	return fmt.Sprintf("%x", field[:min(len(field), 64)])
}

// texts shows an array of one dimension.
func texts(field tuple) string {
	const head = 5 * 4 // dimensions, has NULLs, type, length, first index
	if len(field) < head {
		return "{}"
	}
	var all []string
	for rest := field[head:]; len(rest) > 0; {
		text, err := rest.next()
		if err != nil {
			break
		}
		all = append(all, strconv.Quote(domain.CleanText(string(text), 100)))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// kindOf is a kind without an allocation for the one that there are many of.
func kindOf(field []byte) domain.Kind {
	if string(field) == string(domain.KindRequestCompleted) {
		return domain.KindRequestCompleted
	}
	return domain.Kind(field)
}

// numeric shows an exact number.
func numeric(field []byte) string {
	types := pgtype.NewMap()
	db.RegisterTypes(types)
	var d decimal.Decimal
	if err := types.Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, field, &d); err != nil {
		return "no number"
	}
	return d.String()
}
