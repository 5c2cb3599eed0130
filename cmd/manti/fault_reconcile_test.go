package main_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
	"manti/proxy/sim"
)

// reconcile settles the ledger by the provider's own report, as an operator does
// with a bill, and waives what the provider never saw. Then every call stands as
// the provider served it, to the token and the digit, and a second time changes
// nothing.
func (tr trial) reconcile(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	poll(t, "the provider to end its calls", func() bool { return open(tr.provider.Calls()) == 0 })
	calls := tr.provider.Calls()
	if len(tr.unknown) > 0 {
		bill, env := writeBill(t, calls), tr.env
		settle := func() int64 {
			manti(t, env, "correct", "--bill", bill, "--apply", "--reason", "the provider's own report")
			manti(t, env, "correct", "--unknown", "--waive", "--apply", "--reason", "the provider never saw them")
			return ledgerSize(t, pool)
		}
		if once, twice := settle(), settle(); once != twice {
			t.Errorf("reconciled a second time, the ledger grew from %d to %d events", once, twice)
		}
	}
	tr.checkReconciled(t, pool, calls)
	checkLedger(t, pool)
	foldBalances(t, pool)
	checkBalances(t, pool)
}

// checkReconciled compares what stands of each call with what was served.
func (tr trial) checkReconciled(t testing.TB, pool *pgxpool.Pool, calls []sim.Call) {
	t.Helper()
	book, err := projections.BuiltinPrices()
	if err != nil {
		t.Fatal(err)
	}
	stands, sum := readStanding(t, pool), decimal.Zero
	for _, c := range calls {
		e, amount := stands[c.ClientID], served(t, book, c)
		if diff := cmp.Diff(domain.Usage(c.Usage), e.Usage); diff != "" || !e.Charge.Equal(amount) || !e.Cost.Equal(amount) || !e.Held.IsZero() {
			t.Errorf("after reconciling, call %s is %s with cost %s, charge %s, held %s; served was %s (tokens: -provider +ledger):\n%s", c.ClientID, e.Outcome, e.Cost, e.Charge, e.Held, amount, diff)
		}
		delete(stands, c.ClientID)
		sum = sum.Add(amount)
	}
	for id, e := range stands {
		if !e.Charge.IsZero() || !e.Cost.IsZero() || !e.Held.IsZero() {
			t.Errorf("call %s, which the provider never saw, stands as %+v", id, e)
		}
	}
	foldBalances(t, pool)
	var owed decimal.Decimal
	if err := pool.QueryRow(t.Context(), `SELECT COALESCE(sum(charge), 0) FROM projections.balances`).Scan(&owed); err != nil {
		t.Fatal(err)
	}
	if !owed.Equal(sum) {
		t.Errorf("the balances say %s, the provider served for %s", owed, sum)
	}
}

// readStanding reads what stands of each call: what nothing supersedes.
func readStanding(t testing.TB, pool *pgxpool.Pool) map[string]entry {
	t.Helper()
	var meters []string
	for m := range domain.Meter(domain.MeterCount) {
		meters = append(meters, fmt.Sprintf("COALESCE(%s, 0)", m))
	}
	rows, err := pool.Query(t.Context(), `SELECT request_id::text, outcome, cost, charge, COALESCE(held, 0), ARRAY[`+strings.Join(meters, ", ")+`]
		FROM ledger.events e WHERE kind IN ('RequestCompleted', 'UsageCorrected') AND NOT EXISTS (SELECT FROM ledger.supersedes s WHERE s.id = e.id)`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]entry{}
	var e entry
	var usage []int64
	_, err = pgx.ForEachRow(rows, []any{&e.ID, &e.Outcome, &e.Cost, &e.Charge, &e.Held, &usage}, func() error {
		copy(e.Usage[:], usage)
		if _, twice := all[e.ID]; twice {
			t.Errorf("two events stand for call %s", e.ID)
		}
		all[e.ID] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// writeBill writes the provider's report as the CSV that an operator has.
func writeBill(t testing.TB, calls []sim.Call) string {
	t.Helper()
	name := filepath.Join(folder(t), "bill.csv")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	header := []string{"request_id"}
	for m := range domain.Meter(domain.MeterCount) {
		header = append(header, m.String())
	}
	lines := [][]string{header}
	for _, c := range calls {
		line := []string{c.ClientID}
		for _, n := range c.Usage {
			line = append(line, itoa(int(n)))
		}
		lines = append(lines, line)
	}
	if err := w.WriteAll(lines); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func ledgerSize(t testing.TB, pool *pgxpool.Pool) (n int64) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT size FROM ledger.head WHERE shard = 0`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
