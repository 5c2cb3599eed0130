package main_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db/dbtest"
)

// Two replicas serve from one database under load. One is stopped (SIGSTOP) for
// a while and then killed: the other's calls reach the ledger meanwhile. Both
// replicas' calls are there once, in one row of indexes.
func TestTwoReplicasUnderLoad(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	const callers, calls = 4, 24
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := sealed(t, provider.env().onDatabase(database.URL()))
	pool := database.Pool(t, "")
	type replica struct {
		*process
		data string
		env  environment
		*crowd
	}
	begin := func(name string) *replica {
		r := &replica{data: folder(t), env: env.with("MANTI_REPLICA", name)}
		r.process = serve(t, r.data, r.env).ready()
		r.crowd = gather(t, "http://"+r.addr, callers)
		return r
	}
	one, other := begin("one"), begin("other")
	more := func(r *replica, what string) {
		t.Helper()
		until := r.whole.Load() + calls
		r.poll(what, func() bool { return r.whole.Load() >= until })
	}
	more(one, "calls of the first replica")
	more(other, "calls of the second replica")

	one.process.signal(syscall.SIGSTOP)
	before := eventsOf(t, pool, "other")
	more(other, "calls beside a replica that is stopped")
	other.poll("events beside a replica that is stopped", func() bool { return eventsOf(t, pool, "other") >= before+calls })
	one.process.signal(syscall.SIGCONT)
	more(one, "calls of the replica that was stopped")

	one.kill()
	cutOff := openAfter(t, one.data)
	more(other, "calls beside a replica that was killed")
	one.process = serve(t, one.data, one.env).ready()
	one.aim("http://" + one.addr)
	more(one, "calls of the replica that was killed")
	one.end()
	other.end()
	one.process.stop()
	other.process.stop()

	trial{provider: provider, env: env, url: database.URL(), seen: append(one.seen(), other.seen()...), unknown: cutOff,
		spools: []string{filepath.Join(one.data, "spool"), filepath.Join(other.data, "spool")}}.check(t)
	if n := other.failed.Load(); n != 0 {
		t.Errorf("%d calls of the second replica failed: %+v", n, failures(other.seen()))
	}
	for _, r := range []string{"one", "other"} {
		if n := eventsOf(t, pool, r); n < 2*calls {
			t.Errorf("%d events of replica %s: the test doesn't test much", n, r)
		}
	}
}

// eventsOf counts the calls that a replica recorded.
func eventsOf(t testing.TB, pool *pgxpool.Pool, replica string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM ledger.events WHERE replica = $1`, replica).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
