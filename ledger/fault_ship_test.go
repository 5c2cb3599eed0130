package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/ledger"
	"manti/ledger/spool"
)

// A shuffled spool hands out all its completions, in any order and batches.
type shuffled struct {
	*spool.Spool
	records []spool.Record
	rng     *rand.Rand
	handed  *atomic.Int64 // records that were handed out
	empty   chan struct{} // closed when the last batch is acknowledged
}

func shuffle(s *spool.Spool, records []spool.Record, seed uint64, handed *atomic.Int64) *shuffled {
	rng := rand.New(rand.NewPCG(seed, 3))
	records = slices.Clone(records)
	rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	return &shuffled{Spool: s, records: records, rng: rng, handed: handed, empty: make(chan struct{})}
}

func (s *shuffled) Next(ctx context.Context, most int) (spool.Batch, error) {
	if len(s.records) == 0 {
		<-ctx.Done()
		return spool.Batch{}, ctx.Err()
	}
	n := min(1+s.rng.IntN(most), len(s.records))
	batch := spool.Batch{Records: s.records[:n]}
	if s.records = s.records[n:]; len(s.records) == 0 {
		batch.End = 1 // the last
	}
	s.handed.Add(int64(n))
	return batch, nil
}

func (s *shuffled) Ack(b spool.Batch) error {
	if b.End == 1 {
		close(s.empty)
	}
	return nil
}

// completions are the records of a spool that go to the ledger.
func completions(t *testing.T, s *spool.Spool) (all []spool.Record) {
	t.Helper()
	for r, err := range s.Replay(0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == spool.End {
			r.Payload = slices.Clone(r.Payload)
			all = append(all, r)
		}
	}
	return all
}

// TestShippingTenTimesShuffled ships the same segments ten times, each time in
// another order, two shippers at a time, into the ledger and into one that was
// restored from a backup taken in between: each event is there once. What was
// handed out is the control: who adds that up counts ten times as much.
func TestShippingTenTimesShuffled(t *testing.T) {
	t.Parallel()
	const times, first, second = 10, 120, 180
	live := dbtest.Open(t, dbtest.Options{})
	s := openSpool(t, t.TempDir())
	defer s.Close()

	record(t, s.Spool, first)
	before := ownPool(t, live.URL())
	_, stop := runShipper(t, before, s)
	s.drained(t)
	stop()
	before.Close()
	restored := backUp(t, live)
	record(t, s.Spool, second)
	records := completions(t, s.Spool)
	if len(records) != first+second {
		t.Fatalf("the spool keeps %d completions, want %d", len(records), first+second)
	}

	var canonical []string
	for name, url := range map[string]db.URL{"live": live.URL(), "restored": restored} {
		pool := ownPool(t, url)
		if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != first {
			t.Fatalf("%s: %d events before, want %d", name, n, first)
		}
		var handed atomic.Int64
		for round := 0; round < times; round += 2 {
			one, other := shuffle(s.Spool, records, uint64(round), &handed), shuffle(s.Spool, records, uint64(round+1), &handed)
			_, stopOne := runShipper(t, pool, one)
			_, stopOther := runShipper(t, pool, other)
			await(t, one.empty)
			await(t, other.empty)
			stopOne()
			stopOther()
		}
		checkInvariants(t, pool, 0)
		checkNone(t, pool, "rejected", `SELECT count(*) FROM ledger.rejected`)
		if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != first+second || handed.Load() != times*(first+second) {
			t.Errorf("%s: %d events of %d records handed out, want %d and %d", name, n, handed.Load(), first+second, times*(first+second))
		}
		var all string
		if err := pool.QueryRow(t.Context(), `SELECT string_agg(encode(sha256(canonical), 'hex'), ',' ORDER BY id) FROM ledger.events`).Scan(&all); err != nil {
			t.Fatal(err)
		}
		canonical = append(canonical, all)
		pool.Close()
	}
	if diff := cmp.Diff(canonical[0], canonical[1]); diff != "" {
		t.Errorf("the ledger and the restored one have other events:\n%s", diff)
	}
}

// backUp copies a database that nobody is connected to.
func backUp(t *testing.T, database *dbtest.Database) db.URL {
	t.Helper()
	admin, err := database.URL().WithDatabase("postgres")
	if err != nil {
		t.Fatal(err)
	}
	pool := ownPool(t, admin)
	name := fmt.Sprintf("restored_%x", newID[[16]byte]())
	var of string
	if err := ownPool(t, database.URL()).QueryRow(t.Context(), `SELECT current_database()`).Scan(&of); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1`, of); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `CREATE DATABASE `+name+` TEMPLATE `+of+` STRATEGY FILE_COPY`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := pool.Exec(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("drop %s: %v", name, err)
		}
	})
	url, err := admin.WithDatabase(name)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// ownPool is the superuser's, for a test that closes it early.
func ownPool(t *testing.T, url db.URL) *pgxpool.Pool {
	t.Helper()
	pool, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func await(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it wasn't done within a minute")
	}
}

var _ ledger.Source = (*shuffled)(nil)
