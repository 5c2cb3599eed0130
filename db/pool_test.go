package db_test

import (
	"testing"
	"time"

	"manti/db"
	"manti/db/dbtest"
)

func TestOpenPreparesSessions(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	tests := []struct {
		name string
		cfg  db.Config
		want [5]string
	}{
		{
			name: "defaults", cfg: db.Config{},
			want: [5]string{"manti", "manti", "5s", "2s", "2s"},
		},
		{
			name: "chosen",
			cfg: db.Config{
				Role: db.RoleReader, ApplicationName: "report", StatementTimeout: time.Minute, LockTimeout: -1, IdleInTxTimeout: time.Microsecond,
			},
			want: [5]string{"manti_reader", "report", "1min", "0", "1ms"},
		},
		{
			name: "pooled by transaction: nothing is set", cfg: db.Config{Role: db.RoleReader, TransactionPooling: true},
			want: [5]string{"manti", "manti", "0", "0", "0"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.cfg.URL = database.URL()
			pool, err := db.Open(t.Context(), test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			var got [5]string
			const query = `SELECT current_user::text, current_setting('application_name'), current_setting('statement_timeout'),
				current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')`
			if err := pool.QueryRow(t.Context(), query).Scan(&got[0], &got[1], &got[2], &got[3], &got[4]); err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("session has %q, want %q", got, test.want)
			}
		})
	}
}

func TestOpenNeedsNoServer(t *testing.T) {
	t.Parallel()
	pool, err := db.Open(t.Context(), db.Config{URL: "postgres://manti@/books?host=/nonexistent"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), "SELECT 1"); !db.IsOutage(err) {
		t.Errorf("a server that isn't there gives %v, want an outage", err)
	}
}

func TestOpenRefusesMissingRole(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{Empty: true})
	pool, err := db.Open(t.Context(), db.Config{URL: database.URL(), Role: `no "such" role; DROP`})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a pool whose role doesn't exist handed out a connection")
	}
}
