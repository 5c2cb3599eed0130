package ledger_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/dbtest"
	"manti/ledger"
)

// Every constraint of ledger.events refuses what it is there for, and takes what
// is allowed.
func TestConstraintsOfEvents(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	mustAppend(t, ledger.New(pool), calls(t, 1)...)
	tests := []struct {
		name, columns string // as a JSON object
		constraint    string // "" is allowed
	}{
		{"the same again", `{}`, ""},
		{"an index below zero", `{"index":-1}`, "events_index"},
		{"a short leaf", `{"leaf":"\\x00"}`, "events_leaf"},
		{"a private part without salt", `{"private_salt":null}`, "events_private"},
		{"a short salt", `{"private_salt":"\\x00"}`, "events_private"},
		{"a cost below zero", `{"cost":-1}`, "events_cost"},
		{"a cost of 19 decimals", `{"cost":0.0000000000000000001}`, "events_cost"},
		{"an infinite cost", `{"cost":"Infinity"}`, "events_cost"},
		{"a cost that is no number", `{"cost":"NaN"}`, "events_cost"},
		{"a charge below zero", `{"charge":-1}`, "events_charge"},
		{"a charge that is no number", `{"charge":"NaN"}`, "events_charge"},
		{"a charge of 18 decimals", `{"charge":0.000000000000000001}`, ""},
		{"nothing held", `{"held":0}`, "events_held"},
		{"currencies", `{"cost_currency":"EUR","charge_currency":"XTS"}`, ""},
		{"a cost without currency", `{"cost_currency":null}`, "events_cost_currency"},
		{"a currency in small letters", `{"cost_currency":"usd"}`, "events_cost_currency"},
		{"a currency of two letters", `{"cost_currency":"US"}`, "events_cost_currency"},
		{"a currency of four letters", `{"cost_currency":"USDX"}`, "events_cost_currency"},
		{"a currency and a line's end", `{"charge_currency":"USD\n"}`, "events_charge_currency"},
		{"a charge's currency with a digit", `{"charge_currency":"US1"}`, "events_charge_currency"},
		{"a charge without currency", `{"charge_currency":null}`, "events_charge_currency"},
		{"usage of zero", `{"reasoning":0}`, "events_usage"},
		{"usage below zero", `{"input":-1}`, "events_usage"},
		{"a call without request", `{"request_id":null}`, "events_call"},
		{"a call without cost", `{"cost":null,"cost_currency":null}`, "events_call"},
		{"another kind without cost", `{"kind":"Other","cost":null,"cost_currency":null}`, ""},
		{"a correction of nothing", `{"kind":"UsageCorrected"}`, "events_correction"},
	}
	covered := make(map[string]bool)
	for _, tt := range tests {
		covered[tt.constraint] = true
		const insert = `INSERT INTO ledger.events SELECT (jsonb_populate_record(e, '{"index":1}'::jsonb || $1::text::jsonb)).* FROM ledger.events e WHERE index = 0`
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), insert, tt.columns); err != nil {
				return err
			}
			return tx.Rollback(t.Context())
		})
		// An index below zero has no partition either.
		if got := db.Constraint(err); got != tt.constraint && !(tt.constraint == "events_index" && db.SQLState(err) == "23514") {
			t.Errorf("%s: refused by %q (%v), want %q", tt.name, got, err, tt.constraint)
		}
	}
	delete(covered, "")
	rows, err := pool.Query(t.Context(), `SELECT conname::text FROM pg_constraint WHERE conrelid = 'ledger.events'::regclass AND contype = 'c' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if diff := cmp.Diff(all, slices.Sorted(maps.Keys(covered))); diff != "" || err != nil {
		t.Errorf("constraints without a case here (-there +here):\n%s%v", diff, err)
	}
}
