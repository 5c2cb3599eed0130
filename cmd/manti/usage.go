package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

// usage prints usage, cost and charge as a table.
func usage(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	filter, finish := usageFlags(flags.String, "day,model")
	asJSON := flags.Bool("json", false, "print JSON, a row a line")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		if err := d.catchUp(ctx, projections.Usage()); err != nil {
			return err
		}
		if *asJSON {
			return usageJSON(ctx, inv.io.out, d, *filter)
		}
		return usageTable(ctx, inv.io.out, d, *filter)
	})
}

// exportUsage streams usage as CSV.
func exportUsage(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	_ = flags.Bool("csv", true, "write CSV, the only format so far")
	filter, finish := usageFlags(flags.String, "hour,org,project,key,model,provider")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		if err := d.catchUp(ctx, projections.Usage()); err != nil {
			return err
		}
		return usageCSV(ctx, inv.io.out, d, *filter)
	})
}

// usageFlags declares the flags by which usage is filtered.
func usageFlags(text func(name, value, doc string) *string, by string) (*projections.UsageFilter, func() error) {
	var f projections.UsageFilter
	from := text("from", "", "the first day or hour, in UTC: 2026-11-01, or a time in RFC 3339")
	to := text("to", "", "the day or hour after the last")
	dims := text("by", by, "the columns that aren't summed over: "+dimensions())
	model := text("model", "", "one model only")
	provider := text("provider", "", "one provider only")
	org, project, key := text("org", "", "one organisation only, by its id"), text("project", "", "one project only, by its id"), text("key", "", "one key only, by its id")
	return &f, func() (err error) {
		if f.From, err = parseWhen(*from); err != nil {
			return usageError{"--from: " + err.Error()}
		}
		if f.To, err = parseWhen(*to); err != nil {
			return usageError{"--to: " + err.Error()}
		}
		f.Model, f.Provider = *model, *provider
		for name, err := range map[string]error{"org": parseIDFlag(&f.Org, *org), "project": parseIDFlag(&f.Project, *project), "key": parseIDFlag(&f.Key, *key)} {
			if err != nil {
				return usageError{"--" + name + ": " + err.Error()}
			}
		}
		for name := range strings.SplitSeq(*dims, ",") {
			d := projections.Dimension(strings.TrimSpace(name))
			if !slices.Contains(projections.Dimensions(), d) {
				return usageError{fmt.Sprintf("--by: %q is none of %s", name, dimensions())}
			}
			f.By = append(f.By, d)
		}
		return nil
	}
}

func parseIDFlag[K any](id *domain.ID[K], text string) (err error) {
	if text != "" {
		*id, err = domain.ParseID[domain.ID[K]](text)
	}
	return err
}

func dimensions() string {
	var names []string
	for _, d := range projections.Dimensions() {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}

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

func usageCSV(ctx context.Context, w io.Writer, d database, f projections.UsageFilter) error {
	columns := append(dimensionColumns(f.By), sumColumns()...)
	out := csv.NewWriter(w)
	if err := out.Write(names(columns)); err != nil {
		return err
	}
	for row, err := range projections.ReadUsage(ctx, d.pool, f) {
		if err != nil {
			return err
		}
		if err := out.Write(values(columns, row)); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func usageJSON(ctx context.Context, w io.Writer, d database, f projections.UsageFilter) error {
	columns := append(dimensionColumns(f.By), sumColumns()...)
	out := json.NewEncoder(w)
	for row, err := range projections.ReadUsage(ctx, d.pool, f) {
		if err != nil {
			return err
		}
		object := map[string]string{}
		for _, c := range columns {
			object[c.name] = c.of(row)
		}
		if err := out.Encode(object); err != nil {
			return err
		}
	}
	return nil
}

// usageTable leaves out the meters that nobody used and sums up by currency.
func usageTable(ctx context.Context, w io.Writer, d database, f projections.UsageFilter) error {
	dims := dimensionColumns(f.By)
	sums := tableColumns()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(names(append(slices.Clone(dims), sums...)), "\t")))
	totals := map[domain.Currency]*projections.UsageRow{}
	for row, err := range projections.ReadUsage(ctx, d.pool, f) {
		if err != nil {
			return err
		}
		addTotal(totals, row)
		fmt.Fprintln(t, strings.Join(values(append(slices.Clone(dims), sums...), row), "\t"))
	}
	for _, currency := range slices.Sorted(maps.Keys(totals)) {
		blank := make([]string, len(dims))
		if len(blank) > 0 {
			blank[0] = "total"
		}
		fmt.Fprintln(t, strings.Join(append(blank, values(sums, *totals[currency])...), "\t"))
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
	return append([]column{
		all[0], all[1], all[2],
		{"input", sum(domain.InputTokens, domain.InputAudioTokens, domain.InputImageTokens)},
		{"cached", sum(domain.CacheReadTokens)},
		{"cache write", sum(domain.CacheWrite5mTokens, domain.CacheWrite1hTokens)},
		{"output", sum(domain.OutputTokens, domain.ReasoningTokens, domain.OutputAudioTokens, domain.OutputImageTokens)},
	}, money[0], money[2], money[3])
}

func addTotal(totals map[domain.Currency]*projections.UsageRow, row projections.UsageRow) {
	t := totals[row.ChargeCurrency]
	if t == nil {
		t = &projections.UsageRow{ChargeCurrency: row.ChargeCurrency, CostCurrency: row.CostCurrency}
		totals[row.ChargeCurrency] = t
	}
	t.Calls, t.Failed, t.Unknown = t.Calls+row.Calls, t.Failed+row.Failed, t.Unknown+row.Unknown
	for m := range t.Meters {
		t.Meters[m] = t.Meters[m].Add(row.Meters[m])
	}
	t.Cost, t.Charge, t.Held = t.Cost.Add(row.Cost), t.Charge.Add(row.Charge), t.Held.Add(row.Held)
}

// balances prints each organisation's balance.
func balances(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	asJSON := flags.Bool("json", false, "print JSON, a balance a line")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		if err := d.catchUp(ctx, projections.Balances()); err != nil {
			return err
		}
		rows, err := projections.ReadBalances(ctx, d.pool, domain.OrgID{})
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(inv.io.out, 0, 0, 2, ' ', 0)
		if !*asJSON {
			fmt.Fprintln(t, "ORGANISATION\tCURRENCY\tCALLS\tCHARGE\tCOST\tHELD")
		}
		for _, b := range rows {
			if *asJSON {
				if err := json.NewEncoder(inv.io.out).Encode(map[string]any{"org": b.Org, "currency": b.Currency, "calls": b.Calls, "charge": b.Charge, "cost": b.Cost, "held": b.Held}); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", b.Org, b.Currency, b.Calls, b.Charge, b.Cost, b.Held)
		}
		return t.Flush()
	})
}
