package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"manti/db/local"
)

var postgresIsBack = regexp.MustCompile(`"msg":"the private Postgres is back"`)

// A private Postgres that is killed under load comes back by itself: no call
// fails, commands work again while the server runs, and the ledger gets
// everything, once.
func TestPrivatePostgresKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const callers, calls = 4, 20
	provider, data := startProvider(t), folder(t)
	p := serve(t, data, provider.env().with("MANTI_BOOTSTRAP_KEY", testKey)).ready()
	crowd := gather(t, "http://"+p.addr, callers)
	more := func(what string) {
		t.Helper()
		until := crowd.whole.Load() + calls
		p.poll(what, func() bool { return crowd.whole.Load() >= until })
	}
	more("calls before the kill")
	killed := postmasterOf(t, data)
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	more("calls after the kill")
	p.await(postgresIsBack)
	if again := postmasterOf(t, data); again == killed {
		t.Errorf("the postmaster is still %d", again)
	}
	key := strings.TrimSpace(manti(t, environment{"MANTI_DATA": data}, "key", "create", "--name", "made after the kill"))
	p.poll("the new key to work", func() bool {
		return call(t.Context(), "http://"+p.addr, key, ask{quick.path, quickModel, false}, "with the new key").whole
	})
	crowd.end()
	if n := crowd.failed.Load(); n != 0 {
		t.Errorf("%d calls failed because of the kill: %+v", n, failures(crowd.seen()))
	}

	url, running, err := local.Find(data)
	if err != nil || !running {
		t.Fatalf("find the private Postgres: running %v, %v", running, err)
	}
	pool := openPool(t, url)
	p.poll("the spool to be shipped", func() bool { return len(readLedger(t, pool)) == len(provider.Calls()) })
	ledger := readLedger(t, pool)
	checkLedger(t, pool)
	checkBooks(t, provider.Calls(), ledger)
	checkSeen(t, crowd.seen(), ledger)
	pool.Close()
	last := postmasterOf(t, data)
	p.stop()
	awaitEnd(t, last)
}

// While a private Postgres can't be started, commands say that it is being
// restarted, not that the data are another's; when it can, all is well again.
func TestCommandsWhilePrivatePostgresIsAway(t *testing.T) {
	t.Parallel()
	data := folder(t)
	p := serve(t, data, nil)
	key := welcome(t, p)
	here, away := filepath.Join(data, "postgres", "cluster"), filepath.Join(data, "postgres", "elsewhere")
	postmaster := postmasterOf(t, data)
	if err := os.Rename(here, away); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(postmaster, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.await(regexp.MustCompile(`"msg":"the private Postgres can't be started"`))
	if s := call(t.Context(), "http://"+p.addr, key, quick, "while it is away"); !s.whole {
		t.Errorf("call: %+v", s)
	}
	create := launch{args: []string{"key", "create", "--name", "later", "--data", data}}
	if r := command(t, create); r.status != 1 || !strings.Contains(r.err, "is being restarted") || !strings.Contains(r.err, "try again") {
		t.Errorf("key create: %d %s", r.status, r.err)
	}
	if err := os.Rename(away, here); err != nil {
		t.Fatal(err)
	}
	p.await(postgresIsBack)
	if r := command(t, create); r.status != 0 {
		t.Errorf("key create when it is back: %d %s", r.status, r.err)
	}
	p.stop()
	r := command(t, launch{args: []string{"balances", "--json", "--data", data}})
	if !strings.Contains(r.out, `"calls":1,`) {
		t.Errorf("balances: %d %s %s, want the call that was made meanwhile", r.status, r.out, r.err)
	}
}
