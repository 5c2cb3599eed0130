package verify_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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
		pool, err := db.Open(b.Context(), db.Config{URL: server.URL(), Role: role, MaxConns: 16, StatementTimeout: 5 * time.Minute, ReadBufferBytes: verify.ReadBufferBytes})
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
	if _, err := verify.Run(b.Context(), cfg); err != nil { // its connections stay open
		b.Fatal(err)
	}
	client, postgres := ownTime(b), book.serverTime(b)
	for b.Loop() {
		r, err := verify.Run(b.Context(), cfg)
		if err != nil || !r.Proven() || r.Checked != benchEvents {
			b.Fatalf("%v %+v", err, r)
		}
	}
	b.ReportMetric(float64(b.N*benchEvents)/b.Elapsed().Seconds(), "events/s")
	events := float64(b.N * benchEvents)
	b.ReportMetric(float64((ownTime(b)-client).Microseconds())/events, "client-µs/event")
	b.ReportMetric(float64((book.serverTime(b)-postgres).Microseconds())/events, "postgres-µs/event")
}

// ownTime is the processor time of this process.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverTime is the processor time of the server's processes that serve
// connections, as Linux says it.
func (b *book) serverTime(t *testing.B) time.Duration {
	t.Helper()
	rows, err := b.super.Query(t.Context(), `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'`)
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		t.Fatal(err)
	}
	const ticks = 100 // a second, on every Linux that Go runs on
	total := int64(0)
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
		for _, field := range fields[12:14] { // utime and stime
			n, _ := strconv.ParseInt(field, 10, 64) // 0 if it is none
			total += n
		}
	}
	return time.Duration(total) * time.Second / ticks
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
