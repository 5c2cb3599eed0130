package main_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/proxy/sim"
)

// entry is a call's event in the ledger.
type entry struct {
	ID         string
	Events     int // that say how the call ended; 1
	Outcome    domain.Outcome
	Provenance string
	Usage      domain.Usage
	Cost       decimal.Decimal
	Charge     decimal.Decimal
	Held       decimal.Decimal
	Error      string
	Status     int
}

// readLedger reads every call's event by the call's id.
func readLedger(t testing.TB, pool *pgxpool.Pool) map[string]entry {
	t.Helper()
	var meters []string
	for m := range domain.Meter(domain.MeterCount) {
		meters = append(meters, fmt.Sprintf("COALESCE(%s, 0)", m))
	}
	rows, err := pool.Query(t.Context(), `SELECT request_id::text, outcome, provenance, cost, charge, COALESCE(held, 0), COALESCE(error, ''), COALESCE(status, 0), ARRAY[`+
		strings.Join(meters, ", ")+`] FROM ledger.events WHERE kind = 'RequestCompleted'`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]entry{}
	for rows.Next() {
		var e entry
		var usage []int64
		if err := rows.Scan(&e.ID, &e.Outcome, &e.Provenance, &e.Cost, &e.Charge, &e.Held, &e.Error, &e.Status, &usage); err != nil {
			t.Fatal(err)
		}
		copy(e.Usage[:], usage)
		e.Events = all[e.ID].Events + 1
		all[e.ID] = e
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// checkLedger holds the ledger against itself: no gap in the indexes, nothing
// set aside.
func checkLedger(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	var size, count, distinct, highest, rejected int64
	err := pool.QueryRow(t.Context(), `SELECT (SELECT size FROM ledger.head), count(*), count(DISTINCT id), COALESCE(max(index), -1), (SELECT count(*) FROM ledger.rejected) FROM ledger.events`).
		Scan(&size, &count, &distinct, &highest, &rejected)
	if err != nil {
		t.Fatal(err)
	}
	if count != size || distinct != size || highest != size-1 {
		t.Errorf("the head says %d, but there are %d events with %d ids and the highest index is %d", size, count, distinct, highest)
	}
	if rejected != 0 {
		t.Errorf("%d records are in ledger.rejected", rejected)
	}
}

// checkBooks holds the provider's books against the ledger: every call that
// the provider began is there once; tokens are equal where the call completed;
// calls that were cut off hold what they could have cost, and charge nothing.
func checkBooks(t testing.TB, calls []sim.Call, ledger map[string]entry) {
	t.Helper()
	begun := map[string]bool{}
	for _, c := range calls {
		begun[c.ClientID] = true
		e, ok := ledger[c.ClientID]
		if !ok {
			t.Errorf("the provider began call %d (%q, %s, %s), but it isn't in the ledger", c.Number, c.ClientID, c.Model, c.Outcome)
			continue
		}
		if e.Outcome != domain.Unknown && c.Outcome == sim.Completed && c.Reported {
			if diff := cmp.Diff(domain.Usage(c.Usage), e.Usage); diff != "" {
				t.Errorf("call %s (%s): tokens of the provider and of the ledger differ (-provider +ledger):\n%s", e.ID, e.Outcome, diff)
			}
		}
	}
	for id, e := range ledger {
		checkEntry(t, e)
		if !begun[id] && e.Outcome != domain.Unknown && e.Outcome != domain.UpstreamFailed {
			t.Errorf("call %s is %s in the ledger, but the provider never saw it", id, e.Outcome)
		}
	}
}

func checkEntry(t testing.TB, e entry) {
	t.Helper()
	if e.Events != 1 {
		t.Errorf("call %s has %d events", e.ID, e.Events)
	}
	if e.Outcome == domain.Unknown {
		if !e.Held.IsPositive() || !e.Cost.IsZero() || !e.Charge.IsZero() || e.Usage != (domain.Usage{}) {
			t.Errorf("call %s is unknown with held %s, cost %s, charge %s, usage %v; want only held", e.ID, e.Held, e.Cost, e.Charge, e.Usage)
		}
		return
	}
	if !e.Held.IsZero() {
		t.Errorf("call %s is %s, and still holds %s", e.ID, e.Outcome, e.Held)
	}
	if e.Outcome == domain.Completed && (!e.Charge.IsPositive() || e.Provenance != string(domain.Reported)) {
		t.Errorf("call %s is completed with charge %s and usage that is %s", e.ID, e.Charge, e.Provenance)
	}
}

// checkSeen holds what callers saw against the ledger: a good end that somebody
// saw is a completed call.
func checkSeen(t testing.TB, calls []seen, ledger map[string]entry) {
	t.Helper()
	for _, s := range calls {
		switch e, ok := ledger[s.id]; {
		case s.whole && (!ok || e.Outcome != domain.Completed):
			t.Errorf("a caller saw the good end of call %s, which the ledger says is %q", s.id, e.Outcome)
		case s.status == 503 && ok && e.Status != 503:
			t.Errorf("call %s was refused, and is %s in the ledger", s.id, e.Outcome)
		}
	}
}

// balance is what an organisation owes in a currency.
type balance struct {
	Calls              int64
	Cost, Charge, Held string
}

// checkBalances waits until the projection has folded all, and holds its sums
// against those of the events, as of one moment: more may be on its way.
func checkBalances(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	const folded = `SELECT (SELECT size FROM ledger.head) = (SELECT index FROM projections.checkpoints WHERE name = 'balances')`
	const live = `SELECT org_id, currency, calls, trim_scale(cost)::text, trim_scale(charge)::text, trim_scale(held)::text FROM projections.balances`
	const summed = `SELECT org_id, charge_currency, count(*), trim_scale(sum(cost))::text, trim_scale(sum(charge))::text, trim_scale(sum(COALESCE(held, 0)))::text
		FROM ledger.events e WHERE kind IN ('RequestCompleted', 'UsageCorrected') AND NOT EXISTS (SELECT FROM ledger.supersedes s WHERE s.id = e.id) GROUP BY 1, 2`
	var events, balances map[string]balance
	poll(t, "the balances to be folded", func() bool {
		tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return false
		}
		defer func() { _ = tx.Rollback(t.Context()) }() // nothing was written
		done := false
		if err := tx.QueryRow(t.Context(), folded).Scan(&done); err != nil || !done {
			return false
		}
		events, balances = readBalances(t, tx, summed), readBalances(t, tx, live)
		return true
	})
	if diff := cmp.Diff(events, balances); diff != "" {
		t.Errorf("the balances aren't the sums of the events (-events +balances):\n%s", diff)
	}
}

func readBalances(t testing.TB, tx pgx.Tx, query string) map[string]balance {
	t.Helper()
	rows, err := tx.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]balance{}
	var org [16]byte
	var currency string
	var b balance
	_, err = pgx.ForEachRow(rows, []any{&org, &currency, &b.Calls, &b.Cost, &b.Charge, &b.Held}, func() error {
		all[fmt.Sprintf("%x %s", org, currency)] = b
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// awaitQuery waits until a query answers true. The database may be away.
func awaitQuery(t testing.TB, pool *pgxpool.Pool, what, query string, args ...any) {
	t.Helper()
	poll(t, what, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var done bool
		return pool.QueryRow(ctx, query, args...).Scan(&done) == nil && done
	})
}
