package verify_test

import (
	"os"
	"testing"
	"time"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
	"manti/ledger/verify"
)

// benchEvents is how many events BenchmarkVerify verifies.
const benchEvents = 200_000

// BenchmarkVerify verifies a ledger of calls as most are, tree and tiles and all.
func BenchmarkVerify(b *testing.B) {
	server := dbtest.NewServer(b, dbtest.ServerOptions{Settings: map[string]string{"max_wal_size": "8GB", "shared_buffers": "1GB"}})
	if _, err := db.Migrate(b.Context(), db.MigrateConfig{URL: server.URL()}); err != nil {
		b.Fatal(err)
	}
	open := func(role string) *book {
		pool, err := db.Open(b.Context(), db.Config{URL: server.URL(), Role: role, MaxConns: 16, StatementTimeout: 5 * time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(pool.Close)
		return &book{super: pool}
	}
	book := open("")
	fillCalls(b, open(db.RoleWriter), benchEvents)
	book.exec(b, `VACUUM (FREEZE, ANALYZE)`)
	signer := newSigner(b)
	c := sealed(b, book.super, signer)
	book.exec(b, `INSERT INTO ledger.checkpoints (size, note) VALUES ($1, $2)`, c.Size, c.Note)
	cfg := verify.Config{Pool: open(db.RoleAuditor).super, Keys: seal.Keys{}.With(signer), Outside: []byte(c.Note), OutsideSource: "bench"}
	for b.Loop() {
		r, err := verify.Run(b.Context(), cfg)
		if err != nil || !r.Proven() || r.Checked != benchEvents {
			b.Fatalf("%v %+v", err, r)
		}
	}
	b.ReportMetric(float64(b.N*benchEvents)/b.Elapsed().Seconds(), "events/s")
	if os.Getenv("MANTI_TEST_LONG") != "" {
		b.Log(book.count(b, `SELECT pg_total_relation_size('ledger.events_00000')`), "bytes")
	}
}

func fillCalls(b *testing.B, book *book, n int) {
	b.Helper()
	l := ledger.New(book.super)
	const batch = 2000
	for range n / batch {
		events := make([]domain.Encoded, batch)
		for i := range events {
			events[i] = encode(b, domain.Event{Body: plainCall()})
		}
		mustAppend(b, l, events...)
	}
}
