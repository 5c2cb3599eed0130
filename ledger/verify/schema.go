package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"manti/db"
)

// partitionEvents is how many indexes a partition of events holds.
const partitionEvents = 1 << 24

func partitionName(number int64) string { return fmt.Sprintf("events_%05d", number) }

// guarded are the tables of the ledger with the operations that triggers refuse
// besides TRUNCATE.
var guarded = map[string]string{
	"events": "DELETE UPDATE", "ids": "DELETE UPDATE", "erasable": "UPDATE", "supersedes": "DELETE UPDATE", "rejected": "DELETE UPDATE",
	"answers": "DELETE UPDATE", "tiles": "DELETE UPDATE", "checkpoints": "DELETE UPDATE", "head": "DELETE", "spools": "DELETE",
}

// guardFunctions are the functions that triggers run, with the begin of the
// SHA-256 of their bodies.
var guardFunctions = map[string]string{
	"refuse_change": "fd51c4a384c5eb47",
	"move_head":     "a32f28f081b600a8",
}

// schema looks at what guards the ledger against accidents. None of it is
// evidence: a superuser passes it all.
func (r *run) schema(ctx context.Context, tx pgx.Tx) error {
	for _, step := range []func(context.Context, pgx.Tx) error{r.tables, r.triggers, r.functions, r.partitions, r.separation} {
		if err := step(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// tables sees to it that each table is one, and shows its rows as they are.
func (r *run) tables(ctx context.Context, tx pgx.Tx) error {
	missing := make(map[string]bool)
	for table := range guarded {
		missing[table] = true
	}
	var name, kind string
	var rules, rowSecurity, logged bool
	err := each(ctx, tx, "tables", []any{&name, &kind, &rules, &rowSecurity, &logged}, func() error {
		f := Finding{Index: NoIndex, Table: name}
		delete(missing, name)
		switch {
		case kind != "r" && kind != "p":
			f.Problem = "is no table"
		case rules:
			f.Problem = "has a rule, which changes what statements do"
		case rowSecurity:
			f.Problem = "has row security, which hides rows"
		case !logged:
			f.Problem = "is not logged: a crash empties it"
		default:
			return nil
		}
		r.found.add(f)
		return nil
	}, `SELECT relname::text, relkind::text, EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid), relrowsecurity, relpersistence = 'p' FROM pg_class
		WHERE relnamespace = 'ledger'::regnamespace AND (relkind IN ('r', 'p') OR relname = ANY($1) AND relkind NOT IN ('i', 'I', 't'))`, tableNames())
	for name := range missing {
		r.found.add(Finding{Index: NoIndex, Table: name, Problem: "there is no such table"})
	}
	return err
}

func tableNames() []string {
	var names []string
	for name := range guarded {
		names = append(names, name)
	}
	return slices.Sorted(slices.Values(names))
}

// triggers sees to it that those that refuse changes are there, for the owner and
// under session_replication_role = replica too (ENABLE ALWAYS).
func (r *run) triggers(ctx context.Context, tx pgx.Tx) error {
	type key struct{ table, trigger string }
	want := make(map[key]bool)
	for table, operations := range guarded {
		want[key{table, "refuse_truncate TRUNCATE"}] = true
		want[key{table, "refuse_change " + operations}] = true
	}
	want[key{"head", "move_head UPDATE"}] = true
	var table, parent, trigger, function string
	var truncate, remove, update bool
	var enabled string
	err := each(ctx, tx, "partitions", []any{&table, &parent}, func() error {
		want[key{table, "refuse_truncate TRUNCATE"}] = true
		want[key{table, "refuse_change " + guarded[parent]}] = true
		return nil
	}, `SELECT c.relname::text, p.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
		WHERE p.relnamespace = 'ledger'::regnamespace AND p.relname IN ('events', 'ids') AND p.relkind = 'p' AND NOT c.relispartition IS FALSE`)
	if err != nil {
		return err
	}
	err = each(ctx, tx, "triggers", []any{&table, &trigger, &function, &enabled, &truncate, &remove, &update}, func() error {
		var operations []string
		for name, is := range map[string]bool{"TRUNCATE": truncate, "DELETE": remove, "UPDATE": update} {
			if is {
				operations = append(operations, name)
			}
		}
		slices.Sort(operations)
		k := key{table, trigger + " " + strings.Join(operations, " ")}
		if !want[k] {
			return nil
		}
		delete(want, k)
		expected := "ledger.refuse_change"
		if trigger == "move_head" {
			expected = "ledger.move_head"
		}
		switch {
		case enabled != "A":
			r.found.add(Finding{Index: NoIndex, Table: table, Problem: "a trigger that refuses changes is not enabled always", Found: trigger})
		case function != expected:
			r.found.add(Finding{Index: NoIndex, Table: table, Problem: "a trigger runs another function", Expected: expected, Found: function})
		}
		return nil
	}, `SELECT c.relname::text, t.tgname::text, n.nspname || '.' || p.proname, t.tgenabled::text, t.tgtype & 32 <> 0, t.tgtype & 8 <> 0, t.tgtype & 16 <> 0
		FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE c.relnamespace = 'ledger'::regnamespace AND t.tgqual IS NULL AND t.tgtype & 2 <> 0`)
	for k := range want {
		r.found.add(Finding{Index: NoIndex, Table: k.table, Problem: "a trigger that refuses changes is missing", Expected: k.trigger})
	}
	return err
}

// functions sees to it that what the triggers run still refuses.
func (r *run) functions(ctx context.Context, tx pgx.Tx) error {
	var name, source string
	return each(ctx, tx, "functions", []any{&name, &source}, func() error {
		digest := sha256.Sum256([]byte(source))
		if found := hex.EncodeToString(digest[:8]); found != guardFunctions[name] {
			r.found.add(Finding{Index: NoIndex, Table: name, Problem: "the function of a trigger has another body", Expected: guardFunctions[name], Found: found})
		}
		return nil
	}, `SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND proname IN ('refuse_change', 'move_head')`)
}

// partitions names those that are missing, and tables that were once one.
func (r *run) partitions(ctx context.Context, tx pgx.Tx) error {
	missing := make(map[string]int64)
	for number := int64(0); number<<24 < r.head.Size; number++ {
		missing[partitionName(number)] = number
	}
	var name string
	var attached bool
	err := each(ctx, tx, "partitions", []any{&name, &attached}, func() error {
		if !attached {
			r.found.add(Finding{Index: NoIndex, Table: name, Problem: "the partition is detached: its rows are no part of the ledger"})
		}
		delete(missing, name)
		return nil
	}, `SELECT c.relname::text, i.inhrelid IS NOT NULL AND NOT i.inhdetachpending FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
		WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^(events_[0-9]+|ids_[0-9]{4}_[0-9]{2}|ids_default)$'`)
	for name, number := range missing {
		r.found.add(Finding{Index: number << 24, Through: (number+1)<<24 - 1, Table: name, Problem: "the partition is missing"})
	}
	return err
}

// separation says how far roles guard the ledger.
func (r *run) separation(ctx context.Context, tx pgx.Tx) error {
	roles, err := db.InspectRoles(ctx, tx)
	r.report.Separation, r.report.SeparationReason = string(roles.Separation), roles.Reason
	return err
}
