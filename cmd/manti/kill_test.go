package main_test

import (
	"testing"

	"manti/db/dbtest"
	"manti/domain"
	"manti/proxy/sim"
)

// A kill -9 under load, again and again, loses no call that the provider began
// and counts none twice. What the ledger can't know is unknown, and says what
// it could have cost at most.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const kills, callers, callsPerRound = 20, 8, 12
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	data, env := folder(t), provider.env().onDatabase(database.URL())

	p := serve(t, data, env).ready()
	crowd := gather(t, "http://"+p.addr, callers)
	for range kills {
		until := crowd.whole.Load() + callsPerRound
		p.poll("calls to come back, and some to be under way", func() bool {
			return crowd.whole.Load() >= until && open(provider.Calls()) > 0
		})
		p.kill()
		p = serve(t, data, env)
		crowd.aim("http://" + p.addr)
	}
	until := crowd.whole.Load() + callsPerRound
	p.poll("calls after the last start", func() bool { return crowd.whole.Load() >= until })
	crowd.end()
	p.stop() // which drains the spool

	pool := database.Pool(t, "")
	ledger := readLedger(t, pool)
	checkLedger(t, pool)
	checkBooks(t, provider.Calls(), ledger)
	checkSeen(t, crowd.seen(), ledger)
	outcomes := map[domain.Outcome]int{}
	for _, e := range ledger {
		outcomes[e.Outcome]++
	}
	if outcomes[domain.Unknown] < kills/2 {
		t.Errorf("%d kills under load left %d calls unknown: the test doesn't test much", kills, outcomes[domain.Unknown])
	}
	t.Logf("%d calls begun, in the ledger: %v", len(provider.Calls()), outcomes)

	serve(t, data, env).ready() // whose jobs fold what the killed ones left
	checkBalances(t, pool)
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
