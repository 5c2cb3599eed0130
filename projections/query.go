package projections

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Querier runs a query: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// idOrNull is an id as a parameter: NULL if it is zero.
func idOrNull[I ~[16]byte](id I) *I {
	if id == (I{}) {
		return nil
	}
	return &id
}

// timeOrNull is a time as a parameter: NULL if it is zero.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// timeOrZero is a nullable column in UTC.
func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
