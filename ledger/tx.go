package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"manti/domain"
	"manti/ledger/internal/row"
	"manti/ledger/spool"
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
	// head is the ledger's end after the append; zero if nothing was.
	head spool.Head
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
	seen, leaf := l.seen(), []byte(nil)
	batch := new(pgx.Batch)
	batch.Queue(durable)
	batch.Queue(lock).QueryRow(func(row pgx.Row) error {
		return row.Scan(&head.Size, &head.RecordedAt, &head.Frozen, &head.Reason)
	})
	batch.Queue(clock).QueryRow(func(row pgx.Row) error { return row.Scan(&a.at) })
	queueLeaf(batch, seen, &leaf)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("lock head: %w", err)
	}
	if err := l.checkHead(ctx, tx, seen, head, leaf); err != nil {
		return nil, err
	}
	if head.Frozen {
		return nil, frozenFor(head.Reason)
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
func (a *appender) append(ctx context.Context, rows []row.Row, dedup bool) (err error) {
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
	for i := range rows {
		a.placed = append(a.placed, placed{rows[i].Nth, Place{a.size + int64(i), a.at}})
	}
	a.Appended += len(rows)
	a.head = spool.Head{Size: a.size + int64(len(rows)), At: a.at, Leaf: domain.LeafHash(a.at, rows[len(rows)-1].Canonical)}
	a.Size, a.size = a.size+int64(len(rows)), a.size+int64(len(rows))
	return nil
}

// dropKnown takes out the rows whose ids are in the ledger.
func (a *appender) dropKnown(ctx context.Context, rows []row.Row) ([]row.Row, error) {
	const query = `SELECT i.id, i.index, e.recorded_at, e.canonical FROM ledger.ids i JOIN ledger.events e ON e.index = i.index WHERE i.id = ANY($1)`
	ids := make([]domain.EventID, len(rows))
	for i := range rows {
		ids[i] = rows[i].Encoded.ID
	}
	type known struct {
		Place
		canonical []byte
	}
	found, err := a.tx.Query(ctx, query, uuids(ids))
	if err != nil {
		return nil, fmt.Errorf("look for known ids: %w", err)
	}
	there := make(map[domain.EventID]known)
	var id [16]byte
	var k known
	_, err = pgx.ForEachRow(found, []any{&id, &k.Index, &k.RecordedAt, &k.canonical}, func() error {
		k.RecordedAt = k.RecordedAt.UTC()
		there[id] = k
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for known ids: %w", err)
	}
	kept := make([]row.Row, 0, len(rows))
	for _, r := range rows {
		k, is := there[r.Encoded.ID]
		switch {
		case !is:
			kept = append(kept, r)
		case bytes.Equal(r.Canonical, k.canonical):
			a.Duplicates++
			a.placed = append(a.placed, placed{r.Nth, k.Place})
		default:
			a.rejections = append(a.rejections, rejectRow(r, fmt.Sprintf("same id, other bytes: the ledger has another event at index %d", k.Index), stateUnique))
		}
	}
	return kept, nil
}

// dropSuperseding takes out the rows that supersede what isn't in the ledger or
// has been superseded. Corrections are rare, so mostly it has nothing to ask.
func (a *appender) dropSuperseding(ctx context.Context, rows []row.Row) ([]row.Row, error) {
	var targets []domain.EventID
	for i := range rows {
		if !rows[i].Supersedes.IsZero() {
			targets = append(targets, rows[i].Supersedes)
		}
	}
	if len(targets) == 0 {
		return rows, nil
	}
	state, err := a.superseded(ctx, targets)
	if err != nil {
		return nil, err
	}
	kept := make([]row.Row, 0, len(rows))
	for _, r := range rows {
		if reason := state.refuse(&r); reason != "" {
			a.rejections = append(a.rejections, rejectRow(r, reason, stateUnique))
			continue
		}
		state.there[r.Encoded.ID] = true
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
	const query = `SELECT i.id, s.by FROM ledger.ids i LEFT JOIN ledger.Supersedes s ON s.id = i.id WHERE i.id = ANY($1)`
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
func (s supersession) refuse(r *row.Row) string {
	target := r.Supersedes
	by, taken := s.by[target]
	switch {
	case target.IsZero() || taken && by == r.Encoded.ID:
		return ""
	case target == r.Encoded.ID:
		return "supersedes itself"
	case !s.there[target]:
		return "supersedes " + target.String() + ", which is not in the ledger"
	case taken:
		return "supersedes " + target.String() + ", which " + by.String() + " has superseded"
	}
	s.by[target] = r.Encoded.ID
	return ""
}

// copyRows writes ids first: if one is there already, nothing else was written
// in vain.
func (a *appender) copyRows(ctx context.Context, rows []row.Row) error {
	if err := a.copyIn(ctx, row.CopyIDs, row.IDs(rows, a.size)); err != nil {
		return fmt.Errorf("copy ids: %w", err)
	}
	if err := a.copyIn(ctx, row.CopyEvents, row.Events(rows, a.size, a.at)); err != nil {
		return fmt.Errorf("copy events: %w", err)
	}
	erasable := row.Erasable(rows, a.size)
	if erasable == nil {
		return nil
	}
	if err := a.copyIn(ctx, row.CopyErasable, erasable); err != nil {
		return fmt.Errorf("copy erasable parts: %w", err)
	}
	return nil
}

// copyIn sends rows in the binary format.
func (a *appender) copyIn(ctx context.Context, statement string, rows io.Reader) error {
	_, err := a.tx.Conn().PgConn().CopyFrom(ctx, rows, statement)
	return err
}

// finish writes what is superseded and moves the head.
func (a *appender) finish(ctx context.Context, rows []row.Row) error {
	const supersede = `INSERT INTO ledger.Supersedes (id, by, by_index) VALUES ($1, $2, $3)`
	const move = `UPDATE ledger.head SET size = $1, recorded_at = $2 WHERE shard = 0 AND size = $3`
	batch := new(pgx.Batch)
	for i := range rows {
		if r := &rows[i]; !r.Supersedes.IsZero() {
			batch.Queue(supersede, uuid(r.Supersedes), uuid(r.Encoded.ID), a.size+int64(i))
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
