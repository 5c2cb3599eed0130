package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger"
)

// Changes are what the control events at the indexes [since, Index) changed.
type Changes struct {
	Index int64
	// Issued are the new keys, in order.
	Issued []Key
	// Revoked are the keys that may not call any more.
	Revoked []domain.KeyID
	// Book is the last price book published; nil if none was.
	Book *domain.PriceBook
	// Unread are the events that this program can't read.
	Unread []Unread
}

// Unread is a control event that this program can't read: of a kind or version
// that a newer one writes, or damaged. It is passed over, so that what follows
// is not held up, but never to the good of a key: one that it names may not
// call until a program reads the event that can. Whatever takes something from
// a key must therefore name it, in a kind to come too.
type Unread struct {
	Index int64
	Kind  domain.Kind
	Key   domain.KeyID // zero if it names none
	Err   error
}

// ReadChanges reads what changed from an index on, from the events alone: it
// doesn't wait for any projection.
func ReadChanges(ctx context.Context, b db.Beginner, since int64) (Changes, error) {
	var c Changes
	opts := db.TxOptions{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}}
	err := db.InTx(ctx, b, opts, func(ctx context.Context, tx pgx.Tx) (err error) {
		c, err = readChanges(ctx, tx, since)
		return err
	})
	if err != nil {
		return Changes{}, fmt.Errorf("read changes: %w", err)
	}
	return c, nil
}

// changesPage is how many events are held in memory at once.
const changesPage = 1000

func readChanges(ctx context.Context, tx pgx.Tx, since int64) (Changes, error) {
	head, err := ledger.ReadHead(ctx, tx)
	if err != nil {
		return Changes{}, err
	}
	c := Changes{Index: max(since, head.Size)}
	for next := since; next < head.Size; {
		entries, err := ledger.ReadControl(ctx, tx, next, changesPage)
		switch {
		case isUnreadable(err):
			if next, err = c.addOneByOne(ctx, tx, next); err != nil {
				return Changes{}, err
			}
			continue
		case err != nil:
			return Changes{}, err
		}
		for _, e := range entries {
			c.add(e)
			next = e.Index + 1
		}
		if len(entries) < changesPage {
			break
		}
	}
	return c, nil
}

// isUnreadable reports whether an error is about an event's bytes.
func isUnreadable(err error) bool {
	return errors.Is(err, domain.ErrVersion) || errors.Is(err, domain.ErrEncoding)
}

// addOneByOne adds a page of events among which one can't be read, and returns
// the index behind it.
func (c *Changes) addOneByOne(ctx context.Context, tx pgx.Tx, from int64) (next int64, err error) {
	const query = `SELECT index, kind, COALESCE(key_id, '` + noID + `') FROM ledger.events WHERE control AND index >= $1 ORDER BY index LIMIT $2`
	rows, err := tx.Query(ctx, query, from, changesPage)
	if err != nil {
		return 0, fmt.Errorf("list control events: %w", err)
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u Unread, err error) {
		err = row.Scan(&u.Index, &u.Kind, &u.Key)
		return u, err
	})
	if err != nil {
		return 0, fmt.Errorf("list control events: %w", err)
	}
	next = from + 1
	for _, u := range page {
		next = u.Index + 1
		entries, err := ledger.Read(ctx, tx, u.Index, 1)
		switch {
		case isUnreadable(err):
			u.Err = err
			c.pass(u)
		case err != nil:
			return 0, err
		case len(entries) == 1:
			c.add(entries[0])
		}
	}
	return next, nil
}

// pass notes an event that can't be read, and shuts its key out.
func (c *Changes) pass(u Unread) {
	c.Unread = append(c.Unread, u)
	if !u.Key.IsZero() && !slices.Contains(c.Revoked, u.Key) {
		c.Revoked = append(c.Revoked, u.Key)
	}
}

func (c *Changes) add(e ledger.Entry) {
	switch body := e.Event.Body.(type) {
	case *domain.KeyIssued:
		c.Issued = append(c.Issued, Key{
			ID: body.Key, Org: body.Org, Project: body.Project, User: body.User, Service: body.Service,
			Hash: body.Private.Hash, Expires: body.Expires,
		})
	case *domain.KeyRevoked:
		c.Revoked = append(c.Revoked, body.Key)
	case *domain.PricesPublished:
		book, err := bookOf(e.Event)
		if err != nil {
			c.pass(Unread{Index: e.Index, Kind: body.Kind(), Err: err})
			return
		}
		c.Book = book
	}
}

// readUnread lists, among the events below the index, those that rows of keys
// may lack: parked ones, and kinds that name a key and aren't known here.
func readUnread(ctx context.Context, tx pgx.Tx, index int64) ([]Unread, error) {
	parked, err := ReadParked(ctx, tx, Keys().Name())
	if err != nil {
		return nil, err
	}
	var unread []Unread
	for _, k := range parked {
		unread = append(unread, Unread{Index: k.Index, Kind: k.Kind, Key: k.Key, Err: errors.New(k.Error)})
	}
	const query = `SELECT index, kind, key_id FROM ledger.events
		WHERE control AND index < $1 AND key_id IS NOT NULL AND kind NOT IN ('KeyIssued', 'KeyRevoked') ORDER BY index`
	rows, err := tx.Query(ctx, query, index)
	if err != nil {
		return nil, fmt.Errorf("look for unknown kinds: %w", err)
	}
	var u Unread
	_, err = pgx.ForEachRow(rows, []any{&u.Index, &u.Kind, &u.Key}, func() error {
		if !u.Kind.IsControl() {
			u.Err = fmt.Errorf("%w (kind %q)", domain.ErrVersion, u.Kind)
			unread = append(unread, u)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for unknown kinds: %w", err)
	}
	return unread, nil
}
