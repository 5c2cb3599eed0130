package ledger_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/db/local"
	"manti/domain"
	"manti/ledger"
)

// openDurable is a migrated database on a server with the settings of a private one,
// which syncs its commits.
func openDurable(b *testing.B) *pgxpool.Pool {
	b.Helper()
	settings := local.Settings()
	settings["autovacuum"] = "on"
	server := dbtest.NewServer(b, dbtest.ServerOptions{Fsync: true, Settings: settings})
	if _, err := db.Migrate(b.Context(), db.MigrateConfig{URL: server.URL()}); err != nil {
		b.Fatal(err)
	}
	pool, err := db.Open(b.Context(), db.Config{URL: server.URL(), Role: db.RoleWriter, StatementTimeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	admin, err := db.Open(b.Context(), db.Config{URL: server.URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec(b.Context(), `CREATE TABLE public.bare (LIKE ledger.events); GRANT ALL ON public.bare TO manti_writer; ALTER TABLE public.bare SET (toast_tuple_target = 8160)`); err != nil {
		b.Fatal(err)
	}
	return pool
}

// renew gives the events new ids.
func renew(events []domain.Encoded) {
	for i := range events {
		e := &events[i]
		id := newID[domain.EventID]()
		e.Public = bytes.Replace(e.Public, []byte(e.ID.String()), []byte(id.String()), 1)
		e.ID = id
	}
}

// BenchmarkAppend is what a batch costs by its size.
func BenchmarkAppend(b *testing.B) {
	l := ledger.New(openDurable(b))
	for _, size := range []int{1, 50, 500, 2000} {
		events := calls(b, size)
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			took := time.Duration(0)
			for b.Loop() {
				renew(events)
				begin := time.Now()
				if err := appendAll(b.Context(), l, events); err != nil {
					b.Fatal(err)
				}
				took += time.Since(begin)
			}
			b.ReportMetric(float64(b.N*size)/took.Seconds(), "events/s")
		})
	}
}

// BenchmarkReady is what the client does for a batch before it takes the head.
func BenchmarkReady(b *testing.B) {
	l := ledger.New(nil)
	events := calls(b, 500)
	b.ReportAllocs()
	for b.Loop() {
		l.Ready(events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}
