package main_test

import (
	"context"
	"net/http"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/dbtest"
)

// needsSpeed leaves a test of whole processes out under the race detector,
// under which the other tests of this package run the same binary.
func needsSpeed(t testing.TB) {
	t.Helper()
	if raceEnabled {
		t.Skip("whole processes; other tests run them under the race detector")
	}
}

// A trouble is something that befalls Postgres. strike returns what ends it.
type trouble struct {
	name   string
	strike func(t *testing.T, s *dbtest.Server) (end func())
	// unnoticed: it may be over before anything was to be shipped.
	unnoticed bool
}

var shippingGoesOn = regexp.MustCompile(`"msg":"the ledger takes events again"`)

// Whatever befalls Postgres under load, one thing after the other, no call
// fails, nothing becomes unknown, and when it is over the ledger gets
// everything, once.
func TestPostgresInTroubleUnderLoad(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	const callers, calls = 6, 18
	server, provider := dbtest.NewServer(t, dbtest.ServerOptions{Settings: map[string]string{"max_connections": "30"}}), startProvider(t)
	env, data := sealed(t, provider.env().onDatabase(server.URL())), folder(t)
	p := serve(t, data, env).ready()
	crowd := gather(t, "http://"+p.addr, callers)
	for _, trouble := range []trouble{
		{name: "a stalled transaction has the head", strike: stallWithHead},
		{name: "a backend that has the head is stopped", strike: stopBackendWithHead},
		{name: "restarted", strike: restart, unnoticed: true},
		{name: "out of connections", strike: useUpConnections},
		{name: "read-only", strike: readOnly},
	} {
		more := func(when string) {
			until := crowd.whole.Load() + calls
			p.poll(trouble.name+": calls "+when, func() bool { return crowd.whole.Load() >= until })
		}
		again := func(line *regexp.Regexp) (come func()) {
			count := func() int { return len(line.FindAllString(p.log.String(), -1)) }
			before := count()
			return func() {
				p.poll(trouble.name+": "+line.String(), func() bool { return trouble.unnoticed || count() > before })
			}
		}
		more("before")
		stops, goesOn := again(shippingStopped), again(shippingGoesOn)
		end := trouble.strike(t, server)
		more("meanwhile")
		stops()
		if got := p.status("/readyz"); got != http.StatusOK {
			t.Errorf("%s: /readyz is %d", trouble.name, got)
		}
		end()
		goesOn()
		more("afterwards")
		if n := crowd.failed.Load(); n != 0 {
			t.Fatalf("%s: %d calls failed: %+v", trouble.name, n, failures(crowd.seen()))
		}
	}
	crowd.end()
	p.stop()
	trial{provider: provider, env: env, url: server.URL(), spools: []string{filepath.Join(data, "spool")}, seen: crowd.seen()}.check(t)
}

func restart(t *testing.T, s *dbtest.Server) func() {
	s.Stop(t, dbtest.StopFast)
	s.Start(t)
	return func() {}
}

// readOnly makes a server as one that was demoted, or whose disk runs full by an
// operator's rule: it answers, and takes nothing.
func readOnly(t *testing.T, s *dbtest.Server) func() {
	set := func(value string) {
		conn := connect(t, s.URL())
		for _, statement := range []string{`SET default_transaction_read_only = off`, `ALTER SYSTEM SET default_transaction_read_only = ` + value, `SELECT pg_reload_conf()`} {
			if _, err := conn.Exec(context.Background(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		_ = conn.Close(context.Background()) // it was only for this
	}
	set("on")
	return func() { set("off") }
}

// useUpConnections takes every connection that the server has, those of the
// gateway first of all.
func useUpConnections(t *testing.T, s *dbtest.Server) func() {
	const tooMany = "53300"
	const others = `SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'manti' AND pid <> pg_backend_pid()) x`
	var conns []*pgx.Conn
	first := connect(t, s.URL())
	full := 0
	poll(t, "all connections to be taken", func() bool {
		conn, err := pgx.Connect(t.Context(), s.URL().Reveal())
		if db.SQLState(err) == tooMany {
			full++
			ended := 0
			if err := first.QueryRow(t.Context(), others).Scan(&ended); err != nil {
				t.Fatal(err)
			}
			return ended == 0
		}
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		return false
	})
	return func() {
		for _, conn := range append(conns, first) {
			_ = conn.Close(context.Background()) // that they are gone is all that counts
		}
	}
}

// stallWithHead lets a transaction that no timeout ends, an operator's, have the
// head for some seconds, or a minute.
func stallWithHead(t *testing.T, s *dbtest.Server) func() {
	conn := holdHead(t, s)
	over := time.After(2500 * time.Millisecond) // longer than others wait for a lock
	if long() {
		over = time.After(time.Minute)
	}
	return func() {
		<-over
		if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
	}
}

// stopBackendWithHead stops the server's own process of such a transaction:
// nothing but its end or SIGCONT frees the head.
func stopBackendWithHead(t *testing.T, s *dbtest.Server) func() {
	conn := holdHead(t, s)
	pid := int(conn.PgConn().PID())
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
	}
}

// holdHead has the head in a transaction that is idle from then on.
func holdHead(t *testing.T, s *dbtest.Server) *pgx.Conn {
	t.Helper()
	conn := connect(t, s.URL())
	if _, err := conn.Exec(t.Context(), `BEGIN; SELECT size FROM ledger.head WHERE shard = 0 FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	return conn
}

// connect opens one connection, without the timeouts of a pool.
func connect(t *testing.T, url db.URL) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // it may be closed
	return conn
}
