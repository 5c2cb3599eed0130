package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrCommitUnknown wraps the error of a COMMIT that was sent and never
// answered: the transaction may have happened. Work with an idempotency key can
// be repeated; other work must look first.
var ErrCommitUnknown = errors.New("outcome of the commit is unknown")

// rollbackTimeout bounds a ROLLBACK whose caller has already gone. Postgres
// answers it at once; where it doesn't, closing the connection rolls back too.
const rollbackTimeout = time.Second

// Beginner starts a transaction: *pgxpool.Pool, *pgxpool.Conn or *pgx.Conn.
type Beginner interface {
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// TxOptions says how a transaction runs. The zero value is one attempt, read
// committed, read and write.
type TxOptions struct {
	pgx.TxOptions
	// Retries is how many more times fn runs, in a new transaction, after a
	// serialization failure or a deadlock. fn must then be repeatable.
	Retries int
}

// InTx runs fn in a transaction and commits it if fn returns nil; else, and on
// panic or runtime.Goexit, it rolls back. The rollback doesn't need ctx, so a
// cancelled caller leaves no transaction open. If even the rollback fails, the
// connection is closed, with which Postgres rolls back.
//
// It returns fn's error as it is, an error of COMMIT or BEGIN wrapped, and one
// that is ErrCommitUnknown where the commit may have happened. fn must not keep
// tx, nor commit or roll it back.
func InTx(ctx context.Context, b Beginner, opts TxOptions, fn func(context.Context, pgx.Tx) error) error {
	for attempt := 0; ; attempt++ {
		err := inTxOnce(ctx, b, opts.TxOptions, fn)
		if err == nil || attempt >= opts.Retries || !IsContention(err) {
			return err
		}
		if waitErr := backOff(ctx, attempt); waitErr != nil {
			return err
		}
	}
}

func inTxOnce(ctx context.Context, b Beginner, opts pgx.TxOptions, fn func(context.Context, pgx.Tx) error) error {
	tx, err := b.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	ended := false
	defer func() {
		if !ended {
			rollback(ctx, tx)
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	ended = true
	return commit(ctx, tx)
}

// rollback ends tx whatever has become of ctx.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // on error pgx closes the connection, which rolls back as well
}

func commit(ctx context.Context, tx pgx.Tx) error {
	if err := ctx.Err(); err != nil {
		rollback(ctx, tx)
		return fmt.Errorf("commit transaction: %w", err)
	}
	broken := tx.Conn().IsClosed()
	err := tx.Commit(ctx)
	// When the answer to a COMMIT is lost, pgx says "conn closed" as if nothing had been sent.
	unsent := pgconn.SafeToRetry(err) && (broken || !errors.Is(err, pgconn.ErrConnClosed))
	switch {
	case err == nil:
		return nil
	case SQLState(err) != "", errors.Is(err, pgx.ErrTxCommitRollback), errors.Is(err, pgx.ErrTxClosed), unsent:
		return fmt.Errorf("commit transaction: %w", err)
	default:
		return fmt.Errorf("commit transaction: %w: %w", ErrCommitUnknown, err)
	}
}

// backOff waits a random time below 2 ms, 4 ms, 8 ms … 128 ms, so that those who
// collided don't meet again.
func backOff(ctx context.Context, attempt int) error {
	limit := 2 * time.Millisecond << min(attempt, 6)
	timer := time.NewTimer(rand.N(limit))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
