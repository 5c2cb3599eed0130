package main_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"manti/db/dbtest"
	"manti/domain"
)

// Without a disk every call is in Postgres before its caller sees the end:
// through kill -9 under load, and without the database nobody is served.
func TestDurableInPostgres(t *testing.T) {
	t.Parallel()
	provider := startProvider(t)
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	env := provider.env().onDatabase(server.URL()).with("MANTI_DURABILITY", "postgres")
	p := serve(t, folder(t), env).ready()
	callers := gather(t, p.url(""), 8)
	data := folder(t)
	for range 3 {
		enough := callers.whole.Load() + 20
		poll(t, "calls", func() bool { return callers.whole.Load() >= enough && open(provider.Calls()) > 0 })
		p.kill()
		p = serve(t, data, env).ready()
		callers.aim(p.url(""))
	}
	enough := callers.whole.Load() + 20
	poll(t, "calls after the last kill", func() bool { return callers.whole.Load() >= enough })
	callers.end()
	pool := openPool(t, server.URL())
	// As if the killed ones had been silent for longer than a minute.
	if _, err := pool.Exec(t.Context(), `UPDATE manti.sessions SET last_seen = last_seen - interval '2 minutes' WHERE last_seen < now() - interval '6 seconds'`); err != nil {
		t.Fatal(err)
	}
	calls := provider.Calls()
	awaitQuery(t, pool, "all calls in the ledger", `SELECT NOT EXISTS (SELECT FROM manti.open_calls) AND (SELECT count(*) FROM ledger.events WHERE kind = 'RequestCompleted') >= $1`, len(calls))
	book := readLedger(t, pool)
	checkLedger(t, pool)
	checkBooks(t, calls, book)
	checkSeen(t, callers.seen(), book)
	unknown := outcomes(book)[domain.Unknown]
	if unknown == 0 || unknown > 3*8 {
		t.Errorf("%d calls are unknown after three kills of eight callers", unknown)
	}

	server.Stop(t, dbtest.StopFast)
	begun := time.Now()
	if s := call(t.Context(), p.url(""), testKey, asks()[0], "hello"); s.status != http.StatusServiceUnavailable || !strings.Contains(s.body, "ledger") {
		t.Errorf("a call without the database: %+v", s)
	}
	p.poll("/readyz to say so", func() bool { return p.status("/readyz") == http.StatusServiceUnavailable })
	if body := get(t, p, "/readyz", "").body; !strings.Contains(body, `"ready":false`) || !strings.Contains(body, "Postgres, which alone records calls, takes none") {
		t.Errorf("/readyz without the database: %s", body)
	}
	t.Logf("refused after %v", time.Since(begun).Round(time.Millisecond))
	if n := len(provider.Calls()); n != len(calls) {
		t.Errorf("%d calls reached the provider that aren't recorded", n-len(calls))
	}
	server.Start(t)
	poll(t, "a call with the database back", func() bool { return call(t.Context(), p.url(""), testKey, asks()[0], "hello").whole })
	p.poll("/readyz to be well again", func() bool { return p.status("/readyz") == http.StatusOK })
	server.Stop(t, dbtest.StopFast)
	// Nobody calls: the session finds out by itself.
	p.poll("/readyz to find out unasked", func() bool { return p.status("/readyz") == http.StatusServiceUnavailable })
	p.kill()
	p = serve(t, data, env)
	p.poll("/readyz of a process that has a snapshot and no database", func() bool {
		return strings.Contains(get(t, p, "/readyz", "").body, `"reasons":["not connected to Postgres, which alone records calls"]`)
	})
	server.Start(t)
	p.ready().stop()
}
