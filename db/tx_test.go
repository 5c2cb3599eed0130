package db_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
)

// scratch returns the superuser's pool on a database with a table t(n).
func scratch(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := dbtest.Open(t, dbtest.Options{Empty: true}).Pool(t, "")
	if _, err := pool.Exec(t.Context(), `CREATE TABLE t (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)`); err != nil {
		t.Fatal(err)
	}
	return pool
}

func count(t *testing.T, pool *pgxpool.Pool) int {
	t.Helper()
	n := 0
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func insert(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO t (n) VALUES (1)`)
	return err
}

var errWork = errors.New("work failed")

func TestInTx(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		fn   func(context.Context, context.CancelFunc, pgx.Tx) error
		want error
		rows int
	}{
		{"commits", func(ctx context.Context, _ context.CancelFunc, tx pgx.Tx) error { return insert(ctx, tx) }, nil, 1},
		{"error", func(ctx context.Context, _ context.CancelFunc, tx pgx.Tx) error {
			return errors.Join(insert(ctx, tx), errWork)
		}, errWork, 0},
		{"cancelled, then an error", func(ctx context.Context, cancel context.CancelFunc, tx pgx.Tx) error {
			err := insert(ctx, tx)
			cancel()
			return errors.Join(err, errWork)
		}, errWork, 0},
		{"cancelled, and no error", func(ctx context.Context, cancel context.CancelFunc, tx pgx.Tx) error {
			defer cancel()
			return insert(ctx, tx)
		}, context.Canceled, 0},
		{"statement failed, error swallowed", func(ctx context.Context, _ context.CancelFunc, tx pgx.Tx) error {
			_ = insert(ctx, tx)
			_, _ = tx.Exec(ctx, "SELECT 1/0") // the transaction is aborted now
			return nil
		}, pgx.ErrTxCommitRollback, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pool := scratch(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := db.InTx(ctx, pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error { return test.fn(ctx, cancel, tx) })
			if !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
			if errors.Is(err, db.ErrCommitUnknown) {
				t.Errorf("%v: but the outcome is known", err)
			}
			checkEnded(t, pool)
			if made := pool.Stat().NewConnsCount(); made != 1 {
				t.Errorf("%d connections were made: the first did not survive", made)
			}
			if got := count(t, pool); got != test.rows {
				t.Errorf("%d rows, want %d", got, test.rows)
			}
		})
	}
}

// checkEnded fails if a session of the pool's database is left in a transaction.
func checkEnded(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	open := 0
	const query = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL`
	if err := pool.QueryRow(t.Context(), query).Scan(&open); err != nil {
		t.Fatal(err)
	}
	if open != 0 {
		t.Errorf("%d transactions are still open", open)
	}
	if acquired := pool.Stat().AcquiredConns(); acquired != 0 {
		t.Errorf("%d connections were not given back", acquired)
	}
}

func TestInTxRollsBackOnPanicAndGoexit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func()
	}{
		{"panic", func() { panic("boom") }},
		{"goexit", runtime.Goexit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pool := scratch(t)
			var group sync.WaitGroup
			group.Add(1)
			go func() {
				defer group.Done()
				defer func() { _ = recover() }()
				_ = db.InTx(t.Context(), pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
					if err := insert(ctx, tx); err != nil {
						return err
					}
					test.end()
					return nil
				})
			}()
			group.Wait()
			checkEnded(t, pool)
			if got := count(t, pool); got != 0 {
				t.Errorf("%d rows, want none", got)
			}
		})
	}
}

func TestInTxRefusalAtCommit(t *testing.T) {
	t.Parallel()
	pool := scratch(t)
	err := db.InTx(t.Context(), pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(insert(ctx, tx), insert(ctx, tx)) // the key is checked at commit
	})
	if !db.IsRefusal(err) || errors.Is(err, db.ErrCommitUnknown) || db.Constraint(err) != "t_pkey" {
		t.Errorf("got %v, want a refusal by t_pkey", err)
	}
}

func TestInTxRetriesContention(t *testing.T) {
	t.Parallel()
	pool := scratch(t)
	serializable := pgx.TxOptions{IsoLevel: pgx.Serializable}
	tests := []struct {
		name        string
		retries     int
		wantRuns    int
		wantSuccess bool
	}{
		{"not asked", 0, 1, false},
		{"asked, in vain", 2, 3, false},
		{"asked, in the end", 5, 4, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			runs := 0
			err := db.InTx(t.Context(), pool, db.TxOptions{TxOptions: serializable, Retries: test.retries}, func(ctx context.Context, tx pgx.Tx) error {
				runs++
				if runs == 4 {
					return nil
				}
				_, err := tx.Exec(ctx, `DO $$ BEGIN RAISE serialization_failure; END $$`)
				return err
			})
			if runs != test.wantRuns || (err == nil) != test.wantSuccess {
				t.Errorf("%d runs and error %v, want %d runs and success %v", runs, err, test.wantRuns, test.wantSuccess)
			}
		})
	}
}

// lostAnswer is a connection whose COMMIT is carried out and whose answer is lost.
type lostAnswer struct{ *pgxpool.Pool }

type lostAnswerTx struct{ pgx.Tx }

func (l lostAnswer) BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error) {
	tx, err := l.Pool.BeginTx(ctx, opts)
	return lostAnswerTx{tx}, err
}

var errLost = errors.New("connection reset by peer")

func (l lostAnswerTx) Commit(ctx context.Context) error {
	return errors.Join(l.Tx.Commit(ctx), errLost)
}

func TestInTxCommitUnknown(t *testing.T) {
	t.Parallel()
	pool := scratch(t)
	err := db.InTx(t.Context(), lostAnswer{pool}, db.TxOptions{Retries: 3}, insert)
	if !errors.Is(err, db.ErrCommitUnknown) || !errors.Is(err, errLost) || !db.IsOutage(err) {
		t.Errorf("got %v, want the unknown outcome of a commit", err)
	}
	if got := count(t, pool); got != 1 {
		t.Errorf("%d rows, want 1: it happened, once", got)
	}
}

// A server that dies while the COMMIT is under way: the paired fault, "failed".
func TestInTxServerKilledBeforeCommit(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	pool, err := db.Open(t.Context(), db.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE t (n int)`); err != nil {
		t.Fatal(err)
	}
	err = db.InTx(t.Context(), pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		err := insert(ctx, tx)
		server.Kill(t)
		return err
	})
	if !db.IsOutage(err) {
		t.Errorf("got %v, want an outage", err)
	}
	server.Start(t)
	pool.Reset()
	if got := count(t, pool); got != 0 {
		t.Errorf("%d rows of an uncommitted transaction", got)
	}
}
