package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

// Currencies are never added up: calls that are charged in one currency may cost
// in several.
func TestUsageTableSumsByCurrencies(t *testing.T) {
	t.Parallel()
	row := func(calls int64, cost string, in domain.Currency) projections.UsageRow {
		return projections.UsageRow{Calls: calls, Cost: decimal.RequireFromString(cost), CostCurrency: in, Charge: decimal.NewFromInt(1), ChargeCurrency: "EUR"}
	}
	rows := func(yield func(projections.UsageRow, error) bool) {
		_ = yield(row(1, "5", domain.USD), nil) && yield(row(2, "0.5", "EUR"), nil) && yield(row(4, "0.25", "EUR"), nil)
	}
	var out strings.Builder
	if err := usageTable(&out, usageSource{filter: projections.UsageFilter{By: []projections.Dimension{projections.ByModel}}, rows: rows}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`total +6 .* 0\.75 +EUR +2 +EUR`, `total +1 .* 5 +USD +1 +EUR`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no line like %s in\n%s", want, out.String())
		}
	}
}

func TestParseRange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, from, to, want string }{
		{"none", "", "", ""},
		{"open", "", "2026-11-01", ""},
		{"a day", "2026-11-01", "2026-11-02", ""},
		{"empty", "2026-11-01", "2026-11-01", "--to 2026-11-01 is not after --from 2026-11-01"},
		{"the wrong way round", "2026-11-02", "2026-11-01T12:00:00Z", "is not after"},
		{"no date", "now", "", `--from: "now" is neither a date`},
		{"no end", "", "2026-02-30", `--to: "2026-02-30" is neither a date`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := parseRange(test.from, test.to)
			if got := errText(err); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestParseIDFlag(t *testing.T) {
	t.Parallel()
	var id domain.OrgID
	if err := parseIDFlag(&id, ""); err != nil || !id.IsZero() {
		t.Errorf("none: %v, %v", id, err)
	}
	const text = "01a0fb60-0a29-7ccd-9c85-0ebbc320a824"
	if err := parseIDFlag(&id, text); err != nil || id.String() != text {
		t.Errorf("an id: %v, %v", id, err)
	}
	if err := parseIDFlag(&id, "acme"); !strings.Contains(errText(err), `"acme" is no id, which looks like`) {
		t.Errorf("a name: %v", err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
