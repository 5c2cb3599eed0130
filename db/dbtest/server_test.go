package dbtest_test

import (
	"context"
	"testing"
	"time"

	"manti/db"
	"manti/db/dbtest"
)

func TestServerStopsAndStarts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(*testing.T, *dbtest.Server)
	}{
		{"fast", func(t *testing.T, s *dbtest.Server) { s.Stop(t, dbtest.StopFast) }},
		{"immediate", func(t *testing.T, s *dbtest.Server) { s.Stop(t, dbtest.StopImmediate) }},
		{"kill", func(t *testing.T, s *dbtest.Server) { s.Kill(t) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.NewServer(t, dbtest.ServerOptions{Fsync: true})
			pool, err := db.Open(t.Context(), db.Config{URL: server.URL()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			if _, err := pool.Exec(t.Context(), `CREATE TABLE t AS SELECT 7 AS n`); err != nil {
				t.Fatal(err)
			}
			test.end(t, server)
			if _, err := pool.Exec(t.Context(), `SELECT 1`); !db.IsOutage(err) {
				t.Errorf("a stopped server gives %v, want an outage", err)
			}
			server.Start(t)
			pool.Reset()
			n := 0
			if err := pool.QueryRow(t.Context(), `SELECT n FROM t`).Scan(&n); err != nil || n != 7 {
				t.Errorf("after the restart: n = %d, %v", n, err)
			}
		})
	}
}

func TestServerFreeze(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	pool, err := db.Open(t.Context(), db.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	thaw := server.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pool.Exec(ctx, `SELECT 1`); !db.IsOutage(err) {
		t.Errorf("a frozen server gives %v, want an outage", err)
	}
	thaw()
	if _, err := pool.Exec(t.Context(), `SELECT 1`); err != nil {
		t.Error(err)
	}
}
