package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
)

var (
	shippingStopped = regexp.MustCompile(`"msg":"the ledger takes no events; they wait in the spool"`)
)

// outage is the least that an outage lasts: as long as the field's with MANTI_TEST_LONG=1,
// else only as long as it takes for enough calls to be made in it.
func outage() <-chan time.Time {
	if long() {
		return time.After(30 * time.Second)
	}
	return time.After(0)
}

// With Postgres away under load, calls go on as if nothing were; a gateway that
// is killed and started meanwhile serves from its snapshot; and when Postgres
// is back, the ledger gets everything, once.
func TestPostgresAwayUnderLoad(t *testing.T) {
	t.Parallel()
	const callers, calls = 6, 40
	for _, test := range []struct {
		name string
		away func(t *testing.T, s *dbtest.Server) (back func())
	}{
		{"stopped", func(t *testing.T, s *dbtest.Server) func() {
			s.Stop(t, dbtest.StopFast)
			return func() { s.Start(t) }
		}},
		{"killed", func(t *testing.T, s *dbtest.Server) func() {
			s.Kill(t)
			return func() { s.Start(t) }
		}},
		{"frozen", func(t *testing.T, s *dbtest.Server) func() { return s.Freeze(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, provider := dbtest.NewServer(t, dbtest.ServerOptions{Fsync: true}), startProvider(t)
			data, env := folder(t), provider.env().onDatabase(server.URL())
			p := serve(t, data, env).ready()
			crowd := gather(t, "http://"+p.addr, callers)
			more := func(what string) {
				t.Helper()
				until := crowd.whole.Load() + calls
				p.poll(what, func() bool { return crowd.whole.Load() >= until })
			}
			more("calls before the outage")

			back := test.away(t, server)
			over := outage()
			more("calls in the outage")
			<-over
			if test.name != "frozen" { // which isn't noticed so soon
				p.await(shippingStopped)
			}
			if got := p.status("/readyz"); got != http.StatusOK {
				t.Errorf("/readyz in the outage: %d", got)
			}
			if n := crowd.failed.Load(); n != 0 {
				t.Errorf("%d calls failed because of the outage: %+v", n, failures(crowd.seen()))
			}

			p.kill()
			p = serve(t, data, env).ready()
			crowd.aim("http://" + p.addr)
			more("calls after a start in the outage")

			back()
			more("calls after the outage")
			crowd.end()
			p.stop()

			pool := openPool(t, server.URL())
			ledger := readLedger(t, pool)
			checkLedger(t, pool)
			checkBooks(t, provider.Calls(), ledger)
			checkSeen(t, crowd.seen(), ledger)
			t.Logf("%d calls begun, %d in the ledger", len(provider.Calls()), len(ledger))
		})
	}
}

// A server that is stopped while Postgres is away says so, ends well, and leaves
// the rest to its next start.
func TestStoppedWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	server, provider := dbtest.NewServer(t, dbtest.ServerOptions{}), startProvider(t)
	data, env := folder(t), provider.env().onDatabase(server.URL())
	p := serve(t, data, env).ready()
	server.Stop(t, dbtest.StopImmediate)
	if s := call(t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", quickModel, true}, "while it is away"); !s.whole {
		t.Fatalf("call in the outage: %+v", s)
	}
	p.stop()
	if !strings.Contains(p.log.String(), "not all calls are in the ledger") {
		t.Error("it doesn't say that the spool isn't empty")
	}
	server.Start(t)
	p = serve(t, data, env)
	p.stop()
	pool := openPool(t, server.URL())
	checkBooks(t, provider.Calls(), readLedger(t, pool))
}

// A first start without Postgres serves nobody, and begins to when it comes.
func TestFirstStartWithoutPostgres(t *testing.T) {
	t.Parallel()
	server, provider := dbtest.NewServer(t, dbtest.ServerOptions{}), startProvider(t)
	server.Stop(t, dbtest.StopImmediate)
	p := serve(t, folder(t), provider.env().onDatabase(server.URL()))
	p.await(regexp.MustCompile(`"msg":"the database doesn't answer; it is tried again"`))
	if got := p.status("/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz is %d without any snapshot, want 503", got)
	}
	if got := p.status("/healthz"); got != http.StatusOK {
		t.Errorf("/healthz is %d, want 200", got)
	}
	quick := ask{"/v1/chat/completions", quickModel, false}
	if s := call(t.Context(), "http://"+p.addr, testKey, quick, "too soon"); s.status != http.StatusServiceUnavailable || !strings.Contains(s.body, `"error"`) {
		t.Errorf("a call without any snapshot: %d %s", s.status, s.body)
	}
	server.Start(t)
	p.ready()
	if s := call(t.Context(), "http://"+p.addr, testKey, quick, "now"); !s.whole {
		t.Errorf("a call when the database is there: %+v", s)
	}
	p.stop()
	if n := len(provider.Calls()); n != 1 {
		t.Errorf("the provider began %d calls, want 1", n)
	}
	checkBooks(t, provider.Calls(), readLedger(t, openPool(t, server.URL())))
}

// failures are the calls that didn't end well.
func failures(calls []seen) (bad []seen) {
	for _, s := range calls {
		if !s.whole {
			bad = append(bad, s)
		}
	}
	return bad
}

func openPool(t testing.TB, url db.URL) *pgxpool.Pool {
	t.Helper()
	pool, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// A snapshot is trusted only for so long; one that is damaged isn't trusted at
// all. With the database back, both are as if nothing had been.
func TestSavedSnapshot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		spoil  func(t *testing.T, path string)
		status int // of /readyz without the database
		want   string
	}{
		{"old", func(t *testing.T, path string) {
			old := time.Now().Add(-16 * time.Minute)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}, http.StatusOK, "has not heard from its database for 16m"},
		{"damaged", func(t *testing.T, path string) {
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		}, http.StatusServiceUnavailable, "manti is starting"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, provider := dbtest.NewServer(t, dbtest.ServerOptions{}), startProvider(t)
			data, env := folder(t), provider.env().onDatabase(server.URL())
			serve(t, data, env).ready().stop()
			server.Stop(t, dbtest.StopFast)
			test.spoil(t, filepath.Join(data, "snapshot.json"))
			p := serve(t, data, env)
			if got := p.status("/readyz"); got != test.status {
				t.Errorf("/readyz is %d, want %d", got, test.status)
			}
			a := ask{"/v1/messages", quickModel, false}
			if s := call(t.Context(), "http://"+p.addr, testKey, a, "may I?"); s.status != http.StatusServiceUnavailable || !strings.Contains(s.body, test.want) {
				t.Errorf("call: %d %s, want 503 with %q", s.status, s.body, test.want)
			}
			server.Start(t)
			p.poll("calls to be admitted", func() bool { return call(t.Context(), "http://"+p.addr, testKey, a, "may I now?").whole })
			p.stop()
			checkBooks(t, provider.Calls(), readLedger(t, openPool(t, server.URL())))
		})
	}
}
