// Package ledger is the append-only book of events in Postgres: it appends,
// reads, and runs the commands that decide by what it says.
//
// It promises that
//   - an event is in the ledger once, however often and in whatever order it is
//     sent: its id is its identity for ever;
//   - indexes have no gap and become visible in their order, so that a reader
//     who asks for what is behind the last index it saw misses nothing;
//   - what was appended is never changed: the bytes that are hashed are stored
//     and never encoded again;
//   - a record that can't be appended for what it is stands in ledger.rejected
//     with all its bytes, and keeps no other from being appended;
//   - a command reads what it wrote, and no two of them decide on the same state.
//
// An append is one transaction that holds the lock on ledger.head. After a
// crash of either side it has happened or not; whoever doesn't know sends it
// again. What was durable in a spool and not here yet is sent by Shipper when
// the spool is opened again.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/domain"
)

// Errors of this package. Match with errors.Is.
var (
	// ErrOutage: the database can't answer now. The same call may succeed later.
	// An append may have happened nevertheless; repeating it is harmless.
	ErrOutage = errors.New("ledger: the database does not answer")
	// ErrFrozen: an operator, or a check that failed, has stopped all appends.
	ErrFrozen = errors.New("ledger: frozen")
	// ErrNotFound: there is no such event.
	ErrNotFound = errors.New("ledger: no such event")
	// ErrRefused: a command's event can't be in the ledger.
	ErrRefused = errors.New("ledger: event refused")
)

// Querier runs queries: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Ledger appends to one database. It is for concurrent use.
type Ledger struct {
	pool       *pgxpool.Pool
	workspaces sync.Pool // of *workspace

	// partitioned is the first index for which this process knows no partition.
	partitioned atomic.Int64
	// watch guards appends, nil if nobody does.
	watch atomic.Pointer[Watch]
}

// New returns a ledger on the pool, which must come from db.Open and run as the
// writer. It asks the database nothing.
func New(pool *pgxpool.Pool) *Ledger {
	return &Ledger{pool: pool}
}

// Head is the state of the ledger's end.
type Head struct {
	// Size is the number of events, and the index of the next.
	Size int64
	// RecordedAt is when the last batch was recorded; 1970 if there is none.
	RecordedAt time.Time
	// Frozen stops all appends; Reason says why.
	Frozen bool
	Reason string
}

// ReadHead returns the ledger's end as the querier sees it.
func ReadHead(ctx context.Context, q Querier) (Head, error) {
	const query = `SELECT size, recorded_at, frozen, COALESCE(reason, '') FROM ledger.head WHERE shard = 0`
	var h Head
	if err := q.QueryRow(ctx, query).Scan(&h.Size, &h.RecordedAt, &h.Frozen, &h.Reason); err != nil {
		return Head{}, wrap("read head", err)
	}
	h.RecordedAt = h.RecordedAt.UTC()
	return h, nil
}

// wrap says what we were doing, and marks an outage as such.
func wrap(doing string, err error) error {
	if db.IsOutage(err) && !errors.Is(err, ErrOutage) {
		return fmt.Errorf("%s: %w: %w", doing, ErrOutage, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// uuid is an id as a parameter; the zero id is NULL.
func uuid[I ~[16]byte](id I) pgtype.UUID {
	return pgtype.UUID{Bytes: id, Valid: id != I{}}
}

func uuids(ids []domain.EventID) []pgtype.UUID {
	all := make([]pgtype.UUID, len(ids))
	for i, id := range ids {
		all[i] = uuid(id)
	}
	return all
}
