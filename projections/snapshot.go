package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger"
)

// Key is what the data plane must know of a key.
type Key struct {
	ID      domain.KeyID
	Org     domain.OrgID
	Project domain.ProjectID
	User    domain.UserID
	Service domain.ServiceID
	// Hash is HMAC-SHA-256(pepper, SHA-256(key)), in hex.
	Hash string
	// Expires is zero if never.
	Expires time.Time
	Revoked bool
}

// Snapshot is what decides whether and at which price a call is admitted, as
// the ledger's first Index events say.
type Snapshot struct {
	Index int64
	// Keys are all that were ever issued.
	Keys []Key
	// Book is the price book that holds; nil if none was ever published.
	Book *domain.PriceBook
	// Unread are the events that it lacks; a key that one names is revoked in it.
	Unread []Unread
}

// LoadSnapshot reads all of it, as of the ledger's end: what the projections
// haven't folded yet is added from the events. What can't be read is passed over:
// see Unread.
func LoadSnapshot(ctx context.Context, b db.Beginner) (Snapshot, error) {
	var s Snapshot
	opts := db.TxOptions{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}}
	err := db.InTx(ctx, b, opts, func(ctx context.Context, tx pgx.Tx) (err error) {
		s, err = loadSnapshot(ctx, tx)
		return err
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("load snapshot: %w", err)
	}
	return s, nil
}

func loadSnapshot(ctx context.Context, tx pgx.Tx) (Snapshot, error) {
	if err := lockTables(ctx, tx, Keys(), Prices()); err != nil {
		return Snapshot{}, err
	}
	// Rows may be folded further than the lower of both checkpoints: applying
	// an event to them again changes nothing.
	const folded = `SELECT COALESCE(min(index), 0) FROM projections.checkpoints WHERE name IN ('keys', 'prices') HAVING count(*) = 2`
	var s Snapshot
	rows, err := tx.Query(ctx, folded)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read checkpoints: %w", err)
	}
	at, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return Snapshot{}, fmt.Errorf("read checkpoints: %w", err)
	}
	if len(at) == 1 {
		s.Index = at[0]
	}
	if s.Keys, err = readKeys(ctx, tx); err != nil {
		return Snapshot{}, err
	}
	if s.Book, err = CurrentBook(ctx, tx); err != nil {
		return Snapshot{}, err
	}
	changes, err := readChanges(ctx, tx, s.Index)
	if err != nil {
		return Snapshot{}, err
	}
	unread, err := readUnread(ctx, tx, s.Index)
	if err != nil {
		return Snapshot{}, err
	}
	for _, u := range unread {
		changes.pass(u)
	}
	s.apply(changes)
	return s, nil
}

func readKeys(ctx context.Context, q Querier) ([]Key, error) {
	const query = `SELECT id, org_id, project_id, user_id, service_id, hash, expires_at, revoked_at IS NOT NULL
		FROM projections.keys ORDER BY index`
	rows, err := q.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k Key, err error) {
		var expires *time.Time
		err = row.Scan(&k.ID, &k.Org, &k.Project, &k.User, &k.Service, &k.Hash, &expires, &k.Revoked)
		k.Expires = timeOrZero(expires)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return keys, nil
}

// CurrentBook is the price book that holds by the rows of Prices, with its
// Version; nil if there is none.
func CurrentBook(ctx context.Context, q ledger.Querier) (*domain.PriceBook, error) {
	versions, err := readVersions(ctx, q)
	if err != nil || len(versions) == 0 {
		return nil, err
	}
	entry, err := ledger.Get(ctx, q, versions[len(versions)-1].ID)
	if err != nil {
		return nil, fmt.Errorf("read price book: %w", err)
	}
	return bookOf(entry.Event)
}

func bookOf(e domain.Event) (*domain.PriceBook, error) {
	body, ok := e.Body.(*domain.PricesPublished)
	if !ok || body.Private == nil {
		return nil, fmt.Errorf("read price book: %w: event %s has none", domain.ErrEncoding, e.ID)
	}
	book := *body.Private
	book.Version = e.ID
	return &book, nil
}

// apply brings a snapshot up to date. A key stays as it was first issued.
func (s *Snapshot) apply(c Changes) {
	at := make(map[domain.KeyID]int, len(s.Keys))
	for i, k := range s.Keys {
		at[k.ID] = i
	}
	for _, k := range c.Issued {
		if _, known := at[k.ID]; !known {
			at[k.ID] = len(s.Keys)
			s.Keys = append(s.Keys, k)
		}
	}
	for _, id := range c.Revoked {
		if i, known := at[id]; known {
			s.Keys[i].Revoked = true
		}
	}
	if c.Book != nil {
		s.Book = c.Book
	}
	s.Index, s.Unread = c.Index, c.Unread
}
