// Package dbtest gives each test a Postgres database of its own.
//
// All test processes of a user share one throw-away server (fsync off), started
// by the first and ended by itself some seconds after the last is gone, even if
// that was killed. A test's database is a copy of a template that was migrated
// once per content of the migrations, so it costs about 30 ms; it is dropped
// when the test ends. Commits are real and tests may run in parallel.
//
// MANTI_TEST_DATABASE_URL names an existing server instead, whose login must be
// a superuser. MANTI_PG_BIN names the folder of the server programs to use.
//
// NewServer starts a server for one test alone, to be stopped, killed and
// started again.
package dbtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
)

// poolSize bounds each pool: many tests share one server's connections.
const poolSize = 8

// dropTimeout bounds the drop of a database after its test.
const dropTimeout = 30 * time.Second

// Options choose what a test's database holds. The zero value is the migrated schema.
type Options struct {
	// Empty leaves the database without any schema, for tests of migrations.
	Empty bool
}

// Database is one test's database.
type Database struct {
	url db.URL
}

// New returns a pool on a migrated database of the test's own. The pool runs as
// manti_writer with the timeouts of production, so that a missing grant shows in
// a test; Open gives other roles.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Open(t, Options{}).Pool(t, db.RoleWriter)
}

// Open makes a database that is dropped when the test ends. The test fails here
// if there is no server.
func Open(t testing.TB, opts Options) *Database {
	t.Helper()
	server, err := shared()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	name := "test_" + randomHex()
	if err := server.create(t.Context(), name, opts); err != nil {
		t.Fatalf("dbtest: create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
		defer cancel()
		if err := server.drop(ctx, name); err != nil {
			t.Errorf("dbtest: drop database: %v", err)
		}
	})
	url, err := server.url.WithDatabase(name)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return &Database{url: url}
}

// URL returns the superuser's URL of the database.
func (d *Database) URL() db.URL { return d.url }

// Pool returns a pool that runs as role, or as the superuser if role is "". It
// is closed when the test ends.
func (d *Database) Pool(t testing.TB, role string) *pgxpool.Pool {
	t.Helper()
	pool, err := db.Open(t.Context(), db.Config{URL: d.url, Role: role, MaxConns: poolSize, ApplicationName: t.Name()})
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// shared returns this process's handle of the shared server, made once.
var shared = sync.OnceValues(func() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout+fetchTimeout)
	defer cancel()
	return openShared(ctx)
})

// quote quotes an identifier.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func randomHex() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}
