package ledger_test

import (
	"testing"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// TestWithoutSessionState appends as through a pooler that gives each
// transaction another connection: nothing is prepared, so types are told by the
// parameters alone.
func TestWithoutSessionState(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool, err := db.Open(t.Context(), db.Config{URL: database.URL(), TransactionPooling: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	l := ledger.New(pool)
	if err := l.MakePartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := calls(t, 3)
	broken := calls(t, 1)[0]
	broken.ID[0]++
	for range 2 {
		mustAppend(t, l, append(first, encode(t, domain.Event{Body: superseding(first[0].ID)}), broken)...)
	}
	s := openSpool(t, t.TempDir())
	defer s.Close()
	record(t, s.Spool, 3)
	_, stop := runShipper(t, pool, s)
	s.drained(t)
	stop()
	checkInvariants(t, pool, 0)
	if n := count(t, pool, `SELECT count(*) FROM ledger.spools`); n != 1 {
		t.Errorf("%d spools are reported", n)
	}
	if entries, err := ledger.Read(t.Context(), pool, 1, 3); err != nil || len(entries) != 3 {
		t.Errorf("read %d entries, %v", len(entries), err)
	}
	if _, err := ledger.ReadControl(t.Context(), pool, 0, 10); err != nil {
		t.Error(err)
	}
}
