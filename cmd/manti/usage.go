package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

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
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		if err := d.catchUp(ctx, projections.Usage()); err != nil {
			return err
		}
		return printUsage(inv, liveUsage(ctx, d, *filter), *asJSON)
	})
}

// exportUsage streams usage as CSV.
func exportUsage(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	_ = flags.Bool("csv", true, "write CSV, the only format so far")
	filter, finish := usageFlags(flags.String, "hour,org,project,key,model,provider")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		if err := d.catchUp(ctx, projections.Usage()); err != nil {
			return err
		}
		return usageCSV(inv, liveUsage(ctx, d, *filter))
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
		if f.From, f.To, err = parseRange(*from, *to); err != nil {
			return err
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
	if text == "" {
		return nil
	}
	if *id, err = domain.ParseID[domain.ID[K]](text); err != nil {
		return fmt.Errorf("%q is no id, which looks like 01a0fb60-0a29-7ccd-9c85-0ebbc320a823", text)
	}
	return nil
}

func dimensions() string {
	var names []string
	for _, d := range projections.Dimensions() {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}

// balances prints each organisation's balance.
func balances(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	asJSON := flags.Bool("json", false, "print JSON, a balance a line")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
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
		return printBalances(inv, rows, *asJSON)
	})
}

// printBalances prints a table, or JSON.
func printBalances(inv invocation, rows []projections.Balance, asJSON bool) error {
	t := tabwriter.NewWriter(inv.io.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(t, "ORGANISATION\tCURRENCY\tCALLS\tCHARGE\tCOST\tHELD")
	}
	incomplete := int64(0)
	for _, b := range rows {
		incomplete = max(incomplete, b.Incomplete)
		if asJSON {
			line := balanceJSON{b.Org, b.Currency, b.Calls, b.Charge, b.Cost, b.Held, b.Incomplete}
			if err := json.NewEncoder(inv.io.out).Encode(line); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%d%s\t%s\t%s\t%s\n", b.Org, b.Currency, b.Calls, mark(b.Incomplete), b.Charge, b.Cost, b.Held)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if incomplete > 0 {
		warnIncomplete(inv, "balances")
	}
	return nil
}

type balanceJSON struct {
	Org        domain.OrgID    `json:"org"`
	Currency   domain.Currency `json:"currency"`
	Calls      int64           `json:"calls"`
	Charge     decimal.Decimal `json:"charge"`
	Cost       decimal.Decimal `json:"cost"`
	Held       decimal.Decimal `json:"held"`
	Incomplete int64           `json:"incomplete,omitempty"`
}

// mark marks what lacks events.
func mark(incomplete int64) string {
	if incomplete > 0 {
		return "*"
	}
	return ""
}

// warnIncomplete explains the mark.
func warnIncomplete(inv invocation, projection string) {
	fmt.Fprintf(inv.io.err, "* incomplete: events that could not be folded are missing in what is marked; see projections.parked. `manti rebuild %s`, by a manti that can, folds them.\n", projection)
}
