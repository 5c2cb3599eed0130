package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
)

// Read returns at most limit events from the index on, decoded, by ascending
// index. Fewer than limit means that there were no more. The querier needs the
// writer's or the auditor's rights.
func Read(ctx context.Context, q Querier, from int64, limit int) ([]Entry, error) {
	return read(ctx, q, readRange{from: from, to: math.MaxInt64, limit: limit})
}

// ReadControl is Read for the control kinds alone, which it finds by an index of
// their own.
func ReadControl(ctx context.Context, q Querier, from int64, limit int) ([]Entry, error) {
	return read(ctx, q, readRange{from: from, to: math.MaxInt64, limit: limit, control: true})
}

// Get returns the event with the id, or ErrNotFound.
func Get(ctx context.Context, q Querier, id domain.EventID) (Entry, error) {
	index := int64(0)
	err := q.QueryRow(ctx, `SELECT index FROM ledger.ids WHERE id = $1`, uuid(id)).Scan(&index)
	if errors.Is(err, pgx.ErrNoRows) {
		return Entry{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if err != nil {
		return Entry{}, wrap("look for event "+id.String(), err)
	}
	entries, err := Read(ctx, q, index, 1)
	switch {
	case err != nil:
		return Entry{}, err
	case len(entries) == 0 || entries[0].Index != index || entries[0].Event.ID != id:
		return Entry{}, fmt.Errorf("read event %s: it is not at its index %d", id, index)
	}
	return entries[0], nil
}

// readRange is the indexes [from, to); limit 0 means all of them, no kinds
// means all kinds.
type readRange struct {
	from, to int64
	limit    int
	control  bool
	kinds    []domain.Kind
}

const (
	selectEntries = `SELECT e.index, e.recorded_at, e.id, e.kind, e.canonical, e.private_salt, e.private, x.salt, x.data
		FROM ledger.events e LEFT JOIN ledger.erasable x ON x.index = e.index
		WHERE e.index >= $1 AND e.index < $2 `
	orderEntries = `ORDER BY e.index LIMIT NULLIF($3, 0)`
)

func read(ctx context.Context, q Querier, r readRange) ([]Entry, error) {
	query, args := selectEntries, []any{r.from, r.to, int64(r.limit)}
	if r.control {
		query += `AND e.control `
	}
	if len(r.kinds) > 0 {
		query, args = query+`AND e.kind = ANY($4) `, append(args, r.kinds)
	}
	rows, err := q.Query(ctx, query+orderEntries, args...)
	if err != nil {
		return nil, wrap("read events", err)
	}
	entries, err := pgx.CollectRows(rows, scanEntry)
	if err != nil {
		return nil, wrap("read events", err)
	}
	return entries, nil
}

func scanEntry(row pgx.CollectableRow) (Entry, error) {
	var (
		entry                     Entry
		recordedAt                time.Time
		id                        [16]byte
		enc                       domain.Encoded
		privateSalt, erasableSalt []byte
	)
	err := row.Scan(&entry.Index, &recordedAt, &id, (*string)(&enc.Kind), &entry.Canonical, &privateSalt, &enc.Private, &erasableSalt, &enc.Erasable)
	if err != nil {
		return Entry{}, err
	}
	entry.RecordedAt = recordedAt.UTC()
	enc.ID = id
	copy(enc.PrivateSalt[:], privateSalt)
	copy(enc.ErasableSalt[:], erasableSalt)
	if enc.Public, _, _, err = domain.SplitCanonical(entry.Canonical); err != nil {
		return Entry{}, fmt.Errorf("event %d: %w", entry.Index, err)
	}
	if entry.Event, err = domain.DecodeFast(enc); err != nil {
		return Entry{}, fmt.Errorf("event %d: %w", entry.Index, err)
	}
	return entry, nil
}
