package projections

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/big"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// A Projection is one of this package's. The zero value is none: use Balances,
// Usage, Requests, Keys, Orgs or Prices.
type Projection struct {
	name    string
	version int
	control bool
	tables  []table
	fold    foldFunc
	place   place
}

// table is one of a projection's, without the schema.
type table struct {
	name string
	key  string // the columns of its primary key, for USING and ORDER BY
}

// place is where a projection's rows are.
type place int

const (
	// live rows are those that everybody reads.
	live place = iota
	// shadow rows stand beside them while they are rebuilt.
	shadow
	// past rows are temporary: a transaction's own.
	past
)

var _ ledger.Projection = (*Projection)(nil)

// foldFunc brings rows from b.From to b.To. It returns by how much the sum of
// the rows' hashes changed. SQL names tables as {balances}: see sql.
type foldFunc func(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error)

// All are the projections by name.
func All() []*Projection {
	return []*Projection{Balances(), Keys(), Orgs(), Prices(), Requests(), Usage()}
}

// Control are those that commands decide by, by name.
func Control() []*Projection {
	var control []*Projection
	for _, p := range All() {
		if p.control {
			control = append(control, p)
		}
	}
	return control
}

// Find is the projection of that name.
func Find(name string) (*Projection, bool) {
	for _, p := range All() {
		if p.name == name {
			return p, true
		}
	}
	return nil, false
}

// Name is the key of its checkpoint.
func (p *Projection) Name() string {
	if p.place == shadow {
		return p.name + ".shadow"
	}
	return p.name
}

// Version is raised when the fold changes its meaning: the rows are then
// refused until they are rebuilt.
func (p *Projection) Version() int { return p.version }

// Control reports whether it folds control kinds only.
func (p *Projection) Control() bool { return p.control }

// Fold brings rows and digest from b.From to b.To.
func (p *Projection) Fold(ctx context.Context, tx pgx.Tx, b *ledger.Batch) error {
	change, err := p.fold(ctx, tx, p, b)
	if err != nil {
		return err
	}
	if b.Digest, err = addDigest(b.Digest, change); err != nil {
		return fmt.Errorf("digest of %s: %w", p.Name(), err)
	}
	return nil
}

// in is the projection over the tables of another place.
func (p *Projection) in(at place) *Projection {
	other := *p
	other.place = at
	return &other
}

// sql puts the tables' names into a statement: {usage} becomes
// projections.usage, or projections.shadow_usage in a rebuild. {parked} are the
// indexes of the events that are left out.
func (p *Projection) sql(statement string) string {
	for _, t := range p.tables {
		statement = strings.ReplaceAll(statement, "{"+t.name+"}", p.tableName(t.name))
	}
	parked := "projections.parked"
	if p.place == past {
		parked = "pg_temp.parked"
	}
	return strings.ReplaceAll(statement, "{parked}", "(SELECT k.index FROM "+parked+" k WHERE k.projection = '"+p.Name()+"')")
}

func (p *Projection) tableName(name string) string {
	switch p.place {
	case shadow:
		return "projections.shadow_" + name
	case past:
		return "pg_temp.past_" + name
	default:
		return "projections." + name
	}
}

// digestBytes is the length of a digest.
const digestBytes = 8

// addDigest adds to a digest modulo 2^64. A sum of hashes doesn't depend on
// the order in which rows came to be what they are; that each row's old hash
// is subtracted when it changes makes it the sum over the rows as they are.
func addDigest(digest []byte, change decimal.Decimal) ([]byte, error) {
	if n := len(digest); n != 0 && n != digestBytes {
		return nil, fmt.Errorf("it has %d bytes instead of %d", n, digestBytes)
	}
	sum := new(big.Int).SetBytes(digest)
	sum.Add(sum, change.BigInt())
	sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 8*digestBytes))
	return binary.BigEndian.AppendUint64(nil, sum.Uint64()), nil
}

// rowHash is the hash of a row t of any table, by Postgres's own hash functions:
// numbers that are equal hash alike, whatever their trailing zeros, and times
// whatever the session's zone. Hash partitioning rests on these functions, so
// they stay what they are from version to version.
const rowHash = `hash_record_extended(t, 0)`

// sumOfHashes is a statement that sums the hashes of all rows that the
// condition holds for.
func (p *Projection) sumOfHashes(condition string) string {
	var parts []string
	for _, table := range p.tables {
		parts = append(parts, "SELECT "+rowHash+" AS hash FROM "+p.tableName(table.name)+" t WHERE "+condition)
	}
	return "SELECT COALESCE(sum(hash), 0) FROM (" + strings.Join(parts, " UNION ALL ") + ") rows"
}

// changeOfHashes ends a fold's statement: old are the hashes of the rows that
// it changes, as its snapshot has them, new those of the rows that it wrote.
const changeOfHashes = `SELECT COALESCE((SELECT sum(hash) FROM new), 0) - COALESCE((SELECT sum(hash) FROM old), 0)`

// scanChange runs a statement that returns the change of a digest.
func scanChange(ctx context.Context, tx pgx.Tx, sql string, args ...any) (decimal.Decimal, error) {
	var change decimal.Decimal
	err := tx.QueryRow(ctx, sql, args...).Scan(&change)
	return change, err
}

// each joins one text per column, in which % is the column's name.
func each(columns []string, pattern, separator string) string {
	parts := make([]string, len(columns))
	for i, column := range columns {
		parts[i] = strings.ReplaceAll(pattern, "%", column)
	}
	return strings.Join(parts, separator)
}

// meters are the columns of the meters.
func meters() []string {
	columns := make([]string, domain.MeterCount)
	for m := range columns {
		columns[m] = domain.Meter(m).String()
	}
	return columns
}
