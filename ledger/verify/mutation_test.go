package verify_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"manti/ledger/seal"
	"manti/ledger/verify"
)

// The attacker is a superuser of the server, without the signing key. Nothing
// that the database enforces holds them: constraints are dropped for good, and
// triggers taken off while they work.
const (
	dropConstraints = `DO $$ DECLARE r record; BEGIN
		FOR r IN SELECT conrelid::regclass AS tbl, conname FROM pg_constraint JOIN pg_class c ON c.oid = conrelid
			WHERE connamespace = 'ledger'::regnamespace AND contype IN ('c', 'f') AND coninhcount = 0 LOOP
			EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', r.tbl, r.conname);
		END LOOP;
		FOR r IN SELECT attrelid::regclass AS tbl, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
			WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0 AND attnotnull
			AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND indisprimary AND attnum = ANY(indkey)) LOOP
			EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', r.tbl, r.attname);
		END LOOP;
	END $$`
	triggersOff = `DO $$ DECLARE r record; BEGIN
		FOR r IN SELECT tgrelid::regclass AS tbl, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'ledger'::regnamespace AND NOT tgisinternal LOOP
			EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', r.tbl, r.tgname);
		END LOOP;
	END $$`
	triggersOn = `DO $$ DECLARE r record; BEGIN
		FOR r IN SELECT tgrelid::regclass AS tbl, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'ledger'::regnamespace AND NOT tgisinternal LOOP
			EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', r.tbl, r.tgname);
		END LOOP;
	END $$`
	// rehash makes the stored leaves those of what stands there.
	rehash = `UPDATE ledger.events SET leaf = sha256('\x00'::bytea || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint) || canonical)`
)

// newVictim is a book of which no constraint holds any more.
func newVictim(t *testing.T) *book {
	t.Helper()
	b := newBook(t)
	b.exec(t, dropConstraints)
	return b
}

// attack runs statements, those of after with the triggers on again, verifies
// what they leave, and takes them back.
func (b *book) attack(t *testing.T, outside []byte, statements, after []string) verify.Report {
	t.Helper()
	tx, err := b.super.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // the database goes with the test
	for _, statement := range slices.Concat([]string{triggersOff}, statements, []string{triggersOn}, after) {
		if _, err := tx.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	cfg := b.config(nil)
	if cfg.Outside = outside; outside == nil {
		cfg.Accepted = nil
	}
	r, err := verify.RunIn(t.Context(), tx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tables are those that something is wrong with, in order.
func tables(r verify.Report) string {
	var names []string
	for _, c := range r.Counts {
		if !slices.Contains(names, c.Table) {
			names = append(names, c.Table)
		}
	}
	return strings.Join(names, " ")
}

// What is said to be found by a table's check alone shows that the check is
// needed: without it the attack passes.
func TestAttacksAreFound(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	stranger := newSigner(t)
	edit := `UPDATE ledger.events SET canonical = convert_to(replace(convert_from(substr(canonical, 1, length(canonical) - 64), 'UTF8'), '"amount":"0.005875"', '"amount":"0.000875"'), 'UTF8') || substr(canonical, length(canonical) - 63), charge = 0.000875 WHERE index = 150`
	retile := `UPDATE ledger.tiles SET hashes = (SELECT string_agg(leaf, NULL ORDER BY index) FROM ledger.events WHERE index < 256) WHERE level = 0 AND tile = 0`
	for _, a := range []struct {
		name       string
		statements []string
		after      []string // with the triggers on again
		alone      bool     // without a checkpoint from outside
		tables     string   // that something is wrong with, and no others
		index      int64    // the first that is named, NoIndex if none
	}{
		{name: "nothing", index: verify.NoIndex},
		{name: "an amount and its canonical bytes", statements: []string{edit}, tables: "checkpoints events tiles", index: 150},
		{name: "and the leaf", statements: []string{edit, rehash}, tables: "checkpoints events tiles", index: 150},
		{name: "and the tiles", statements: []string{edit, rehash, retile}, tables: "checkpoints events", index: 0},
		{name: "and the tiles, without a checkpoint from outside", statements: []string{edit, rehash, retile}, alone: true, tables: "checkpoints", index: 0},
		{name: "a leaf alone", statements: []string{`UPDATE ledger.events SET leaf = sha256(leaf) WHERE index = 5`}, tables: "events", index: 5},
		{name: "a tile", statements: []string{`UPDATE ledger.tiles SET hashes = set_byte(hashes, 32 * 100 + 1, 7)`}, tables: "tiles", index: 100},
		{name: "tiles dropped", statements: []string{`TRUNCATE ledger.tiles`}, tables: "tiles", index: 0},
		{name: "a tile of nothing", statements: []string{`INSERT INTO ledger.tiles SELECT 0, 7, 256, hashes FROM ledger.tiles`}, tables: "tiles", index: verify.NoIndex},
		{name: "a row deleted", statements: []string{`DELETE FROM ledger.events WHERE index = 42`}, tables: "checkpoints erasable events ids tiles", index: 42},
		{name: "the last row deleted", statements: []string{`DELETE FROM ledger.events WHERE index = 312`}, tables: "erasable events ids", index: 312},
		{name: "a row inserted", statements: []string{insertRow}, tables: "events", index: 313},
		{name: "a row inserted with its head", statements: []string{insertRow, `UPDATE ledger.head SET size = 314`}, tables: "erasable events head ids", index: 313},
		{name: "two swapped", statements: swap("events"), tables: "checkpoints erasable events ids tiles", index: 7},
		{name: "two swapped with all that belongs to them", statements: slices.Concat(swap("events"), swap("ids"), swap("erasable"), []string{rehash, retile}), tables: "checkpoints events", index: 0},
		{name: "a partition truncated", statements: []string{`TRUNCATE ledger.events_00000`}, tables: "answers checkpoints erasable events ids supersedes tiles", index: 0},
		{name: "a partition detached", statements: []string{`ALTER TABLE ledger.events DETACH PARTITION ledger.events_00000`}, tables: "answers checkpoints erasable events events_00000 ids supersedes tiles", index: 0},
		{name: "a partition of ids detached", statements: []string{`ALTER TABLE ledger.ids DETACH PARTITION ledger.ids_default`}, tables: "ids_default", index: verify.NoIndex},
		{name: "a partition dropped", statements: []string{`DROP TABLE ledger.events_00000`}, tables: "answers checkpoints erasable events events_00000 ids supersedes tiles", index: 0},
		{name: "an id dropped", statements: []string{`DELETE FROM ledger.ids WHERE index = 9`}, tables: "ids", index: 9},
		{name: "an id at another place", statements: []string{`UPDATE ledger.ids SET index = 11 WHERE index = 10`}, tables: "ids", index: 10},
		{name: "a strange id", statements: []string{`INSERT INTO ledger.ids VALUES (gen_random_uuid(), 10)`}, tables: "ids", index: 10},
		{name: "supersession dropped", statements: []string{`TRUNCATE ledger.supersedes`}, tables: "supersedes", index: correction},
		{name: "a strange supersession", statements: []string{`INSERT INTO ledger.supersedes SELECT id, (SELECT id FROM ledger.events WHERE index = 5), 5 FROM ledger.events WHERE index = 4`}, tables: "supersedes", index: 5},
		{name: "an erasure that no event tells of", statements: []string{`DELETE FROM ledger.erasable WHERE index = 20`}, tables: "erasable", index: 20},
		{name: "an erasure taken back", statements: []string{`INSERT INTO ledger.erasable SELECT 17, id, salt, data FROM ledger.erasable WHERE index = 18`}, tables: "erasable", index: 17},
		{name: "a strange erasable part", statements: []string{`INSERT INTO ledger.erasable SELECT 5000, id, salt, data FROM ledger.erasable WHERE index = 18`}, tables: "erasable", index: 5000},
		{name: "checkpoints dropped", statements: []string{`TRUNCATE ledger.checkpoints`}, tables: "checkpoints", index: verify.NoIndex},
		{name: "the last checkpoint dropped", statements: []string{`DELETE FROM ledger.checkpoints WHERE size > 200`}, tables: "checkpoints", index: verify.NoIndex},
		{name: "a checkpoint of another size", statements: []string{`UPDATE ledger.checkpoints SET size = 201 WHERE size = 200`}, tables: "checkpoints", index: verify.NoIndex},
		{name: "a checkpoint of another key", statements: []string{`UPDATE ledger.checkpoints SET note = '` + resigned(t, v, stranger) + `' WHERE size = 200`}, tables: "checkpoints", index: verify.NoIndex},
		{name: "all of another key, without one from outside", statements: []string{edit, rehash, retile, `TRUNCATE ledger.checkpoints`,
			`INSERT INTO ledger.checkpoints VALUES (200, '` + resigned(t, v, stranger) + `')`}, alone: true, tables: "checkpoints", index: verify.NoIndex},
		{name: "the head moved back", statements: []string{`UPDATE ledger.head SET size = 250`}, tables: "checkpoints erasable events head ids supersedes tiles", index: 249},
		{name: "the head's time", statements: []string{`UPDATE ledger.head SET recorded_at = recorded_at + interval '1 s'`}, tables: "head", index: 312},
		{name: "an older copy", statements: olderCopy, tables: "events", index: 200},
		{name: "a rejected record gone", statements: []string{`TRUNCATE ledger.rejected, ledger.answers`}, tables: "rejected", index: answered},
		{name: "an answer gone", statements: []string{`TRUNCATE ledger.answers`}, tables: "answers", index: verify.NoIndex},
		{name: "an answer of no event", statements: []string{`UPDATE ledger.answers SET by = gen_random_uuid()`}, tables: "answers", index: verify.NoIndex},
		{name: "a record without an answer", statements: []string{`INSERT INTO ledger.rejected (digest, reason, record) VALUES (sha256('\x01'), 'test', '\x01')`}, tables: "rejected", index: verify.NoIndex},
		{name: "a trigger off", after: []string{`ALTER TABLE ledger.tiles DISABLE TRIGGER refuse_truncate`}, tables: "tiles", index: verify.NoIndex},
		{name: "a trigger's function", statements: []string{`CREATE OR REPLACE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`}, tables: "refuse_change", index: verify.NoIndex},
		{name: "a trigger dropped", statements: []string{`DROP TRIGGER refuse_truncate ON ledger.events_00001`}, tables: "events_00001", index: verify.NoIndex},
		{name: "rows hidden", statements: []string{`ALTER TABLE ledger.answers ENABLE ROW LEVEL SECURITY`}, tables: "answers", index: verify.NoIndex},
		{name: "a rule", statements: []string{`CREATE RULE r AS ON INSERT TO ledger.answers DO INSTEAD NOTHING`}, tables: "answers", index: verify.NoIndex},
		{name: "a column added", statements: []string{`ALTER TABLE ledger.events ADD COLUMN more text`}, tables: "events", index: verify.NoIndex},
	} {
		t.Run(a.name, func(t *testing.T) {
			outside := v.outside
			if a.alone {
				outside = nil
			}
			r := v.attack(t, outside, a.statements, a.after)
			first := int64(verify.NoIndex)
			if len(r.Findings) > 0 {
				first = r.Findings[0].Index
			}
			if got := tables(r); got != a.tables || first != a.index {
				t.Errorf("got %q from event %d, want %q from %d:\n%s", got, first, a.tables, a.index, lines(r))
			}
		})
	}
}

// insertRow adds a copy of an event behind the last.
const insertRow = `INSERT INTO ledger.events SELECT (jsonb_populate_record(NULL::ledger.events, to_jsonb(e) || '{"index": 313}')).* FROM ledger.events e WHERE index = 7`

// swap gives two events each other's rows of a table.
func swap(table string) []string {
	return []string{
		`UPDATE ledger.` + table + ` SET index = 16000000 WHERE index = 7`, `UPDATE ledger.` + table + ` SET index = 7 WHERE index = 8`,
		`UPDATE ledger.` + table + ` SET index = 8 WHERE index = 16000000`,
	}
}

// olderCopy leaves what a backup of the time of the first checkpoint has.
var olderCopy = []string{
	`DELETE FROM ledger.events WHERE index >= 200`, `DELETE FROM ledger.ids WHERE index >= 200`, `DELETE FROM ledger.erasable WHERE index >= 200`,
	`INSERT INTO ledger.erasable SELECT * FROM public.kept`, `TRUNCATE ledger.supersedes`, `TRUNCATE ledger.tiles`, `TRUNCATE ledger.rejected, ledger.answers`,
	`DELETE FROM ledger.checkpoints WHERE size > 200`, `UPDATE ledger.head SET size = 200, recorded_at = (SELECT recorded_at FROM ledger.events WHERE index = 199)`,
}

// resigned is the first checkpoint of the victim, signed by another key.
func resigned(t *testing.T, v *book, signer *seal.Signer) string {
	t.Helper()
	var note string
	if err := v.super.QueryRow(t.Context(), `SELECT note FROM ledger.checkpoints WHERE size = 200`).Scan(&note); err != nil {
		t.Fatal(err)
	}
	c, err := seal.ParseCheckpoint([]byte(note))
	if err != nil {
		t.Fatal(err)
	}
	if c, err = signer.Sign(c); err != nil {
		t.Fatal(err)
	}
	return c.Note
}

// changes are how a value of each type is edited.
var changes = map[string]string{
	"uuid": `gen_random_uuid()`, "bigint": `COALESCE(%, 0) + 1`, "smallint": `COALESCE(%, 0) + 1`, "integer": `COALESCE(%, 0) + 1`, "boolean": `NOT COALESCE(%, true)`,
	"timestamp with time zone": `COALESCE(%, 'epoch') + interval '1 microsecond'`, "numeric": `COALESCE(%, 0) + 0.000001`, "text": `COALESCE(%, '') || '.'`,
	"text[]": `array_append(%, 'more')`, "jsonb": `COALESCE(%, '{}') || '{"more": "x"}'`,
	"bytea": `CASE WHEN % IS NULL THEN '\x00112233445566778899aabbccddeeff'::bytea ELSE set_byte(%, length(%) - 1, 255 - get_byte(%, length(%) - 1)) END`,
}

// notEvidence are columns of which verify can't know what must be in them, with
// the reason.
var notEvidence = map[string]string{
	"head.frozen": "a state, which is reported", "head.reason": "a state, which is reported",
	"rejected.received_at": "nothing else says it", "rejected.reason": "nothing else says it", "rejected.sqlstate": "nothing else says it",
	"checkpoints.made_at": "not signed: the events' own times are",
}

// Every column of every table of the ledger is edited, emptied, and filled where
// it was empty; a column that a migration adds is tried by itself.
func TestEveryColumnIsChecked(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	rows, err := v.super.Query(t.Context(), `SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), COALESCE(attnum = ANY(i.indkey), false)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
		WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum`)
	if err != nil {
		t.Fatal(err)
	}
	type column struct {
		Table, Name, Type string
		Key               bool
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		t.Fatal(err)
	}
	tx, err := v.super.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // the database goes with the test
	if _, err := tx.Exec(t.Context(), triggersOff); err != nil {
		t.Fatal(err)
	}
	for _, c := range columns {
		if c.Table == "spools" || notEvidence[c.Table+"."+c.Name] != "" { // what shippers report is no evidence
			continue
		}
		edit, ok := changes[c.Type]
		if !ok {
			t.Fatalf("%s.%s: how is a %s edited?", c.Table, c.Name, c.Type)
		}
		if edit = strings.ReplaceAll(edit, "%", c.Name); c.Key && c.Type != "bytea" && c.Type != "uuid" {
			edit = c.Name + " + 1000" // where no other row is
		}
		for what, change := range map[string]struct{ set, where string }{
			"edited": {edit, "IS NOT NULL"}, "emptied": {"NULL", "IS NOT NULL"}, "filled": {edit, "IS NULL"},
		} {
			if c.Key && what != "edited" {
				continue
			}
			table := "ledger." + c.Table
			if v.count(t, `SELECT count(*) FROM `+table+` WHERE `+c.Name+` `+change.where) == 0 {
				if what == "edited" {
					t.Errorf("%s.%s: no row has a value", table, c.Name)
				}
				continue
			}
			statement := fmt.Sprintf(`UPDATE %[1]s SET %[2]s = %[3]s WHERE ctid = (SELECT ctid FROM %[1]s WHERE %[2]s %[4]s LIMIT 1)`, table, c.Name, change.set, change.where)
			if f := v.edit(t, tx, statement); len(f) == 0 {
				t.Errorf("%s.%s %s: nothing is found", table, c.Name, what)
			} else if !slices.ContainsFunc(f, func(f verify.Finding) bool { return names(f, c.Table, c.Name) }) {
				t.Errorf("%s.%s %s: %s", table, c.Name, what, f)
			}
		}
	}
}

// edit runs a statement, verifies what it leaves, and takes it back.
func (b *book) edit(t *testing.T, tx pgx.Tx, statement string) []verify.Finding {
	t.Helper()
	inner, err := tx.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inner.Rollback(t.Context()) }() // a failure shows in the next
	if tag, err := inner.Exec(t.Context(), statement); err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%s: %s %v", statement, tag, err)
	}
	r, err := verify.RunIn(t.Context(), inner, b.config(nil))
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return slices.DeleteFunc(r.Findings, func(f verify.Finding) bool { return strings.Contains(f.Problem, "trigger") })
}

// names reports whether a finding names the column, or that by which its edit is
// found.
func names(f verify.Finding, table, column string) bool {
	if f.Table == table && (f.Column == column || f.Column == "") {
		return true
	}
	return foundBy[table+"."+column] == f.Table+"."+f.Column
}

// foundBy are columns that are named by another.
var foundBy = map[string]string{
	"events.index": "events.", "events.recorded_at": "events.leaf", "events.private_salt": "events.private", "events.canonical": "events.leaf",
	"head.shard": "head.size", "head.size": "events.", "erasable.index": "erasable.", "erasable.salt": "erasable.data",
}
