package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"manti/projections"
)

// printCorrections prints who owes how much more or less.
func printCorrections(w io.Writer, table *projections.CorrectionTable, applied bool) error {
	if table.Calls == 0 {
		_, err := fmt.Fprintln(w, "Nothing to correct: the ledger says so already.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ORG\tPROJECT\tKEY\tMODEL\tCALLS\tOLD CHARGE\tNEW CHARGE\tDIFFERENCE\t")
	for _, r := range table.Rows() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", r.Org, r.Project, r.Key, r.Model, r.Calls, r.Old, r.New, difference(r), r.Currency)
	}
	totals := table.Totals()
	for _, currency := range slices.Sorted(maps.Keys(totals)) {
		r := totals[currency]
		fmt.Fprintf(t, "total\t\t\t\t%d\t%s\t%s\t%s\t%s\n", r.Calls, r.Old, r.New, difference(r), currency)
	}
	for _, currency := range slices.Sorted(maps.Keys(table.Costs)) {
		r := table.Costs[currency]
		fmt.Fprintf(t, "cost\t\t\t\t\t%s\t%s\t%s\t%s\n", r.Old, r.New, difference(r), currency)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if applied {
		_, err := fmt.Fprintf(w, "%d calls were corrected.\n", table.Calls)
		return err
	}
	_, err := fmt.Fprintf(w, "Nothing was changed: --apply --reason TEXT corrects these %d calls.\n", table.Calls)
	return err
}

// difference has a sign.
func difference(c *projections.Correction) string {
	d := c.Difference()
	if d.IsPositive() {
		return "+" + d.String()
	}
	return d.String()
}

// printRefusals names calls that can't be corrected.
func printRefusals(w io.Writer, table *projections.CorrectionTable) {
	for _, r := range table.Refusals {
		fmt.Fprintf(w, "Left out: call %s at index %d: %v\n", r.Call, r.Index, r.Err)
	}
	if more := table.Refused - len(table.Refusals); more > 0 {
		fmt.Fprintf(w, "Left out: %d more\n", more)
	}
}

// maxMissing is how many lines of a bill are named.
const maxMissing = 20

// printMissing names what a provider bills and the ledger doesn't have.
func printMissing(w io.Writer, bill *projections.ProviderBill) {
	missing := bill.Missing()
	fmt.Fprintf(w, "The bill names %d calls; %d of them are in the ledger.\n", bill.Lines(), bill.Lines()-len(missing))
	for _, name := range missing[:min(len(missing), maxMissing)] {
		fmt.Fprintf(w, "Not in the ledger: %s\n", name)
	}
	if more := len(missing) - maxMissing; more > 0 {
		fmt.Fprintf(w, "Not in the ledger: %d more\n", more)
	}
}
