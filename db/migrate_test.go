package db_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/dbtest"
)

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{Empty: true})
	cfg := db.MigrateConfig{URL: database.URL()}
	first, err := db.Migrate(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Applied) < 8 || first.Applied[0] != "0001_roles_and_schemas.sql" {
		t.Fatalf("applied %v", first.Applied)
	}
	want := describe(t, database)
	for range first.Applied {
		if err := db.Rollback(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	if left := describe(t, database); len(left) != 1 { // the record of migrations itself
		t.Errorf("rolled back to nothing, but there is still:\n%s", strings.Join(left, "\n"))
	}
	second, err := db.Migrate(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Applied, second.Applied); diff != "" {
		t.Errorf("applied again (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(want, describe(t, database)); diff != "" {
		t.Errorf("schema after up, down, up (-first +second):\n%s", diff)
	}
	third, err := db.Migrate(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(third.Applied) != 0 {
		t.Errorf("a migrated database was migrated again: %v", third.Applied)
	}
}

// describe lists every relation, function and type of our schemas with owner and grants.
func describe(t *testing.T, database *dbtest.Database) []string {
	t.Helper()
	const query = `
		SELECT format('%s %s.%s owner %s grants %s', c.relkind, n.nspname, c.relname, c.relowner::regrole,
		       (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(c.relacl) a)) AS line
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('manti','ledger','projections','escrow','audit','river') AND c.relkind IN ('r','p','v','m','S')
		UNION ALL
		SELECT format('function %s.%s owner %s', n.nspname, p.proname, p.proowner::regrole)
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname IN ('manti','ledger','projections','escrow','audit','river')
		UNION ALL
		SELECT format('type %s.%s', n.nspname, y.typname)
		FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
		WHERE n.nspname IN ('manti','ledger','projections','escrow','audit','river') AND y.typtype IN ('e','d')
		UNION ALL
		SELECT format('column %s.%s %s not null %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('ledger','projections','escrow','audit','river') AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY line`
	rows, err := database.Pool(t, "").Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestMigrateConcurrentStarts(t *testing.T) {
	t.Parallel()
	// A server of its own, so that the roles are missing too; several databases,
	// so that the roles are raced for beyond the reach of one database's lock.
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	const databases, replicas = 3, 8
	var urls []db.URL
	admin := connect(t, server.URL())
	for i := range databases {
		name := fmt.Sprintf("race_%d", i)
		exec(t, admin, "CREATE DATABASE "+name)
		url, err := server.URL().WithDatabase(name)
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, url)
	}
	var group sync.WaitGroup
	applied := make([][]string, databases*replicas)
	errs := make([]error, databases*replicas)
	for i := range databases * replicas {
		group.Go(func() {
			done, err := db.Migrate(t.Context(), db.MigrateConfig{URL: urls[i%databases]})
			applied[i], errs[i] = done.Applied, err
		})
	}
	group.Wait()
	workers := map[int]int{}
	for i, err := range errs {
		if err != nil {
			t.Errorf("start %d: %v", i, err)
		}
		if len(applied[i]) > 0 {
			workers[i%databases]++
		}
	}
	if diff := cmp.Diff(map[int]int{0: 1, 1: 1, 2: 1}, workers); diff != "" {
		t.Errorf("how many starts migrated each database (-want +got):\n%s", diff)
	}
}

// Another database's migration makes a role at this very moment: the lock of
// ours doesn't keep it from that.
func TestMigrateMeetsAnotherDatabase(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	other, observer := connect(t, server.URL()), connect(t, server.URL())
	exec(t, other, "BEGIN")
	exec(t, other, "CREATE ROLE manti_owner")
	result := make(chan error, 1)
	go func() {
		_, err := db.Migrate(t.Context(), db.MigrateConfig{URL: server.URL()})
		result <- err
	}()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for waiting := false; !waiting; {
		<-ticker.C
		const query = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE ROLE%')`
		if err := observer.QueryRow(t.Context(), query).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, other, "COMMIT")
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestMigrateRoles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		login      string // how the migrating login is made
		setup      []string
		serve      string
		separation db.Separation
		reason     string
	}{
		{name: "superuser alone", login: "SUPERUSER", separation: db.SeparationShared, reason: "superuser"},
		{name: "may create roles", login: "CREATEROLE", separation: db.SeparationShared, reason: "may become manti_owner"},
		{name: "may not create roles", login: "", separation: db.SeparationNone},
		{
			name: "roles made by an administrator", login: "", separation: db.SeparationShared, reason: "may become manti_owner",
			setup: []string{
				"CREATE ROLE manti_owner", "CREATE ROLE manti_writer", "CREATE ROLE manti_reader", "CREATE ROLE manti_auditor",
				"GRANT manti_owner, manti_writer, manti_reader TO migrator",
			},
		},
		{name: "serve has a login of its own", login: "CREATEROLE", serve: "app", separation: db.SeparationFull},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.NewServer(t, dbtest.ServerOptions{})
			admin := connect(t, server.URL())
			exec(t, admin, "CREATE ROLE migrator LOGIN "+test.login)
			exec(t, admin, "CREATE ROLE app LOGIN")
			exec(t, admin, "CREATE DATABASE books OWNER migrator")
			for _, sql := range test.setup {
				exec(t, admin, sql)
			}
			cfg := db.MigrateConfig{URL: as(t, server.URL(), "migrator")}
			serve := cfg.URL
			if test.serve != "" {
				serve = as(t, server.URL(), test.serve)
				cfg.ServeURL = serve
			}
			for range 2 { // the second time everything is there
				done, err := db.Migrate(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				checkRoles(t, done.Roles, test.separation, test.reason)
			}
			inspected, err := db.InspectRoles(t.Context(), connect(t, serve))
			if err != nil {
				t.Fatal(err)
			}
			checkRoles(t, inspected, test.separation, "")
			checkGrants(t, serve, inspected)
		})
	}
}

func checkRoles(t *testing.T, roles db.Roles, want db.Separation, reason string) {
	t.Helper()
	if roles.Separation != want || !strings.Contains(roles.Reason, reason) {
		t.Errorf("roles %+v, want separation %s and a reason with %q", roles, want, reason)
	}
}

// checkGrants does as serve would, and tries what it mustn't.
func checkGrants(t *testing.T, serve db.URL, roles db.Roles) {
	t.Helper()
	pool, err := db.Open(t.Context(), db.Config{URL: serve, Role: roles.Writer, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), `INSERT INTO river.river_queue (name) VALUES ('q')`); err != nil {
		t.Errorf("writer: %v", err)
	}
	if roles.Separation == db.SeparationNone {
		return
	}
	_, err = pool.Exec(t.Context(), `DROP TABLE river.river_queue`)
	if db.SQLState(err) != "42501" {
		t.Errorf("the writer dropped a table: %v", err)
	}
}

func TestMigrateServeWithoutRights(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	admin := connect(t, server.URL())
	for _, sql := range []string{"CREATE ROLE migrator LOGIN", "CREATE ROLE app LOGIN", "CREATE DATABASE books OWNER migrator"} {
		exec(t, admin, sql)
	}
	_, err := db.Migrate(t.Context(), db.MigrateConfig{URL: as(t, server.URL(), "migrator"), ServeURL: as(t, server.URL(), "app")})
	if err == nil || !strings.Contains(err.Error(), "CREATEROLE") {
		t.Errorf("got %v, want an error that says what migrator lacks", err)
	}
}

func TestMigrateHidesPassword(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	url := strings.Replace(server.URL().Reveal(), "manti@", "nobody-here:s3cr%23et@", 1)
	_, err := db.Migrate(t.Context(), db.MigrateConfig{URL: db.URL(url)})
	if err == nil {
		t.Fatal("migrated as a login that doesn't exist")
	}
	for _, secret := range []string{"s3cr#et", "s3cr%23et"} {
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("the password is in %q", err)
		}
	}
}

func TestMigrateStopsWaitingWithContext(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{Empty: true})
	holder := connect(t, database.URL())
	// Whoever waits for the lock is in the queue of this very advisory lock.
	exec(t, holder, "SELECT pg_advisory_lock("+fmt.Sprint(db.MigrationLock)+")")
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := db.Migrate(ctx, db.MigrateConfig{URL: database.URL()})
		result <- err
	}()
	cancel()
	if err := <-result; err == nil {
		t.Error("migrated without the lock")
	}
}

func TestMigrationNumbersAreUnique(t *testing.T) {
	t.Parallel()
	names := db.MigrationNames()
	versions := make([]string, len(names))
	for i, name := range names {
		versions[i], _, _ = strings.Cut(name, "_")
		if len(versions[i]) != 4 {
			t.Errorf("%s: want a number of four digits", name)
		}
	}
	if len(slices.Compact(slices.Clone(versions))) != len(versions) {
		t.Errorf("two migrations share a number: %v", names)
	}
}

func connect(t *testing.T, url db.URL) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// as returns the URL of database books under another login.
func as(t *testing.T, url db.URL, login string) db.URL {
	t.Helper()
	url, err := url.WithDatabase("books")
	if err != nil {
		t.Fatal(err)
	}
	return db.URL(strings.Replace(url.Reveal(), "manti@", login+"@", 1))
}
