package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"manti/domain"
)

// An appender is a transaction that holds the head.
type appender struct {
	appended
	l  *Ledger
	tx pgx.Tx
	// size is the index of the next event; at is recorded_at of this
	// transaction's.
	size int64
	at   time.Time
	// partitioned is the first index without a partition, as far as is known.
	partitioned int64
}

// lockHead takes the head until the transaction ends. Whoever takes other locks
// too takes the head first.
func (l *Ledger) lockHead(ctx context.Context, tx pgx.Tx) (*appender, error) {
	// A server set to answer before the commit is durable is overruled; one set
	// to wait for even more is left alone.
	const durable = `SELECT set_config('synchronous_commit', 'on', true)
		WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')`
	const lock = `SELECT size, recorded_at, frozen, COALESCE(reason, '') FROM ledger.head WHERE shard = 0 FOR UPDATE`
	// A statement of its own: in the one that waits for the lock it would be read before.
	const clock = `SELECT clock_timestamp()`
	a := &appender{l: l, tx: tx, partitioned: l.partitioned.Load()}
	var head Head
	batch := new(pgx.Batch)
	batch.Queue(durable)
	batch.Queue(lock).QueryRow(func(row pgx.Row) error {
		return row.Scan(&head.Size, &head.RecordedAt, &head.Frozen, &head.Reason)
	})
	batch.Queue(clock).QueryRow(func(row pgx.Row) error { return row.Scan(&a.at) })
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("lock head: %w", err)
	}
	if head.Frozen {
		return nil, fmt.Errorf("%w: %s", ErrFrozen, head.Reason)
	}
	if next := head.RecordedAt.Add(time.Microsecond); a.at.Before(next) {
		a.at = next
	}
	a.at = a.at.UTC()
	a.size = head.Size
	return a, nil
}

// append writes the rows that may be appended and moves the head. With dedup it
// looks for ids that are there already; without, those end the transaction with
// a unique violation of ledger.ids. That is the cheaper way: an id comes twice
// only after a crash or an outage.
func (a *appender) append(ctx context.Context, rows []row, dedup bool) (err error) {
	if dedup {
		if rows, err = a.dropKnown(ctx, rows); err != nil {
			return err
		}
	}
	if rows, err = a.dropSuperseding(ctx, rows); err != nil {
		return err
	}
	a.Size, a.RecordedAt = a.size, a.at
	if len(rows) == 0 {
		return nil
	}
	if err := a.makePartition(ctx, a.size+int64(len(rows))); err != nil {
		return err
	}
	if err := a.copyRows(ctx, rows); err != nil {
		return err
	}
	if err := a.finish(ctx, rows); err != nil {
		return err
	}
	a.Appended += len(rows)
	a.Size, a.size = a.size+int64(len(rows)), a.size+int64(len(rows))
	return nil
}

// dropKnown takes out the rows whose ids are in the ledger.
func (a *appender) dropKnown(ctx context.Context, rows []row) ([]row, error) {
	const query = `SELECT i.id, i.index, e.canonical FROM ledger.ids i JOIN ledger.events e ON e.index = i.index WHERE i.id = ANY($1)`
	ids := make([]domain.EventID, len(rows))
	for i := range rows {
		ids[i] = rows[i].enc.ID
	}
	type known struct {
		index     int64
		canonical []byte
	}
	found, err := a.tx.Query(ctx, query, uuids(ids))
	if err != nil {
		return nil, fmt.Errorf("look for known ids: %w", err)
	}
	there := make(map[domain.EventID]known)
	var id [16]byte
	var k known
	_, err = pgx.ForEachRow(found, []any{&id, &k.index, &k.canonical}, func() error {
		there[id] = k
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for known ids: %w", err)
	}
	kept := make([]row, 0, len(rows))
	for _, r := range rows {
		k, is := there[r.enc.ID]
		switch {
		case !is:
			kept = append(kept, r)
		case r.sameEvent(k.canonical):
			a.Duplicates++
		default:
			a.rejections = append(a.rejections, rejectRow(r, fmt.Sprintf("same id, other bytes: the ledger has another event at index %d", k.index), stateUnique))
		}
	}
	return kept, nil
}

// dropSuperseding takes out the rows that supersede what isn't in the ledger or
// has been superseded. Corrections are rare, so mostly it has nothing to ask.
func (a *appender) dropSuperseding(ctx context.Context, rows []row) ([]row, error) {
	var targets []domain.EventID
	for i := range rows {
		if !rows[i].supersedes.IsZero() {
			targets = append(targets, rows[i].supersedes)
		}
	}
	if len(targets) == 0 {
		return rows, nil
	}
	state, err := a.superseded(ctx, targets)
	if err != nil {
		return nil, err
	}
	kept := make([]row, 0, len(rows))
	for _, r := range rows {
		if reason := state.refuse(&r); reason != "" {
			a.rejections = append(a.rejections, rejectRow(r, reason, stateUnique))
			continue
		}
		state.there[r.enc.ID] = true
		kept = append(kept, r)
	}
	return kept, nil
}

// supersession is which events are in the ledger, and by which they are
// superseded.
type supersession struct {
	there map[domain.EventID]bool
	by    map[domain.EventID]domain.EventID
}

func (a *appender) superseded(ctx context.Context, targets []domain.EventID) (supersession, error) {
	const query = `SELECT i.id, s.by FROM ledger.ids i LEFT JOIN ledger.supersedes s ON s.id = i.id WHERE i.id = ANY($1)`
	state := supersession{make(map[domain.EventID]bool), make(map[domain.EventID]domain.EventID)}
	found, err := a.tx.Query(ctx, query, uuids(targets))
	if err != nil {
		return state, fmt.Errorf("look for superseded: %w", err)
	}
	var id [16]byte
	var by *[16]byte
	_, err = pgx.ForEachRow(found, []any{&id, &by}, func() error {
		state.there[id] = true
		if by != nil {
			state.by[id] = *by
		}
		return nil
	})
	if err != nil {
		return state, fmt.Errorf("look for superseded: %w", err)
	}
	return state, nil
}

// refuse says why r can't supersede what it says, "" if it can or is itself
// what did.
func (s supersession) refuse(r *row) string {
	target := r.supersedes
	by, taken := s.by[target]
	switch {
	case target.IsZero() || taken && by == r.enc.ID:
		return ""
	case target == r.enc.ID:
		return "supersedes itself"
	case !s.there[target]:
		return "supersedes " + target.String() + ", which is not in the ledger"
	case taken:
		return "supersedes " + target.String() + ", which " + by.String() + " has superseded"
	}
	s.by[target] = r.enc.ID
	return ""
}

// copyRows writes ids first: if one is there already, nothing else was written
// in vain.
func (a *appender) copyRows(ctx context.Context, rows []row) error {
	if err := copyIn(ctx, a.tx, `COPY ledger.ids (id, index) FROM STDIN (FORMAT binary)`, a.idRows(rows)); err != nil {
		return fmt.Errorf("ids: %w", err)
	}
	const events = `COPY ledger.events (index, recorded_at, leaf, ` + eventColumns + `) FROM STDIN (FORMAT binary)`
	if err := copyIn(ctx, a.tx, events, a.eventRows(rows)); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if !slices.ContainsFunc(rows, func(r row) bool { return r.erasable != nil }) {
		return nil
	}
	const erasable = `COPY ledger.erasable (index, ` + erasableColumns + `) FROM STDIN (FORMAT binary)`
	if err := copyIn(ctx, a.tx, erasable, a.erasableRows(rows)); err != nil {
		return fmt.Errorf("erasable parts: %w", err)
	}
	return nil
}

func (a *appender) idRows(rows []row) *copyReader {
	i := -1
	return newCopyReader(2, func(t tuple) (tuple, []byte, bool) {
		i++
		if i == len(rows) {
			return nil, nil, false
		}
		t.uuid(rows[i].enc.ID)
		t.int64(a.size + int64(i))
		return t, nil, true
	})
}

func (a *appender) eventRows(rows []row) *copyReader {
	i := -1
	return newCopyReader(eventFields, func(t tuple) (tuple, []byte, bool) {
		i++
		if i == len(rows) {
			return nil, nil, false
		}
		leaf := domain.LeafHash(a.at, rows[i].canonical)
		t.int64(a.size + int64(i))
		t.time(a.at)
		t.bytes(leaf[:])
		return t, rows[i].event, true
	})
}

func (a *appender) erasableRows(rows []row) *copyReader {
	i := -1
	return newCopyReader(erasableFields, func(t tuple) (tuple, []byte, bool) {
		for i++; i < len(rows) && rows[i].erasable == nil; i++ {
		}
		if i == len(rows) {
			return nil, nil, false
		}
		t.int64(a.size + int64(i))
		return t, rows[i].erasable, true
	})
}

// finish writes what is superseded and moves the head.
func (a *appender) finish(ctx context.Context, rows []row) error {
	const supersede = `INSERT INTO ledger.supersedes (id, by, by_index) VALUES ($1, $2, $3)`
	const move = `UPDATE ledger.head SET size = $1, recorded_at = $2 WHERE shard = 0 AND size = $3`
	batch := new(pgx.Batch)
	for i := range rows {
		if r := &rows[i]; !r.supersedes.IsZero() {
			batch.Queue(supersede, uuid(r.supersedes), uuid(r.enc.ID), a.size+int64(i))
		}
	}
	batch.Queue(move, a.size+int64(len(rows)), a.at, a.size).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != 1 {
			return errors.New("the head was moved under its lock")
		}
		return nil
	})
	if err := a.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("move head: %w", err)
	}
	return nil
}
