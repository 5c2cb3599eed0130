package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/domain"
)

// Dimension is something that usage is told apart by.
type Dimension string

// The dimensions. Currencies are always told apart.
const (
	ByHour     Dimension = "hour" // of UTC, as are the others
	ByDay      Dimension = "day"
	ByMonth    Dimension = "month"
	ByOrg      Dimension = "org"
	ByProject  Dimension = "project"
	ByKey      Dimension = "key"
	ByModel    Dimension = "model"
	ByProvider Dimension = "provider"
)

// Dimensions lists all, in the order of UsageRow's fields.
func Dimensions() []Dimension {
	return []Dimension{ByHour, ByDay, ByMonth, ByOrg, ByProject, ByKey, ByModel, ByProvider}
}

// UsageFilter says which usage is summed up, and how far. Zero fields don't
// filter.
type UsageFilter struct {
	// From and To bound the hours in which calls were admitted: From ≤ hour < To.
	From, To        time.Time
	Org             domain.OrgID
	Project         domain.ProjectID
	Key             domain.KeyID
	Model, Provider string
	// By are the dimensions that aren't summed over. Of hour, day and month
	// there may be one.
	By []Dimension
}

// UsageRow is a sum. Fields of dimensions that were summed over are zero.
type UsageRow struct {
	// Time is when the hour, day or month begins, in UTC.
	Time            time.Time
	Org             domain.OrgID
	Project         domain.ProjectID
	Key             domain.KeyID // zero also for calls without a key
	Model, Provider string
	CostCurrency    domain.Currency
	ChargeCurrency  domain.Currency
	// Calls are all of them; Failed and Unknown are parts of them.
	Calls, Failed, Unknown int64
	// Meters are quantities by domain.Meter. They are decimals because a sum
	// has no bound.
	Meters             [domain.MeterCount]decimal.Decimal
	Cost, Charge, Held decimal.Decimal
	// Incomplete is how many events couldn't be folded that may belong here, by
	// organisation and time: they are missing in the sums.
	Incomplete int64
}

// exportTimeout bounds a query whose rows are read as fast as somebody writes
// them out.
const exportTimeout = `SET LOCAL statement_timeout = '1h'; SET LOCAL idle_in_transaction_session_timeout = 0`

// ReadUsage streams the sums in the order of the dimensions. Sums without a
// call are left out. The sequence ends after its first error.
func ReadUsage(ctx context.Context, b db.Beginner, f UsageFilter) iter.Seq2[UsageRow, error] {
	return func(yield func(UsageRow, error) bool) {
		opts := db.TxOptions{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}
		err := db.InTx(ctx, b, opts, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, exportTimeout); err != nil {
				return err
			}
			return f.stream(ctx, tx, yield)
		})
		f.end(err, yield)
	}
}

// ReadPastUsage is ReadUsage of the past.
func ReadPastUsage(ctx context.Context, then *Past, f UsageFilter) iter.Seq2[UsageRow, error] {
	return func(yield func(UsageRow, error) bool) { f.end(f.stream(ctx, then, yield), yield) }
}

// errStop ends the transaction of a stream that nobody wants any more.
var errStop = errors.New("projections: the reader has stopped")

func (f UsageFilter) end(err error, yield func(UsageRow, error) bool) {
	if err != nil && err != errStop {
		yield(UsageRow{}, fmt.Errorf("read usage: %w", err))
	}
}

func (f UsageFilter) stream(ctx context.Context, q Querier, yield func(UsageRow, error) bool) error {
	query, err := f.query()
	if err != nil {
		return err
	}
	parked, err := ReadParked(ctx, q, Usage().Name())
	if err != nil {
		return err
	}
	rows, err := q.Query(ctx, query, pgx.NamedArgs{
		"from": timeOrNull(f.From), "to": timeOrNull(f.To), "org": idOrNull(f.Org), "project": idOrNull(f.Project),
		"key": idOrNull(f.Key), "model": f.Model, "provider": f.Provider,
	})
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scanUsage(rows)
		if err != nil {
			return err
		}
		for _, k := range f.Missing(parked) {
			if f.mayBelong(k, row) {
				row.Incomplete++
			}
		}
		if !yield(row, nil) {
			return errStop
		}
	}
	return rows.Err()
}

// Missing are those of the parked events that may belong to what is asked for,
// by organisation and time. What else they say can't be relied on.
func (f UsageFilter) Missing(parked []Parked) []Parked {
	var missing []Parked
	for _, k := range parked {
		hour := k.At.Truncate(time.Hour)
		if k.touches(f.Org) && !hour.Before(f.From) && (f.To.IsZero() || hour.Before(f.To)) {
			missing = append(missing, k)
		}
	}
	return missing
}

// mayBelong reports whether the event may belong to the row.
func (f UsageFilter) mayBelong(k Parked, row UsageRow) bool {
	if slices.Contains(f.By, ByOrg) && !k.touches(row.Org) {
		return false
	}
	y, m, d := k.At.Date()
	begins := row.Time
	for _, by := range f.By {
		switch by {
		case ByHour:
			begins = k.At.Truncate(time.Hour)
		case ByDay:
			begins = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		case ByMonth:
			begins = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
		}
	}
	return begins.Equal(row.Time)
}

func scanUsage(rows pgx.Rows) (UsageRow, error) {
	var r UsageRow
	var begins *time.Time
	to := []any{&begins, &r.Org, &r.Project, &r.Key, &r.Model, &r.Provider, &r.CostCurrency, &r.ChargeCurrency,
		&r.Calls, &r.Failed, &r.Unknown, &r.Cost, &r.Charge, &r.Held}
	for m := range r.Meters {
		to = append(to, &r.Meters[m])
	}
	err := rows.Scan(to...)
	r.Time = timeOrZero(begins)
	return r, err
}

// query is the statement, with named arguments.
func (f UsageFilter) query() (string, error) {
	columns := map[Dimension]string{ByOrg: "org_id", ByProject: "project_id", ByKey: "key_id", ByModel: "model", ByProvider: "provider"}
	begins := "NULL::timestamptz"
	for _, d := range f.By {
		switch d {
		case ByHour, ByDay, ByMonth:
			if !strings.HasPrefix(begins, "NULL") {
				return "", domain.Invalid("by", "Of hour, day and month there may be one.")
			}
			begins = "date_trunc('" + string(d) + "', hour, 'UTC')"
		default:
			if columns[d] == "" {
				return "", domain.Invalid("by", fmt.Sprintf("%q is none of %v.", d, Dimensions()))
			}
		}
	}
	selected := []string{begins}
	for _, d := range Dimensions()[3:] {
		switch {
		case slices.Contains(f.By, d):
			selected = append(selected, columns[d])
		case d == ByModel || d == ByProvider:
			selected = append(selected, "''")
		default:
			selected = append(selected, "'"+noID+"'::uuid")
		}
	}
	return `SELECT ` + strings.Join(selected, ", ") + `, cost_currency, charge_currency,
		sum(calls)::bigint, sum(failed)::bigint, sum(unknown)::bigint, sum(cost), sum(charge), sum(held), ` + each(meters(), "sum(%)", ", ") + `
		FROM projections.usage
		WHERE (@from::timestamptz IS NULL OR hour >= @from) AND (@to::timestamptz IS NULL OR hour < @to)
			AND (@org::uuid IS NULL OR org_id = @org) AND (@project::uuid IS NULL OR project_id = @project)
			AND (@key::uuid IS NULL OR key_id = @key) AND (@model::text = '' OR model = @model) AND (@provider::text = '' OR provider = @provider)
		GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 HAVING sum(calls) <> 0 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8`, nil
}
