package main_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
)

// question is one of docs/audit.md: its SQL and its answer.
var question = regexp.MustCompile("(?ms)^## ([^\n]+)\n(?:[^#`]|`[^`])*?^```sql\n(.*?)^```\n\n```text\n(.*?)^```\n")

// minQuestions is how many the document must have at least.
const minQuestions = 15

// What docs/audit.md says is what the auditor's role is told of the demo.
func TestAuditDocument(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		t.Skip("a test of SQL: the race detector has nothing to say of it")
	}
	database := dbtest.Open(t, dbtest.Options{Empty: true})
	env := environment{"DATABASE_URL": database.URL().Reveal(), "MANTI_SECRET": testSecret, "MANTI_DATA": folder(t), "MANTI_CHECKPOINTS": folder(t)}
	manti(t, env, "demo", "--calls", "2000", "--days", "30", "--until", "2026-11-01")
	env["MANTI_SEAL_KEY"] = strings.TrimSpace(manti(t, env, "seal", "keygen", "--origin", "manti/demo"))
	env["MANTI_ORIGIN"] = "manti/demo"
	manti(t, env, "seal", "--once")

	const name = "../../docs/audit.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	auditor := database.Pool(t, db.RoleAuditor)
	asked := 0
	answered := question.ReplaceAllFunc(text, func(section []byte) []byte {
		m := question.FindSubmatch(section)
		asked++
		got := answerOf(t, auditor, string(m[1]), string(m[2]))
		end := len(section) - len("```\n") - len(m[3])
		return append(append(bytes.Clone(section[:end]), got...), "```\n"...)
	})
	if asked < minQuestions || asked != strings.Count(string(text), "```sql") {
		t.Errorf("%d of %d questions were asked", asked, strings.Count(string(text), "```sql"))
	}
	if updating() {
		if err := os.WriteFile(name, answered, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), string(answered)); diff != "" {
		t.Errorf("the document isn't what the demo says; -update rewrites it (-document +demo):\n%s", diff)
	}
}

// updating reports whether go test was given -update.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

// answerOf runs a question and returns its answer as a table.
func answerOf(t *testing.T, pool *pgxpool.Pool, title, query string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Auditors are in no hurry; the pools of tests have serve's timeouts.
		if _, err := tx.Exec(t.Context(), `SET LOCAL timezone = 'UTC'; SET LOCAL statement_timeout = '2min'; SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
			return err
		}
		return writeAnswer(t.Context(), &out, tx, query)
	})
	if err != nil {
		t.Errorf("%s: %v", title, err)
	}
	return out.Bytes()
}

func writeAnswer(ctx context.Context, out *bytes.Buffer, tx pgx.Tx, query string) error {
	rows, err := tx.Query(ctx, query, pgx.QueryExecModeSimpleProtocol) // in which all values are text
	if err != nil {
		return err
	}
	defer rows.Close()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var names []string
	for _, f := range rows.FieldDescriptions() {
		names = append(names, f.Name)
	}
	fmt.Fprintln(w, strings.Join(names, "\t"))
	for rows.Next() {
		var values []string
		for _, v := range rows.RawValues() {
			values = append(values, string(v))
		}
		fmt.Fprintln(w, strings.Join(values, "\t"))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	trimmed := regexp.MustCompile(` +\n`).ReplaceAll(out.Bytes(), []byte("\n"))
	out.Reset()
	out.Write(trimmed)
	return nil
}

// What corrections and erasures do to a ledger, by the command line.
func TestCorrectAndForget(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		t.Skip("a test of whole processes: the packages' own tests have the detector")
	}
	database := dbtest.Open(t, dbtest.Options{Empty: true})
	env := environment{"DATABASE_URL": database.URL().Reveal(), "MANTI_SECRET": testSecret, "MANTI_DATA": folder(t)}
	manti(t, env, "demo", "--calls", "400", "--days", "10", "--until", "2026-11-01")
	pool := database.Pool(t, db.RoleAuditor)
	size := func() (n int64) { return scalar[int64](t, pool, `SELECT size FROM ledger.head`) }
	owed := func() string { return scalar[string](t, pool, `SELECT sum(charge)::text FROM audit.calls`) }
	before, charge := size(), owed()

	// Dry first, then for good, then nothing more.
	rerate := []string{"correct", "--rerate", "3", "--model", "gpt-4o-mini", "--to", "2026-10-26"}
	if out := manti(t, env, rerate...); !strings.Contains(out, "DIFFERENCE") || !strings.Contains(out, "Nothing was changed") || size() != before {
		t.Errorf("a dry run left %d events for %d and printed\n%s", size(), before, out)
	}
	rerate = append(rerate, "--apply", "--reason", "a test")
	if out := manti(t, env, rerate...); !strings.Contains(out, "calls were corrected") || size() == before || owed() == charge {
		t.Errorf("rerate left %d events for %d and printed\n%s", size(), before, out)
	}
	before = size()
	if out := manti(t, env, rerate...); !strings.Contains(out, "Nothing to correct") || size() != before {
		t.Errorf("a second time, rerate made %d events and printed\n%s", size()-before, out)
	}

	// A bill by manti's own ids; then one call by hand; then what nobody knows.
	call := scalar[string](t, pool, `SELECT request_id::text FROM audit.calls WHERE outcome = 'unknown' AND NOT corrected ORDER BY index LIMIT 1`)
	bill := filepath.Join(t.TempDir(), "bill.csv")
	if err := os.WriteFile(bill, []byte("request_id,input,output\n"+call+",1200,34\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	manti(t, env, "correct", "--bill", bill, "--apply", "--reason", "the provider's report")
	if got := scalar[string](t, pool, `SELECT input || ' ' || output || ' ' || provenance || ' ' || held || ' ' || (charge > 0) FROM audit.calls WHERE request_id = '`+call+`'`); got != "1200 34 reported 0 true" {
		t.Errorf("after its bill, the call is %s", got)
	}
	manti(t, env, "correct", call, "--output", "35", "--apply", "--reason", "a test")
	manti(t, env, "correct", "--unknown", "--estimate", "--apply", "--reason", "a test")
	if n := scalar[int64](t, pool, `SELECT count(*) FROM audit.calls WHERE held > 0 OR request_id = '`+call+`' AND output <> 35`); n != 0 {
		t.Errorf("%d calls are still held, or not what they were corrected to", n)
	}

	// Receipts of forgotten calls hold as before.
	env["MANTI_SEAL_KEY"] = strings.TrimSpace(manti(t, env, "seal", "keygen", "--origin", "manti/demo"))
	env["MANTI_ORIGIN"] = "manti/demo"
	manti(t, env, "seal", "--once")
	theirs := scalar[string](t, pool, `SELECT e.request_id::text FROM ledger.erasable x JOIN ledger.events e USING (index) WHERE x.end_user = 'user-3' ORDER BY index LIMIT 1`)
	receipt := manti(t, env, "receipt", theirs)

	charge = owed()
	if out := manti(t, env, "forget", "--end-user", "user-3"); !strings.Contains(out, "Nothing was erased") {
		t.Errorf("a dry run printed %s", out)
	}
	manti(t, env, "forget", "--end-user", "user-3", "--apply")
	user := scalar[string](t, pool, `SELECT user_id::text FROM audit.keys ORDER BY index LIMIT 1`)
	manti(t, env, "forget", user, "--apply")
	if out := manti(t, env, "forget", user, "--apply"); !strings.Contains(out, "none holds anything") {
		t.Errorf("forgotten a second time: %s", out)
	}
	left := scalar[int64](t, pool, `SELECT count(*) FROM ledger.erasable x JOIN ledger.events e USING (index) WHERE x.end_user = 'user-3' OR e.user_id = '`+user+`'`)
	if again := manti(t, env, "receipt", theirs); again != receipt {
		t.Errorf("the receipt was\n%s\nand is now\n%s", receipt, again)
	}
	if left != 0 || owed() != charge {
		t.Errorf("%d parts are left, and %s is owed for %s", left, owed(), charge)
	}
	for _, args := range [][]string{{"correct"}, {"correct", call, "--rerate", "1"}, {"correct", call}, {"correct", "--unknown"}, {"correct", "--unknown", "--waive", "--cost", "1"},
		{"correct", "--rerate", "3", "--apply"}, {"correct", "--rerate", "99"}, {"correct", "--answer", "xy"}, {"correct", "x", "--input", "1"}, {"correct", call, "--charge", "1e400"}, {"correct", call, "--cost", "-1"},
		{"correct", "--unknown", "--waive", "--apply", "--reason", " "}, {"correct", "--rerate", "3", "--from", "2026-10-02", "--to", "2026-10-01"}, {"forget"}, {"forget", "x"}, {"forget", user, "--end-user", "x"}} {
		if r := command(t, launch{args: args, env: env}); r.status != 2 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func scalar[T any](t *testing.T, pool *pgxpool.Pool, query string) (value T) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}
