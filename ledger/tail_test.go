package ledger_test

import (
	"context"
	"math/rand/v2"
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

// tail runs writers and, beside them, one who asks again and again for what is
// behind the last index it saw. It returns what that reader saw.
func tail(t *testing.T, pool *pgxpool.Pool, newest string, write chaosWriter) (seen []int64) {
	t.Helper()
	var writers, reader sync.WaitGroup
	done := make(chan struct{})
	for w := range 8 {
		fate := rand.New(rand.NewPCG(1, uint64(w)))
		writers.Go(func() {
			for range 25 {
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

func TestAReaderBehindTheLastIndexMissesNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	write := func(ctx context.Context, fate *rand.Rand) error {
		switch fate.IntN(10) {
		case 0: // rolled back after its COPY
			first := calls(t, 1)[0]
			if _, err := l.Append(ctx, []domain.Encoded{first}); err != nil {
				return err
			}
			_, err := l.Append(ctx, []domain.Encoded{calls(t, 1)[0], first})
			return err
		case 1, 2: // stalled with the head
			_, err := l.Command(ctx, nil, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
				return []domain.Event{{ID: newID[domain.EventID](), Body: newCall()}}, stall(ctx, tx, fate)
			})
			return err
		}
		_, err := l.Append(ctx, calls(t, 1+fate.IntN(3)))
		return err
	}
	seen := tail(t, pool, `SELECT index FROM ledger.events WHERE index > $1 ORDER BY index`, write)
	checkInvariants(t, pool, 0)
	if !slices.IsSorted(seen) || len(seen) != count(t, pool, `SELECT count(*) FROM ledger.events`) {
		t.Errorf("the reader saw %d of %d events", len(seen), count(t, pool, `SELECT count(*) FROM ledger.events`))
	}
}

// TestASequenceWouldSkip is the control of the test above: the same reader on a
// bigserial misses events, so the test can tell.
func TestASequenceWouldSkip(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, "")
	if _, err := pool.Exec(t.Context(), `CREATE TABLE naive (index bigserial PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	missed := 0
	for range 20 {
		if _, err := pool.Exec(t.Context(), `TRUNCATE naive`); err != nil {
			t.Fatal(err)
		}
		seen := tail(t, pool, `SELECT index FROM naive WHERE index > $1 ORDER BY index`, func(ctx context.Context, fate *rand.Rand) error {
			return db.InTx(ctx, pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO naive DEFAULT VALUES`); err != nil {
					return err
				}
				return stall(ctx, tx, fate)
			})
		})
		if missed += count(t, pool, `SELECT count(*) FROM naive`) - len(seen); missed > 0 {
			return
		}
	}
	t.Error("the control missed nothing: this reader proves nothing")
}
