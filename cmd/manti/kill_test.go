package main_test

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger/spool"
	"manti/proxy/sim"
)

// A kill -9 under load at random points, again and again, loses no call that the
// provider began and counts none twice. Unknown are exactly those whose end was
// not in the log when the process died, and they say what they could have cost.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	kills := 6
	if long() {
		kills = 100
	}
	const callers, callsPerRound = 8, 12
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	data, env := folder(t), sealed(t, provider.env().onDatabase(database.URL()))

	p, cutOff := serve(t, data, env).ready(), map[string]bool{}
	crowd := gather(t, "http://"+p.addr, callers)
	for range kills {
		until := crowd.whole.Load() + int64(rand.N(callsPerRound)+1)
		p.poll("calls to come back, and some to be under way", func() bool {
			return crowd.whole.Load() >= until && open(provider.Calls()) > 0
		})
		<-time.After(rand.N(20 * time.Millisecond)) // wherever it is then
		p.kill()
		for id := range openAfter(t, data) {
			cutOff[id] = true
		}
		p = serve(t, data, env)
		crowd.aim("http://" + p.addr)
	}
	until := crowd.whole.Load() + callsPerRound
	p.poll("calls after the last start", func() bool { return crowd.whole.Load() >= until })
	crowd.end()
	p.stop() // which drains the spool

	ledger := trial{provider: provider, env: env, url: database.URL(), spools: []string{filepath.Join(data, "spool")}, seen: crowd.seen(), unknown: cutOff}.check(t)
	if n := outcomes(ledger)[domain.Unknown]; n < kills/2 {
		t.Errorf("%d kills under load left %d calls unknown: the test doesn't test much", kills, n)
	}
	t.Logf("%d kills, %d calls begun, in the ledger: %v", kills, len(provider.Calls()), outcomes(ledger))
}

// openAfter opens a copy of the log of a process that was killed, and returns
// the calls that have no end in it.
func openAfter(t testing.TB, data string) map[string]bool {
	t.Helper()
	dir := filepath.Join(folder(t), "spool")
	if out, err := exec.Command("cp", "-r", "--sparse=always", filepath.Join(data, "spool"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the spool: %v: %s", err, out)
	}
	s, err := spool.Open(spool.Config{Dir: dir, MaxRecordBytes: domain.MaxRecordBytes})
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	for _, c := range s.Unfinished() {
		open[domain.EventID(c.ID).String()] = true
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open
}

// open is how many calls the provider is at.
func open(calls []sim.Call) (n int) {
	for _, c := range calls {
		if c.Outcome == sim.Open {
			n++
		}
	}
	return n
}
