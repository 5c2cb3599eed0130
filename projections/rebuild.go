package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/ledger"
)

// RebuildConfig says how to rebuild.
type RebuildConfig struct {
	// Replace puts the new rows in place even if the live ones differ from
	// them. Else a difference is ErrDiverged and the live rows stay.
	Replace bool
}

// Rebuilt is what a rebuild found.
type Rebuilt struct {
	// Index is how far the new rows are folded, and where they were compared.
	Index int64
	// Compared is false if there was nothing to compare with: the live rows
	// were of another version of the projection.
	Compared bool
	// Differences is how many rows are in one of both only; a row that differs
	// counts twice.
	Differences int64
}

// ErrDiverged is returned where rows are not what the ledger says.
var ErrDiverged = errors.New("rows of a projection are not what the ledger says")

// rebuildRetries is how often the last step is begun anew because others fold
// or read at the same moment.
const rebuildRetries = 20

// rebuildEntries is how many events one transaction of a rebuild folds: more
// than of a live fold, because nobody waits for the rows.
const rebuildEntries = 4 * ledger.BatchEntries

// rebuildTimeout bounds each statement of the last step, which reads all rows.
const rebuildTimeout = `SET LOCAL statement_timeout = '10min'`

// Rebuild folds a projection from the beginning into tables beside the live
// ones, which are read and folded meanwhile, then compares both at the same
// index and, in one transaction, puts the new ones in place. What an
// interrupted rebuild left is replaced; of two at once, one may fail.
func Rebuild(ctx context.Context, b db.Beginner, p *Projection, cfg RebuildConfig) (Rebuilt, error) {
	shadow := p.asShadow()
	if err := db.InTx(ctx, b, db.TxOptions{Retries: rebuildRetries}, shadow.begin); err != nil {
		return Rebuilt{}, fmt.Errorf("rebuild %s: make tables: %w", p.name, err)
	}
	if _, err := catchUp(ctx, b, shadow, rebuildEntries); err != nil {
		return Rebuilt{}, fmt.Errorf("rebuild %s: %w", p.name, err)
	}
	var done Rebuilt
	err := db.InTx(ctx, b, db.TxOptions{Retries: rebuildRetries}, func(ctx context.Context, tx pgx.Tx) (err error) {
		done, err = p.finish(ctx, tx, cfg)
		return err
	})
	if err != nil {
		return done, fmt.Errorf("rebuild %s: %w", p.name, err)
	}
	return done, nil
}

// begin makes empty tables and a checkpoint at 0 for a shadow.
func (p *Projection) begin(ctx context.Context, tx pgx.Tx) error {
	const checkpoint = `INSERT INTO projections.checkpoints (name, version, index, digest, updated_at)
		VALUES ($1, $2, 0, '', clock_timestamp())
		ON CONFLICT (name) DO UPDATE SET version = excluded.version, index = 0, digest = '', updated_at = excluded.updated_at`
	if _, err := tx.Exec(ctx, checkpoint, p.Name(), p.version); err != nil {
		return err
	}
	return p.eachTable(ctx, tx, `SELECT projections.make_shadow($1)`)
}

func (p *Projection) eachTable(ctx context.Context, tx pgx.Tx, sql string) error {
	for _, table := range p.tables {
		if _, err := tx.Exec(ctx, sql, table); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

// finish brings both sides to the same events, compares and swaps.
func (p *Projection) finish(ctx context.Context, tx pgx.Tx, cfg RebuildConfig) (Rebuilt, error) {
	if _, err := tx.Exec(ctx, rebuildTimeout); err != nil {
		return Rebuilt{}, err
	}
	shadow := p.asShadow()
	done := Rebuilt{Compared: true}
	var err error
	done.Index, err = meet(ctx, tx, p, shadow)
	switch {
	case errors.Is(err, ledger.ErrRebuild):
		if done, err = p.giveUp(ctx, tx, shadow); err != nil {
			return Rebuilt{}, err
		}
	case err != nil:
		return Rebuilt{}, err
	default:
		if done.Differences, err = p.compare(ctx, tx); err != nil {
			return Rebuilt{}, err
		}
	}
	if done.Differences > 0 && !cfg.Replace {
		return done, fmt.Errorf("%w: %d at index %d", ErrDiverged, done.Differences, done.Index)
	}
	if err := p.eachTable(ctx, tx, `SELECT projections.swap_shadow($1)`); err != nil {
		return Rebuilt{}, err
	}
	const move = `WITH gone AS (DELETE FROM projections.checkpoints WHERE name = $2 RETURNING version, index, digest)
		UPDATE projections.checkpoints c SET version = gone.version, index = gone.index, digest = gone.digest, updated_at = clock_timestamp()
		FROM gone WHERE c.name = $1`
	if _, err := tx.Exec(ctx, move, p.Name(), shadow.Name()); err != nil {
		return Rebuilt{}, fmt.Errorf("move checkpoint: %w", err)
	}
	return done, nil
}

// meet folds both sides until they have folded the same events, and returns the
// index of the shadow. It locks both checkpoints, the live one first.
func meet(ctx context.Context, tx pgx.Tx, live, shadow *Projection) (int64, error) {
	a, err := ledger.Advance(ctx, tx, live, ledger.BatchEntries)
	if err != nil {
		return 0, err
	}
	b, err := ledger.Advance(ctx, tx, shadow, ledger.BatchEntries)
	if err != nil {
		return 0, err
	}
	for {
		met, err := sameEvents(ctx, tx, live.control, a.Index, b.Index)
		if err != nil || met {
			return b.Index, err
		}
		behind, at := live, &a
		if b.Index < a.Index {
			behind, at = shadow, &b
		}
		limit := min(max(a.Index, b.Index)-at.Index, ledger.BatchEntries)
		if *at, err = ledger.Advance(ctx, tx, behind, int(limit)); err != nil {
			return 0, err
		}
	}
}

// sameEvents reports whether projections at two indexes have folded the same
// events. Those of control kinds go on to the ledger's end, which may move
// between the two, but nearly always by other events.
func sameEvents(ctx context.Context, tx pgx.Tx, control bool, a, b int64) (bool, error) {
	if a == b || !control {
		return a == b, nil
	}
	const query = `SELECT NOT EXISTS (SELECT FROM ledger.events WHERE control AND index >= $1 AND index < $2)`
	same := false
	if err := tx.QueryRow(ctx, query, min(a, b), max(a, b)).Scan(&same); err != nil {
		return false, fmt.Errorf("compare indexes: %w", err)
	}
	return same, nil
}

// giveUp locks the checkpoint of live rows that are of another version, so
// that there is nothing to compare with.
func (p *Projection) giveUp(ctx context.Context, tx pgx.Tx, shadow *Projection) (Rebuilt, error) {
	const lock = `SELECT index FROM projections.checkpoints WHERE name = $1 FOR UPDATE`
	var live int64
	if err := tx.QueryRow(ctx, lock, p.Name()).Scan(&live); err != nil {
		return Rebuilt{}, fmt.Errorf("lock checkpoint: %w", err)
	}
	at, err := ledger.Advance(ctx, tx, shadow, ledger.BatchEntries)
	return Rebuilt{Index: at.Index}, err
}

// compare counts the rows that are in the live or the shadow tables only.
// Where the digests of both agree with each other and with the rows, there are
// none, and rows need not be compared one by one.
func (p *Projection) compare(ctx context.Context, tx pgx.Tx) (int64, error) {
	live, liveErr := p.verify(ctx, tx)
	shadow, shadowErr := p.asShadow().verify(ctx, tx)
	for _, err := range []error{liveErr, shadowErr} {
		if err != nil && !errors.Is(err, ErrDiverged) {
			return 0, err
		}
	}
	if liveErr == nil && shadowErr == nil && bytes.Equal(live, shadow) {
		return 0, nil
	}
	differences := int64(0)
	for _, table := range p.tables {
		live, shadow := "TABLE "+p.tableName(table), "TABLE "+p.asShadow().tableName(table)
		n := int64(0)
		err := tx.QueryRow(ctx, "SELECT count(*) FROM (("+live+" EXCEPT ALL "+shadow+") UNION ALL ("+shadow+" EXCEPT ALL "+live+")) d").Scan(&n)
		if err != nil {
			return 0, fmt.Errorf("compare table %s: %w", table, err)
		}
		differences += n
	}
	if differences == 0 {
		return 0, fmt.Errorf("%w: the rows of %s agree, but not with a digest", ErrDiverged, p.name)
	}
	return differences, nil
}

// Verify compares a projection's rows with its digest: ErrDiverged if somebody
// else has changed them. That they are what the ledger says is shown by
// Rebuild alone.
func Verify(ctx context.Context, b db.Beginner, p *Projection) error {
	opts := db.TxOptions{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}}
	err := db.InTx(ctx, b, opts, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, rebuildTimeout); err != nil {
			return err
		}
		_, err := p.verify(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", p.name, err)
	}
	return nil
}

// verify returns the digest if it is that of the rows.
func (p *Projection) verify(ctx context.Context, tx pgx.Tx) ([]byte, error) {
	sum, err := scanChange(ctx, tx, p.sumOfHashes("true"))
	if err != nil {
		return nil, fmt.Errorf("sum up rows: %w", err)
	}
	var digest []byte
	err = tx.QueryRow(ctx, `SELECT digest FROM projections.checkpoints WHERE name = $1`, p.Name()).Scan(&digest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("read digest: %w", err)
	}
	rows, err := addDigest(nil, sum)
	if err != nil {
		return nil, err
	}
	if len(digest) == 0 {
		digest = make([]byte, digestBytes)
	}
	if !bytes.Equal(rows, digest) {
		return nil, fmt.Errorf("%w: digest %x, rows %x", ErrDiverged, digest, rows)
	}
	return digest, nil
}
