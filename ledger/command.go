package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger/internal/row"
	"manti/ledger/spool"
)

// Decide returns the events that follow from what the projections of its
// command say, which it reads through tx; none is fine. now is the time at which
// they will be recorded, the only one that it should go by. An event needs an
// id; without a time it gets now. An error undoes all. It may be called again
// after a deadlock, and must do nothing that isn't undone with tx.
type Decide func(ctx context.Context, tx pgx.Tx, now time.Time) ([]domain.Event, error)

// ErrExists: an event of a command is in the ledger already, by its id. A
// command that derives its ids from what it is about has been done before.
var ErrExists = errors.New("ledger: there is an event with this id")

// ErrUnfolded: a command did nothing, because a projection that it reads could
// not take what would have been appended. Others' events are parked then; a
// command's own are not appended, so that nobody takes it for done.
var ErrUnfolded = errors.New("nothing was done, because a projection can't take what would have been recorded (see what was changed in its table; `manti rebuild` with --replace makes it anew)")

// commandRetries is how often a command begins anew after a deadlock.
const commandRetries = 3

// Command decides by what the control projections say when nobody else can
// change it, and appends what was decided: all of it or nothing. When it returns,
// the projections say so too.
//
// It catches them up without the head first, so that it holds the head only for
// the last few events. Others who append wait meanwhile: decide should take
// milliseconds.
//
// Errors are decide's own, ErrRefused or ErrExists for events that can't be
// appended, ErrUnfolded for those that can't be folded, ErrFrozen, and ErrOutage. With db.ErrCommitUnknown it may have
// happened: ask Get for an id.
func (l *Ledger) Command(ctx context.Context, reads []Projection, decide Decide) ([]Entry, error) {
	reads = slices.SortedFunc(slices.Values(reads), func(a, b Projection) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, p := range reads {
		if !p.Control() {
			return nil, fmt.Errorf("command: %s folds more than control kinds", p.Name())
		}
		if err := l.catchUp(ctx, p); err != nil {
			return nil, wrap("command", err)
		}
	}
	var entries []Entry
	partitioned, head := int64(0), spool.Head{}
	err := db.InTx(ctx, l.pool, db.TxOptions{Retries: commandRetries}, func(ctx context.Context, tx pgx.Tx) error {
		a, err := l.lockHead(ctx, tx)
		if err != nil {
			return err
		}
		entries, err = a.decide(ctx, reads, decide)
		partitioned, head = a.partitioned, a.head
		return err
	})
	if errors.Is(err, db.ErrCommitUnknown) && l.isThere(ctx, entries) {
		err = nil
	}
	if err != nil {
		return nil, wrap("command", err)
	}
	l.sawPartition(partitioned)
	l.saw(head)
	return entries, nil
}

// catchUp folds until nothing is left, each batch in a transaction of its own.
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

func (a *appender) decide(ctx context.Context, reads []Projection, decide Decide) ([]Entry, error) {
	if err := a.fold(ctx, reads); err != nil {
		return nil, err
	}
	events, err := decide(ctx, a.tx, a.at)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	rows, err := a.encode(events)
	if err != nil {
		return nil, err
	}
	first := a.size
	if err := a.append(ctx, rows, false); err != nil {
		if isDuplicateID(err) {
			return nil, fmt.Errorf("%w: %w", ErrExists, err)
		}
		if isRefusal(err) {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, err
	}
	if len(a.rejections) > 0 {
		return nil, fmt.Errorf("%w: %s %s", ErrRefused, a.rejections[0].ID, a.rejections[0].Reason)
	}
	entries := make([]Entry, len(rows))
	for i := range rows {
		entries[i] = Entry{Index: first + int64(i), RecordedAt: a.at, Event: events[i], Canonical: bytes.Clone(rows[i].Canonical)}
	}
	err = a.fold(ctx, reads)
	if _, ofFold := errors.AsType[*FoldError](err); ofFold && !db.IsOutage(err) {
		err = fmt.Errorf("%w: %w", ErrUnfolded, err)
	}
	return entries, err
}

// fold brings the projections to the end, in the order of their names.
func (a *appender) fold(ctx context.Context, reads []Projection) error {
	for _, p := range reads {
		for {
			at, err := Advance(ctx, a.tx, p, BatchEntries)
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

func (a *appender) encode(events []domain.Event) ([]row.Row, error) {
	rows := make([]row.Row, 0, len(events))
	mem := new(row.Arena)
	seen := make(map[domain.EventID]bool, len(events))
	for i := range events {
		if events[i].At.IsZero() {
			events[i].At = a.at
		}
		enc, err := encodeFresh(events[i])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		r, err := row.New(enc, mem)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if seen[enc.ID] {
			return nil, fmt.Errorf("%w: two events with id %s", ErrRefused, enc.ID)
		}
		seen[enc.ID] = true
		rows = append(rows, r)
	}
	return rows, nil
}

// isThere looks for the events of a transaction whose commit wasn't answered.
// They are there all or none. That they are not proves nothing: the server may
// not be done yet.
func (l *Ledger) isThere(ctx context.Context, entries []Entry) bool {
	if len(entries) == 0 {
		return false
	}
	found, err := Get(ctx, l.pool, entries[0].Event.ID)
	return err == nil && bytes.Equal(found.Canonical, entries[0].Canonical)
}
