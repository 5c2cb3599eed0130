package ledger_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

const stateNoPrivilege = "42501"

// filled is a database with a row in every table of the ledger.
func filled(t *testing.T) *dbtest.Database {
	t.Helper()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	l := ledger.New(pool)
	first := calls(t, 1)[0]
	broken := calls(t, 1)[0]
	broken.ID[0]++
	mustAppend(t, l, first, encode(t, domain.Event{Body: superseding(first.ID)}), broken)
	for _, statement := range []string{
		`INSERT INTO ledger.answers (digest, by) SELECT digest, gen_random_uuid() FROM ledger.rejected`,
		`INSERT INTO ledger.spools (id, epoch, replica, last_seen) VALUES (gen_random_uuid(), 1, 'a', now())`,
		`INSERT INTO ledger.tiles (level, tile, width, hashes) VALUES (0, 0, 1, decode(repeat('00', 32), 'hex'))`,
		`INSERT INTO ledger.checkpoints (size, note) VALUES (1, 'note')`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return database
}

func tables(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestNobodyChangesTheLedger tries every table and partition as every role, the
// superuser included, also with ordinary triggers off.
func TestNobodyChangesTheLedger(t *testing.T) {
	t.Parallel()
	database := filled(t)
	super := database.Pool(t, "")
	all := tables(t, super)
	if len(all) < 15 {
		t.Fatalf("only %d tables: %v", len(all), all)
	}
	allowed := []string{"UPDATE head", "UPDATE spools", "DELETE erasable"}
	for _, role := range []string{"", db.RoleOwner, db.RoleWriter, db.RoleReader, db.RoleAuditor} {
		pool := database.Pool(t, role)
		for _, table := range all {
			column := "index"
			if err := super.QueryRow(t.Context(), `SELECT attname FROM pg_attribute WHERE attrelid = ('ledger.' || $1)::regclass AND attnum = 1`, table).Scan(&column); err != nil {
				t.Fatal(err)
			}
			empty := count(t, super, `SELECT count(*) FROM ledger.`+table) == 0
			for operation, statement := range map[string]string{
				"UPDATE":   fmt.Sprintf(`UPDATE ledger.%s SET %s = %s`, table, column, column),
				"DELETE":   `DELETE FROM ledger.` + table,
				"TRUNCATE": `TRUNCATE ledger.` + table + ` CASCADE`,
			} {
				if slices.Contains(allowed, operation+" "+table) || empty && operation != "TRUNCATE" {
					continue
				}
				for _, replica := range []bool{false, role == ""} {
					if state := try(t, pool, statement, replica); state != stateNoPrivilege {
						t.Errorf("%q may %s (replica %v): %q", role, statement, replica, state)
					}
				}
			}
		}
	}
}

// try runs a statement and undoes it; it returns the SQLSTATE.
func try(t *testing.T, pool *pgxpool.Pool, statement string, replica bool) string {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if replica {
		if _, err := tx.Exec(t.Context(), `SET LOCAL session_replication_role = replica`); err != nil {
			t.Fatal(err)
		}
	}
	_, err = tx.Exec(t.Context(), statement)
	return db.SQLState(err)
}

func TestRolesMayDoWhatTheyMust(t *testing.T) {
	t.Parallel()
	database := filled(t)
	tests := []struct {
		role, statement string
		may             bool
	}{
		{db.RoleWriter, `DELETE FROM ledger.erasable WHERE index = 0`, true},
		{db.RoleWriter, `UPDATE ledger.spools SET epoch = epoch + 1`, true},
		{db.RoleWriter, `UPDATE ledger.head SET size = size - 1`, false},
		{db.RoleWriter, `UPDATE ledger.head SET recorded_at = recorded_at - interval '1 s'`, false},
		{db.RoleWriter, `INSERT INTO ledger.head (shard, size, recorded_at) VALUES (1, 0, now())`, false},
		{db.RoleWriter, `INSERT INTO ledger.events_00000 SELECT * FROM ledger.events`, false},
		{db.RoleWriter, `ALTER TABLE ledger.events DISABLE TRIGGER ALL`, false},
		{db.RoleWriter, `DROP TABLE ledger.events`, false},
		{db.RoleWriter, `SELECT ledger.make_partitions(1)`, true},
		{db.RoleWriter, `SELECT ledger.guard('events', '')`, false},
		{db.RoleAuditor, `SELECT * FROM ledger.events, ledger.erasable, ledger.rejected`, true},
		{db.RoleAuditor, `INSERT INTO ledger.checkpoints (size, note) VALUES (2, '')`, false},
		{db.RoleAuditor, `SELECT ledger.make_partitions(1)`, false},
		{db.RoleReader, `SELECT index, canonical, leaf, cost FROM ledger.events`, true},
		{db.RoleReader, `SELECT private FROM ledger.events`, false},
		{db.RoleReader, `SELECT private_salt FROM ledger.events`, false},
		{db.RoleReader, `SELECT end_user FROM ledger.erasable`, true},
		{db.RoleReader, `SELECT salt FROM ledger.erasable`, false},
		{db.RoleReader, `SELECT reason FROM ledger.rejected`, true},
		{db.RoleReader, `SELECT record FROM ledger.rejected`, false},
		{db.RoleReader, `SELECT * FROM ledger.events_00000`, false},
		{db.RoleReader, `INSERT INTO ledger.checkpoints (size, note) VALUES (2, '')`, false},
	}
	for _, test := range tests {
		state := try(t, database.Pool(t, test.role), test.statement, false)
		if want := map[bool]string{true: "", false: stateNoPrivilege}[test.may]; state != want {
			t.Errorf("%s: %s: got SQLSTATE %q, want %q", test.role, test.statement, state, want)
		}
	}
}

// TestErasingLeavesTheEvent deletes what may be deleted and reads on.
func TestErasingLeavesTheEvent(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	enc := calls(t, 1)[0]
	mustAppend(t, l, enc)
	if _, err := pool.Exec(t.Context(), `DELETE FROM ledger.erasable`); err != nil {
		t.Fatal(err)
	}
	checkInvariants(t, pool, 0)
	e, err := ledger.Get(t.Context(), pool, enc.ID)
	if err != nil {
		t.Fatal(err)
	}
	if call := e.Event.Body.(*domain.RequestCompleted); call.Erasable.EndUser != "" || call.Model == "" {
		t.Errorf("got %+v", call)
	}
	if res := mustAppend(t, l, enc); res.Duplicates != 1 || count(t, pool, `SELECT count(*) FROM ledger.erasable`) != 0 {
		t.Errorf("what was erased came back with its event: %+v", res)
	}
}

// TestOneRoleForEverything migrates without separate roles: the triggers remain.
func TestOneRoleForEverything(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	admin, err := pgxpool.New(t.Context(), server.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, statement := range []string{`CREATE ROLE app LOGIN PASSWORD 'app'`, `CREATE DATABASE app OWNER app`} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	url, err := server.URL().WithDatabase("app")
	if err != nil {
		t.Fatal(err)
	}
	url = asUser(t, url, "app")
	done, err := db.Migrate(t.Context(), db.MigrateConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if done.Roles.Separation != db.SeparationNone {
		t.Fatalf("separation is %s", done.Roles.Separation)
	}
	pool, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	l := ledger.New(pool)
	if err := l.MakePartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, calls(t, 3)...)
	checkInvariants(t, pool, 0)
	for _, statement := range []string{`UPDATE ledger.events SET cost = 0`, `DELETE FROM ledger.ids`, `TRUNCATE ledger.events_00000`} {
		if state := try(t, pool, statement, false); state != stateNoPrivilege {
			t.Errorf("%s: got %q", statement, state)
		}
	}
}
