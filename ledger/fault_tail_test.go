package ledger_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// A chaosWriter appends while its transactions stall or roll back.
type chaosWriter func(ctx context.Context, fate *rand.Rand) error

// A crowd is how many write, and how often each.
type crowd struct{ writers, writes int }

// tail runs writers and, beside them, one who asks again and again for what is
// behind the last index it saw. It returns what that reader saw.
func tail(t *testing.T, pool *pgxpool.Pool, size crowd, newest string, write chaosWriter) (seen []int64) {
	t.Helper()
	var writers, reader sync.WaitGroup
	done := make(chan struct{})
	for w := range size.writers {
		fate := rand.New(rand.NewPCG(1, uint64(w)))
		writers.Go(func() {
			for range size.writes {
				if err := write(t.Context(), fate); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reader.Go(func() {
		last := int64(-1)
		for final := false; ; {
			rows, err := pool.Query(t.Context(), newest, last)
			if err != nil {
				t.Error(err)
				return
			}
			more, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				t.Error(err)
				return
			}
			if len(more) > 0 {
				seen, last = append(seen, more...), more[len(more)-1]
			}
			if final {
				return
			}
			select {
			case <-done:
				final = true
			default:
			}
		}
	})
	writers.Wait()
	close(done)
	reader.Wait()
	return seen
}

// stall lets a transaction wait before its commit, now and then.
func stall(ctx context.Context, tx pgx.Tx, fate *rand.Rand) error {
	if fate.IntN(4) > 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, float64(fate.IntN(10))/1000)
	return err
}

// long says that tests may take minutes.
func long() bool { return os.Getenv("MANTI_TEST_LONG") == "1" }

var errUndone = errors.New("undone on purpose")

// TestThirtyTwoWritersAndATailingReader runs 32 writers, each with a connection
// of its own, whose transactions stall or are undone at random, beside a reader
// of what is behind the last index it saw. The control beside it is the same
// reader of a bigserial, under the same writers: that one misses rows.
func TestThirtyTwoWritersAndATailingReader(t *testing.T) {
	t.Parallel()
	size := crowd{writers: 32, writes: 8}
	if long() {
		size.writes = 200
	}
	database := dbtest.Open(t, dbtest.Options{})
	pool := manyConnections(t, database, size.writers+2)
	l := ledger.New(pool)
	seen := tail(t, pool, size, `SELECT index FROM ledger.events WHERE index > $1 ORDER BY index`, func(ctx context.Context, fate *rand.Rand) error {
		switch fate.IntN(10) {
		case 0: // rolled back after its COPY, for the sake of an id that is there
			first := calls(t, 1)
			if _, err := l.Append(ctx, first); err != nil {
				return unlessAway(err)
			}
			_, err := l.Append(ctx, append(calls(t, 1), first...))
			return unlessAway(err)
		case 1, 2, 3, 4:
			_, err := l.Append(ctx, calls(t, 1+fate.IntN(3)))
			return unlessAway(err)
		}
		_, err := l.Command(ctx, nil, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
			if err := stall(ctx, tx, fate); err != nil {
				return nil, err
			}
			if fate.IntN(3) == 0 {
				return nil, errUndone
			}
			return []domain.Event{{ID: newID[domain.EventID](), Body: newCall()}}, nil
		})
		return unlessAway(err)
	})
	checkInvariants(t, pool, 0)
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); !slices.IsSorted(seen) || len(seen) != n {
		t.Errorf("the reader saw %d of %d events", len(seen), n)
	}

	super := database.Pool(t, "")
	if _, err := super.Exec(t.Context(), `CREATE TABLE public.naive (index bigserial PRIMARY KEY); GRANT USAGE ON SCHEMA public TO PUBLIC; GRANT ALL ON public.naive, public.naive_index_seq TO PUBLIC`); err != nil {
		t.Fatal(err)
	}
	skipped := 0
	for range 20 {
		seen := tail(t, pool, size, `SELECT index FROM public.naive WHERE index > $1 ORDER BY index`, func(ctx context.Context, fate *rand.Rand) error {
			err := db.InTx(ctx, pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO public.naive DEFAULT VALUES`); err != nil {
					return err
				}
				if fate.IntN(6) == 0 {
					return errUndone
				}
				return stall(ctx, tx, fate)
			})
			return unlessAway(err)
		})
		rows := count(t, pool, `SELECT count(*) FROM public.naive`)
		if skipped = rows - len(seen); skipped > 0 {
			t.Logf("the naive reader missed %d of %d rows", skipped, rows)
			return
		}
		if _, err := super.Exec(t.Context(), `TRUNCATE public.naive`); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("the control missed nothing: this reader proves nothing")
}

// unlessAway passes over what was undone on purpose, and over an append that
// gave up waiting behind 31 others: those didn't happen.
func unlessAway(err error) error {
	if errors.Is(err, errUndone) || errors.Is(err, ledger.ErrOutage) {
		return nil
	}
	return err
}

func manyConnections(t *testing.T, database *dbtest.Database, n int) *pgxpool.Pool {
	t.Helper()
	pool, err := db.Open(t.Context(), db.Config{URL: database.URL(), Role: db.RoleWriter, MaxConns: int32(n)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
