package ledger

import (
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

// refillBatch is RecoverConfig.Batch's default.
const refillBatch = 1000

// errEvidence: what a spool has of an entry isn't what was recorded.
var errEvidence = errors.New("ledger: a spool contradicts itself")

// Refill puts back what can have its old index, and erases again what had been
// erased. The head must be frozen, and stays so.
func (r *Recovery) Refill(ctx context.Context) error {
	todo := r.e.claims[:r.Refillable]
	for chunk := range slices.Chunk(todo, r.cfg.Batch) {
		rows, times, err := r.rows(chunk)
		if err != nil {
			return fmt.Errorf("refill: %w", err)
		}
		if err := r.put(ctx, rows, times, chunk[0].index); err != nil {
			return wrap(fmt.Sprintf("refill from index %d", chunk[0].index), err)
		}
		r.cfg.Progress(chunk[0].index+int64(len(chunk))-r.Head.Size, r.Refillable)
	}
	if err := r.erase(ctx); err != nil {
		return wrap("refill", err)
	}
	if err := r.remembered(ctx); err != nil {
		return wrap("refill", err)
	}
	return nil
}

// rows are the entries of claims, as they were.
func (r *Recovery) rows(claims []claim) (rows []row.Row, times []time.Time, err error) {
	mem := new(row.Arena)
	for _, c := range claims {
		made, err := r.row(c, mem)
		if err != nil {
			return nil, nil, fmt.Errorf("entry %d, event %s: %w", c.index, c.id, err)
		}
		rows, times = append(rows, made), append(times, time.UnixMicro(c.at).UTC())
	}
	return rows, times, nil
}

// row is the entry of a claim, checked against all that is known of it.
func (r *Recovery) row(c claim, mem *row.Arena) (row.Row, error) {
	enc, canonical, err := r.event(c)
	if err != nil {
		return row.Row{}, err
	}
	made, err := row.Stored(enc, canonical, mem)
	if err != nil {
		return row.Row{}, err
	}
	leaf := domain.LeafHash(time.UnixMicro(c.at), canonical)
	if c.leaf != [domain.HashSize]byte{} && leaf != c.leaf {
		return row.Row{}, fmt.Errorf("%w: the entry had the leaf %x, not %x", errEvidence, c.leaf, leaf)
	}
	if r.e.erased(c.index, c.at) {
		made = made.WithoutErasable()
	}
	return made, nil
}

// event reads the event of a claim from its spool.
func (r *Recovery) event(c claim) (enc domain.Encoded, canonical []byte, err error) {
	record, err := r.e.archives[c.from].Record(c.pos)
	if err != nil {
		return enc, nil, err
	}
	if c.entry {
		return storedEntry(c.id, record.Payload)
	}
	if enc, err = domain.ParseRecord(record.Payload); err != nil {
		return enc, nil, err
	}
	if enc.ID != c.id {
		return enc, nil, fmt.Errorf("%w: the event is %s", errEvidence, enc.ID)
	}
	return enc, enc.Canonical(), nil
}

// storedEntry reads an Entry and holds its parts against their hashes.
func storedEntry(id domain.EventID, payload []byte) (enc domain.Encoded, canonical []byte, err error) {
	c, err := spool.ParseCommitted(payload)
	if err != nil {
		return enc, nil, err
	}
	if enc, err = encodedOf(id, c); err != nil {
		return enc, nil, err
	}
	_, private, erasable, err := domain.SplitCanonical(c.Canonical)
	if err != nil {
		return enc, nil, err
	}
	if enc.Private != nil && domain.PartHash(enc.PrivateSalt, enc.Private) != private ||
		enc.Erasable != nil && domain.PartHash(enc.ErasableSalt, enc.Erasable) != erasable {
		return enc, nil, fmt.Errorf("%w: a part isn't what its hash says", errEvidence)
	}
	return enc, c.Canonical, nil
}

// lockFrozen takes a head that is frozen because the ledger is behind.
func (l *Ledger) lockFrozen(ctx context.Context, tx pgx.Tx) (*appender, Head, error) {
	const lock = `SELECT FROM ledger.head WHERE shard = 0 FOR UPDATE`
	if _, err := tx.Exec(ctx, lock); err != nil {
		return nil, Head{}, fmt.Errorf("lock head: %w", err)
	}
	head, err := ReadHead(ctx, tx)
	if err != nil {
		return nil, head, err
	}
	if !head.Frozen || !errors.Is(frozenFor(head.Reason), ErrBehind) {
		return nil, head, errors.New("the head isn't frozen any more, or for something else")
	}
	return &appender{l: l, tx: tx, size: head.Size}, head, nil
}

// put writes rows at their old places, in one transaction.
func (r *Recovery) put(ctx context.Context, rows []row.Row, times []time.Time, first int64) error {
	return db.InTx(ctx, r.l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a, head, err := r.l.lockFrozen(ctx, tx)
		if err != nil {
			return err
		}
		if head.Size != first {
			return fmt.Errorf("the ledger has %d entries, not %d: somebody else is recovering it", head.Size, first)
		}
		if err := a.makePartition(ctx, first+int64(len(rows))); err != nil {
			return err
		}
		if err := a.copyIn(ctx, row.CopyIDs, row.IDs(rows, first)); err != nil {
			return fmt.Errorf("copy ids: %w", err)
		}
		if err := a.copyIn(ctx, row.CopyEvents, row.EventsAt(rows, first, times)); err != nil {
			return fmt.Errorf("copy events: %w", err)
		}
		if erasable := row.Erasable(rows, first); erasable != nil {
			if err := a.copyIn(ctx, row.CopyErasable, erasable); err != nil {
				return fmt.Errorf("copy erasable parts: %w", err)
			}
		}
		a.at = times[len(times)-1]
		return a.finish(ctx, rows)
	})
}

// erase deletes again the erasable parts of entries that were there when the
// ledger was found, and were erased after that.
func (r *Recovery) erase(ctx context.Context) error {
	const query = `DELETE FROM ledger.erasable WHERE index = ANY($1)`
	var indexes []int64
	for index, times := range r.e.forgotten {
		stands := func(when int64) bool {
			return !slices.ContainsFunc(r.e.origins, func(o origin) bool { return o.index <= index && o.at > when })
		}
		if index < r.Head.Size && slices.ContainsFunc(times, stands) {
			indexes = append(indexes, index)
		}
	}
	for chunk := range slices.Chunk(indexes, atOnce) {
		if _, err := r.l.pool.Exec(ctx, query, chunk); err != nil {
			return fmt.Errorf("erase again: %w", err)
		}
	}
	return nil
}

// remembered holds the ledger against the heads that processes remembered.
func (r *Recovery) remembered(ctx context.Context) error {
	const query = `SELECT leaf FROM ledger.events WHERE index = $1`
	for _, seen := range r.e.seen {
		if r.Diverged != nil || r.e.accepted(seen.At.UnixMicro()) || seen.Size > r.upTo || seen.Leaf == [domain.HashSize]byte{} {
			continue
		}
		var leaf []byte
		if err := r.l.pool.QueryRow(ctx, query, seen.Size-1).Scan(&leaf); err != nil {
			return fmt.Errorf("read leaf %d: %w", seen.Size-1, err)
		}
		if [domain.HashSize]byte(leaf) != seen.Leaf {
			return fmt.Errorf("%w: a process remembers leaf %x at index %d, but it is %x", errEvidence, seen.Leaf, seen.Size-1, leaf)
		}
	}
	return nil
}
