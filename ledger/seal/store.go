package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"manti/domain"
	"manti/ledger"
)

// ErrNone: nothing has been sealed yet.
var ErrNone = errors.New("seal: there is no checkpoint yet")

// Latest is the last checkpoint in the ledger, its signatures not checked.
// Without any it is ErrNone.
func Latest(ctx context.Context, q ledger.Querier) (Checkpoint, error) {
	const query = `SELECT note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1`
	var text string
	err := q.QueryRow(ctx, query).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return Checkpoint{}, ErrNone
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read the last checkpoint: %w", err)
	}
	return ParseCheckpoint([]byte(text))
}

// execer is what a pool or a transaction does besides.
type execer interface {
	ledger.Querier
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// insert puts a checkpoint into the ledger. One of the same size that says the
// same, whoever signed it, is as good.
func insert(ctx context.Context, q execer, c Checkpoint) error {
	const query = `INSERT INTO ledger.checkpoints (size, note) VALUES ($1, $2) ON CONFLICT (size) DO NOTHING`
	tag, err := q.Exec(ctx, query, c.Size, c.Note)
	if err != nil {
		return fmt.Errorf("insert checkpoint: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	var text string
	if err := q.QueryRow(ctx, `SELECT note FROM ledger.checkpoints WHERE size = $1`, c.Size).Scan(&text); err != nil {
		return fmt.Errorf("insert checkpoint: %w", err)
	}
	there, err := ParseCheckpoint([]byte(text))
	if err != nil || !there.Same(c) {
		return fmt.Errorf("%w: ledger.checkpoints says of size %d: %q, but %s was signed", ErrInconsistent, c.Size, text, c)
	}
	return nil
}

// originSetting is the row of manti.settings with the ledger's first origin.
const originSetting = "origin"

// FirstOrigin is the name under which the ledger began; "" if it has none yet.
func FirstOrigin(ctx context.Context, q ledger.Querier) (name string, err error) {
	err = q.QueryRow(ctx, `SELECT value FROM manti.settings WHERE name = $1`, originSetting).Scan(&name)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("read the origin: %w", err)
	}
	return name, nil
}

// nameOrigin gives a ledger without an origin this one, and returns what it has
// then.
func nameOrigin(ctx context.Context, q execer, name string) (string, error) {
	const query = `INSERT INTO manti.settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`
	if _, err := q.Exec(ctx, query, originSetting, name); err != nil {
		return "", fmt.Errorf("name the origin: %w", err)
	}
	return FirstOrigin(ctx, q)
}

// A succession is a new origin that the ledger has begun: an event of kind
// OriginStarted.
type succession struct {
	index int64
	id    domain.EventID
	event domain.OriginStarted
}

// readSuccessions returns those from an index on.
func readSuccessions(ctx context.Context, q ledger.Querier, from int64) ([]succession, error) {
	const query = `SELECT index FROM ledger.events WHERE control AND kind = 'OriginStarted' AND index >= $1 ORDER BY index`
	rows, err := q.Query(ctx, query, from)
	if err != nil {
		return nil, fmt.Errorf("look for new origins: %w", err)
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("look for new origins: %w", err)
	}
	var all []succession
	for _, index := range indexes {
		entries, err := ledger.Read(ctx, q, index, 1)
		if err != nil {
			return nil, fmt.Errorf("look for new origins: %w", err)
		}
		if started, ok := entries[0].Event.Body.(*domain.OriginStarted); ok {
			all = append(all, succession{index, entries[0].Event.ID, *started})
		}
	}
	return all, nil
}
