package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
)

// Decide reads the projections that its command names, as they are at the
// ledger's end, and returns the events that follow: none if nothing is to do.
// It is called again if the transaction has to be. What it writes besides is
// undone with the events.
type Decide func(ctx context.Context, tx pgx.Tx) ([]domain.Event, error)

// Command decides by what the ledger says and appends what was decided, in one
// transaction that holds the ledger's head: it reads its own writes, and two
// commands can't race. It returns when the events are durable.
//
// The projections it reads fold control kinds only. They are first brought up
// to date in ordinary batches, without the head; under the head only the last
// few events are left. So a backlog of usage costs a command nothing.
//
// Errors of decide are returned as they are. An event that can't be in the
// ledger is ErrRefused.
func (l *Ledger) Command(ctx context.Context, reads []Projection, decide Decide) error {
	reads = slices.Clone(reads)
	slices.SortFunc(reads, func(a, b Projection) int { return strings.Compare(a.Name(), b.Name()) })
	for _, p := range reads {
		if !p.Control() {
			panic("ledger: a command reads " + p.Name() + ", which folds more than control kinds")
		}
		if err := l.catchUp(ctx, p); err != nil {
			return wrap("command", err)
		}
	}
	err := db.InTx(ctx, l.pool, db.TxOptions{Retries: commandRetries}, func(ctx context.Context, tx pgx.Tx) error {
		return l.decide(ctx, tx, reads, decide)
	})
	if err != nil {
		return wrap("command", err)
	}
	return nil
}

// commandRetries is how often a command that lost a deadlock is run again.
const commandRetries = 3

// catchUp folds p to the ledger's end as it was, a transaction a batch.
func (l *Ledger) catchUp(ctx context.Context, p Projection) error {
	for {
		var at Progress
		err := db.InTx(ctx, l.pool, db.TxOptions{Retries: commandRetries}, func(ctx context.Context, tx pgx.Tx) (err error) {
			at, err = Advance(ctx, tx, p, BatchEntries)
			return err
		})
		if err != nil || at.CaughtUp() {
			return err
		}
	}
}

func (l *Ledger) decide(ctx context.Context, tx pgx.Tx, reads []Projection, decide Decide) error {
	a, err := l.lockHead(ctx, tx)
	if err != nil {
		return err
	}
	if err := advanceAll(ctx, tx, reads); err != nil {
		return err
	}
	events, err := decide(ctx, tx)
	if err != nil || len(events) == 0 {
		return err
	}
	rows, err := l.commandRows(events)
	if err != nil {
		return err
	}
	if err := a.append(ctx, rows, true); err != nil {
		return err
	}
	if len(a.rejections) > 0 {
		return fmt.Errorf("%w: %s", ErrRefused, a.rejections[0].Reason)
	}
	return advanceAll(ctx, tx, reads)
}

// advanceAll folds the projections to the ledger's end as the transaction sees
// it.
func advanceAll(ctx context.Context, tx pgx.Tx, reads []Projection) error {
	for _, p := range reads {
		for {
			at, err := Advance(ctx, tx, p, BatchEntries)
			if err != nil {
				return err
			}
			if at.CaughtUp() {
				break
			}
		}
	}
	return nil
}

// commandRows encodes events with salts of their own.
func (l *Ledger) commandRows(events []domain.Event) ([]row, error) {
	mem := new(arena)
	rows := make([]row, 0, len(events))
	for _, e := range events {
		var salts [2]domain.Salt
		for i := range salts {
			_, _ = rand.Read(salts[i][:]) // never fails, see crypto/rand
		}
		enc, err := domain.Encode(e, salts[0], salts[1])
		if err != nil {
			return nil, errors.Join(ErrRefused, err)
		}
		r, err := l.newRow(enc, mem)
		if err != nil {
			return nil, errors.Join(ErrRefused, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}
