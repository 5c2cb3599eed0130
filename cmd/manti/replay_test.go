package main_test

import (
	"strings"
	"testing"
	"time"

	"manti/db/dbtest"
	"manti/ledger"
)

// What is replayed at the ledger's end is what the live commands print; before
// the first event there was nothing; and what came later isn't there.
func TestReplay(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	database := dbtest.Open(t, dbtest.Options{Empty: true})
	env := environment{"DATABASE_URL": database.URL().Reveal(), "MANTI_SECRET": testSecret}
	manti(t, env, "demo", "--calls", "300", "--days", "5")
	pool := database.Pool(t, "")
	head, err := ledger.ReadHead(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	end, half := itoa(int(head.Size)), itoa(int(head.Size)/2)
	for live, past := range map[string][]string{
		"balances":                    {"balances"},
		"balances --json":             {"balances", "--json"},
		"usage --by day,org,model":    {"usage", "--by", "day,org,model"},
		"usage --json --by month,key": {"usage", "--json", "--by", "month,key"},
		"usage --from 2999-01-01":     {"usage", "--from", "2999-01-01"},
		"key list --all":              {"keys", "--all"},
		"key list --json":             {"keys", "--json"},
	} {
		want := manti(t, env, strings.Fields(live)...)
		for _, at := range []string{end, head.RecordedAt.Format(time.RFC3339Nano), "2999-01-01"} {
			if got := manti(t, env, append(append([]string{"replay"}, past...), "--at", at)...); got != want {
				t.Errorf("replay %v --at %s:\n%s\nwant\n%s", past, at, got, want)
			}
		}
	}
	auditor := environment{"DATABASE_URL": env["DATABASE_URL"]} // needs no secret, and may write nothing
	if got, want := manti(t, auditor, "replay", "balances", "--at", end), manti(t, env, "balances"); got != want {
		t.Errorf("replay by who has no secret:\n%s\nwant\n%s", got, want)
	}
	nothing := environment{"DATABASE_URL": dbtest.Open(t, dbtest.Options{Empty: true}).URL().Reveal()}
	if r := command(t, launch{args: []string{"replay", "balances", "--at", "0"}, env: nothing}); r.status != 1 || !strings.Contains(r.err, "isn't migrated") {
		t.Errorf("replay of an empty database: %+v", r)
	}
	calls := func(at string) int {
		return strings.Count(manti(t, env, "replay", "requests", "--json", "--at", at), "\n")
	}
	if now, then := calls(end), calls(half); now != 300 || then == 0 || then >= now {
		t.Errorf("%d calls at the end, %d half way", now, then)
	}
	for _, name := range []string{"balances", "usage", "keys", "requests", "orgs", "prices"} {
		r := command(t, launch{args: []string{"replay", name, "--at", "0", "--json"}, env: env})
		if r.status != 0 || r.out != "" || !strings.Contains(r.err, "before the first event") {
			t.Errorf("%s before the first event: %+v", name, r)
		}
		if out := manti(t, env, "replay", name, "--at", end); strings.Count(out, "\n") < 2 {
			t.Errorf("%s at the end: %q", name, out)
		}
	}
	for _, args := range [][]string{{"--at", "1"}, {"moon", "--at", "1"}, {"balances"}, {"balances", "--at", "yesterday"}, {"keys", "--at", "1", "--org", "acme"}, {"usage", "--at", "1", "--all"}} {
		if r := command(t, launch{args: append([]string{"replay"}, args...), env: env}); r.status != 2 || r.out != "" {
			t.Errorf("replay %v: %+v, want a mistake in the command line", args, r)
		}
	}
	if r := command(t, launch{args: []string{"replay", "balances", "--at", itoa(int(head.Size) + 1)}, env: env}); r.status != 1 || !strings.Contains(r.err, "no such place") {
		t.Errorf("replay beyond the end: %+v", r)
	}
}

// What can't be folded is marked wherever it is missing, until a rebuild folds it.
func TestParkedEventsAreMarked(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{Empty: true})
	env := environment{"DATABASE_URL": database.URL().Reveal(), "MANTI_SECRET": testSecret}
	manti(t, env, "demo", "--calls", "100", "--days", "3")
	pool := database.Pool(t, "")
	for _, p := range []string{"balances", "usage"} {
		_, err := pool.Exec(t.Context(), `INSERT INTO projections.parked (projection, index, id, kind, orgs, at, error)
			SELECT $1, index, id, kind, ARRAY[org_id], at, 'trap' FROM ledger.events e
			WHERE kind = 'RequestCompleted' AND NOT EXISTS (SELECT FROM ledger.supersedes s WHERE s.id = e.id) ORDER BY index LIMIT 1`, p)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args []string
		mark string
	}{
		{[]string{"balances"}, "*"},
		{[]string{"balances", "--json"}, `"incomplete":1`},
		{[]string{"usage"}, "*"},
		{[]string{"usage", "--json"}, `"incomplete":"1"`},
		{[]string{"export", "usage", "--csv"}, ",1\n"},
	} {
		r := command(t, launch{args: test.args, env: env})
		if r.status != 0 || !strings.Contains(r.out, test.mark) || !strings.Contains(r.err, "incomplete") {
			t.Errorf("%v: %+v, want %s", test.args, r, test.mark)
		}
	}
	manti(t, env, "rebuild", "--replace", "all")
	for _, args := range [][]string{{"balances"}, {"usage"}, {"usage", "--json"}} {
		if r := command(t, launch{args: args, env: env}); strings.Contains(r.out, "*") || strings.Contains(r.out, "incomplete") || r.err != "" {
			t.Errorf("%v after a rebuild: %+v", args, r)
		}
	}
}
