package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// openDurable is a migrated database on a server that syncs its commits.
func openDurable(b *testing.B) *pgxpool.Pool {
	b.Helper()
	server := dbtest.NewServer(b, dbtest.ServerOptions{Fsync: true, Settings: map[string]string{"max_wal_size": "8GB", "shared_buffers": "256MB"}})
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

// BenchmarkAppend appends batches to a server with fsync on, beside COPY of the
// same rows into a table without index or constraint. Two at once is how Shipper
// works: one batch is made ready while another is written.
func BenchmarkAppend(b *testing.B) {
	pool := openDurable(b)
	l := ledger.New(pool)
	from := int64(0)
	for _, size := range []int{1, 50, 500, 2000} {
		events := calls(b, size)
		measure(b, fmt.Sprintf("append/%d", size), events, func(ctx context.Context) error {
			res, err := l.Append(ctx, events)
			if err == nil && res.Appended != size {
				err = fmt.Errorf("appended %d of %d", res.Appended, size)
			}
			return err
		})
		if size == 500 {
			measureTwo(b, l, size)
		}
		measure(b, fmt.Sprintf("bare/%d", size), events, func(ctx context.Context) error {
			from += int64(size)
			return l.CopyAlone(ctx, events, from)
		})
	}
}

func measure(b *testing.B, name string, events []domain.Encoded, do func(context.Context) error) {
	b.Run(name, func(b *testing.B) {
		took := time.Duration(0)
		for b.Loop() {
			renew(events)
			begin := time.Now()
			if err := do(b.Context()); err != nil {
				b.Fatal(err)
			}
			took += time.Since(begin)
		}
		b.ReportMetric(float64(b.N*len(events))/took.Seconds(), "events/s")
	})
}

func measureTwo(b *testing.B, l *ledger.Ledger, size int) {
	batches := [2][]domain.Encoded{calls(b, size), calls(b, size)}
	b.Run(fmt.Sprintf("two/%d", size), func(b *testing.B) {
		for b.Loop() {
			var both errgroup.Group
			for _, events := range batches {
				both.Go(func() error {
					for range 4 {
						renew(events)
						if _, err := l.Append(b.Context(), events); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := both.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*8*size)/b.Elapsed().Seconds(), "events/s")
	})
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
