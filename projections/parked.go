package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger"
)

// Parked is an event that a projection left out because it couldn't be folded.
// Every figure that it touches is incomplete until a rebuild folds it.
type Parked struct {
	Projection string
	Index      int64
	ID         domain.EventID
	Kind       domain.Kind
	// Orgs are those whose figures lack it.
	Orgs []domain.OrgID
	// Key is zero if the event is about none.
	Key domain.KeyID
	// At is when the call was admitted; of other events, when it happened.
	At time.Time
	// Error is why it couldn't be folded.
	Error    string
	ParkedAt time.Time
}

// maxParked is how many events a projection leaves out. If there are more, it
// isn't single events that are at fault, and it stops.
const maxParked = 100

// isPoison reports whether an error of a fold is about the event that it
// folded: Postgres refused a row for what it is, or the event can't be read.
// Anything else, such as a table or a right that is missing, would happen to
// every event.
func isPoison(err error) bool {
	return db.IsRefusal(err) || errors.Is(err, domain.ErrEncoding) || errors.Is(err, domain.ErrVersion)
}

// selectParked is the row for an event: $1 is the projection, $2 the index, $3
// the error.
const selectParked = `(projection, index, id, kind, orgs, key_id, at, error)
	SELECT $1, x.index, x.id, x.kind, ARRAY(
		SELECT DISTINCT COALESCE(o.org_id, '` + noID + `') FROM ledger.events o
		WHERE o.index = x.index OR o.index = (SELECT ids.index FROM ledger.ids WHERE ids.id = x.supersedes)
	), x.key_id, ` + admittedAt + `, $3
	FROM ledger.events x WHERE x.index = $2`

// park moves the projection behind the event that a batch of one failed at, and
// notes it. Somebody else may have been faster.
func park(ctx context.Context, b db.Beginner, p *Projection, cause *ledger.FoldError) error {
	index := cause.To - 1
	const others = `SELECT count(*) FROM projections.parked WHERE projection = $1`
	err := db.InTx(ctx, b, db.TxOptions{Retries: 3}, func(ctx context.Context, tx pgx.Tx) error {
		if err := ledger.Skip(ctx, tx, p, index); err != nil {
			return err
		}
		n := 0
		if err := tx.QueryRow(ctx, others, p.Name()).Scan(&n); err != nil {
			return err
		}
		if n >= maxParked {
			return &PoisonError{Projection: p.Name(), Index: index, Err: cause.Err}
		}
		_, err := tx.Exec(ctx, `INSERT INTO projections.parked `+selectParked, p.Name(), index, errorText(cause.Err))
		return err
	})
	switch {
	case err == nil, errors.Is(err, ledger.ErrMoved):
		return nil
	default:
		return fmt.Errorf("park event %d of %s: %w", index, p.Name(), err)
	}
}

// ReadParked lists the events that a projection has left out, by index; of all
// projections if the name is "". One that a later event, which is folded,
// supersedes is missing in no figure any more and isn't listed.
func ReadParked(ctx context.Context, q Querier, projection string) ([]Parked, error) {
	const query = `SELECT k.projection, k.index, k.id, k.kind, k.orgs, COALESCE(k.key_id, '` + noID + `'), k.at, k.error, k.parked_at
		FROM projections.parked k JOIN projections.checkpoints c ON c.name = k.projection
		WHERE k.projection = $1 OR $1 = '' AND k.projection NOT LIKE '%.shadow'
		ORDER BY k.projection, k.index`
	const settled = `SELECT k.projection, k.index FROM projections.parked k
		JOIN projections.checkpoints c ON c.name = k.projection JOIN ledger.supersedes s ON s.id = k.id
		WHERE s.by_index < c.index
			AND NOT EXISTS (SELECT FROM projections.parked n WHERE n.projection = k.projection AND n.index = s.by_index)`
	rows, err := q.Query(ctx, query, projection)
	if err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanParked)
	if err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	type place struct {
		Projection string
		Index      int64
	}
	if rows, err = q.Query(ctx, settled); err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	done, err := pgx.CollectRows(rows, pgx.RowToStructByPos[place])
	if err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	return slices.DeleteFunc(all, func(k Parked) bool { return slices.Contains(done, place{k.Projection, k.Index}) }), nil
}

func scanParked(row pgx.CollectableRow) (Parked, error) {
	var k Parked
	var orgs [][16]byte
	err := row.Scan(&k.Projection, &k.Index, &k.ID, &k.Kind, &orgs, &k.Key, &k.At, &k.Error, &k.ParkedAt)
	for _, org := range orgs {
		k.Orgs = append(k.Orgs, org)
	}
	k.At, k.ParkedAt = k.At.UTC(), k.ParkedAt.UTC()
	return k, err
}

// touches reports whether figures of an organisation lack the event. The zero
// organisation stands for all of them.
func (k Parked) touches(org domain.OrgID) bool {
	return org.IsZero() || slices.Contains(k.Orgs, org)
}

func countTouching(parked []Parked, org domain.OrgID) (n int64) {
	for _, k := range parked {
		if k.touches(org) {
			n++
		}
	}
	return n
}

// ErrParked is returned where a decision rests on rows that lack an event.
var ErrParked = errors.New("an event that this rests on could not be folded: rebuild the projection with a program that can")

// refuseParked refuses to decide by projections that have left out an event.
func refuseParked(ctx context.Context, q Querier, names ...string) error {
	const query = `SELECT projection, index FROM projections.parked WHERE projection = ANY($1) ORDER BY index LIMIT 1`
	rows, err := q.Query(ctx, query, names)
	if err != nil {
		return fmt.Errorf("look for parked events: %w", err)
	}
	var name string
	var index int64
	_, err = pgx.ForEachRow(rows, []any{&name, &index}, func() error {
		return fmt.Errorf("%w: %s, event %d", ErrParked, name, index)
	})
	return err
}
