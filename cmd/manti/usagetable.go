package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

// column is a field of a usage row as text.
type column struct {
	name string
	of   func(projections.UsageRow) string
}

// dimensionColumns are the columns of what isn't summed over.
func dimensionColumns(by []projections.Dimension) []column {
	layouts := map[projections.Dimension]string{projections.ByHour: "2006-01-02T15:00Z", projections.ByDay: time.DateOnly, projections.ByMonth: "2006-01"}
	var columns []column
	for _, d := range projections.Dimensions() {
		if !slices.Contains(by, d) {
			continue
		}
		c := column{name: string(d)}
		switch d {
		case projections.ByHour, projections.ByDay, projections.ByMonth:
			c.of = func(r projections.UsageRow) string { return r.Time.Format(layouts[d]) }
		case projections.ByOrg:
			c.of = func(r projections.UsageRow) string { return r.Org.String() }
		case projections.ByProject:
			c.of = func(r projections.UsageRow) string { return r.Project.String() }
		case projections.ByKey:
			c.of = func(r projections.UsageRow) string { return r.Key.String() }
		case projections.ByModel:
			c.of = func(r projections.UsageRow) string { return r.Model }
		case projections.ByProvider:
			c.of = func(r projections.UsageRow) string { return r.Provider }
		}
		columns = append(columns, c)
	}
	return columns
}

// sumColumns are the columns of every table: calls, meters, money.
func sumColumns() []column {
	columns := []column{
		{"calls", func(r projections.UsageRow) string { return fmt.Sprint(r.Calls) }},
		{"failed", func(r projections.UsageRow) string { return fmt.Sprint(r.Failed) }},
		{"unknown", func(r projections.UsageRow) string { return fmt.Sprint(r.Unknown) }},
	}
	for m := range domain.Meter(domain.MeterCount) {
		columns = append(columns, column{m.String(), func(r projections.UsageRow) string { return r.Meters[m].String() }})
	}
	return append(columns,
		column{"cost", func(r projections.UsageRow) string { return r.Cost.String() }},
		column{"cost_currency", func(r projections.UsageRow) string { return string(r.CostCurrency) }},
		column{"charge", func(r projections.UsageRow) string { return r.Charge.String() }},
		column{"charge_currency", func(r projections.UsageRow) string { return string(r.ChargeCurrency) }},
		column{"held", func(r projections.UsageRow) string { return r.Held.String() }},
	)
}

func names(columns []column) []string {
	var out []string
	for _, c := range columns {
		out = append(out, c.name)
	}
	return out
}

func values(columns []column, r projections.UsageRow) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.of(r)
	}
	return out
}

// usageSource is usage to print: of now, or of the past.
type usageSource struct {
	filter projections.UsageFilter
	rows   iter.Seq2[projections.UsageRow, error]
	// parked are the events that usage lacks.
	parked func() ([]projections.Parked, error)
}

// liveUsage is usage as it is now.
func liveUsage(ctx context.Context, d database, f projections.UsageFilter) usageSource {
	return usageSource{f, projections.ReadUsage(ctx, d.pool, f), func() ([]projections.Parked, error) {
		return projections.ReadParked(ctx, d.pool, projections.Usage().Name())
	}}
}

// warn says so if events are missing, also where there is no row to mark.
func (s usageSource) warn(inv invocation) error {
	parked, err := s.parked()
	if err == nil && len(s.filter.Missing(parked)) > 0 {
		warnIncomplete(inv, projections.Usage().Name())
	}
	return err
}

// columns are those of exports.
func (s usageSource) columns() []column {
	return append(dimensionColumns(s.filter.By), append(sumColumns(),
		column{"incomplete", func(r projections.UsageRow) string { return fmt.Sprint(r.Incomplete) }})...)
}

func usageCSV(inv invocation, s usageSource) error {
	columns := s.columns()
	out := csv.NewWriter(inv.io.out)
	if err := out.Write(names(columns)); err != nil {
		return err
	}
	for row, err := range s.rows {
		if err != nil {
			return err
		}
		if err := out.Write(values(columns, row)); err != nil {
			return err
		}
	}
	out.Flush()
	return errors.Join(out.Error(), s.warn(inv))
}

// printUsage prints a table, or JSON.
func printUsage(inv invocation, s usageSource, asJSON bool) error {
	if asJSON {
		return errors.Join(usageJSON(inv.io.out, s), s.warn(inv))
	}
	return errors.Join(usageTable(inv.io.out, s), s.warn(inv))
}

func usageJSON(w io.Writer, s usageSource) error {
	columns := s.columns()
	out := json.NewEncoder(w)
	for row, err := range s.rows {
		if err != nil {
			return err
		}
		object := map[string]string{}
		for _, c := range columns {
			object[c.name] = c.of(row)
		}
		if row.Incomplete == 0 {
			delete(object, "incomplete")
		}
		if err := out.Encode(object); err != nil {
			return err
		}
	}
	return nil
}

// currencies are those in which calls are charged and cost.
type currencies struct{ charge, cost domain.Currency }

func (c currencies) compare(to currencies) int {
	return cmp.Or(cmp.Compare(c.charge, to.charge), cmp.Compare(c.cost, to.cost))
}

// usageTable leaves out the meters that nobody used and sums up what is in the
// same currencies.
func usageTable(w io.Writer, s usageSource) error {
	dims := dimensionColumns(s.filter.By)
	sums := tableColumns()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(names(append(slices.Clone(dims), sums...)), "\t")))
	totals := map[currencies]*projections.UsageRow{}
	for row, err := range s.rows {
		if err != nil {
			return err
		}
		addTotal(totals, row)
		fmt.Fprintln(t, strings.Join(values(append(slices.Clone(dims), sums...), row), "\t"))
	}
	for _, c := range slices.SortedFunc(maps.Keys(totals), currencies.compare) {
		blank := make([]string, len(dims))
		if len(blank) > 0 {
			blank[0] = "total"
		}
		fmt.Fprintln(t, strings.Join(append(blank, values(sums, *totals[c])...), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(totals) == 0 {
		fmt.Fprintln(w, "No usage in this range.")
	}
	return nil
}

// tableColumns are the sums that fit on a screen.
func tableColumns() []column {
	sum := func(meters ...domain.Meter) func(projections.UsageRow) string {
		return func(r projections.UsageRow) string {
			total := decimal.Zero
			for _, m := range meters {
				total = total.Add(r.Meters[m])
			}
			return total.String()
		}
	}
	all := sumColumns()
	money := all[len(all)-5:]
	calls := column{"calls", func(r projections.UsageRow) string { return all[0].of(r) + mark(r.Incomplete) }}
	return append([]column{
		calls, all[1], all[2],
		{"input", sum(domain.InputTokens, domain.InputAudioTokens, domain.InputImageTokens)},
		{"cached", sum(domain.CacheReadTokens)},
		{"cache write", sum(domain.CacheWrite5mTokens, domain.CacheWrite1hTokens)},
		{"output", sum(domain.OutputTokens, domain.ReasoningTokens, domain.OutputAudioTokens, domain.OutputImageTokens)},
	}, money[:4]...)
}

func addTotal(totals map[currencies]*projections.UsageRow, row projections.UsageRow) {
	of := currencies{row.ChargeCurrency, row.CostCurrency}
	t := totals[of]
	if t == nil {
		t = &projections.UsageRow{ChargeCurrency: row.ChargeCurrency, CostCurrency: row.CostCurrency}
		totals[of] = t
	}
	t.Calls, t.Failed, t.Unknown = t.Calls+row.Calls, t.Failed+row.Failed, t.Unknown+row.Unknown
	for m := range t.Meters {
		t.Meters[m] = t.Meters[m].Add(row.Meters[m])
	}
	t.Incomplete = max(t.Incomplete, row.Incomplete)
	t.Cost, t.Charge, t.Held = t.Cost.Add(row.Cost), t.Charge.Add(row.Charge), t.Held.Add(row.Held)
}
