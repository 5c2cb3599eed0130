package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/ledger"
)

// RebuildConfig says how to rebuild.
type RebuildConfig struct {
	// Replace puts the new rows in place even if the live ones aren't what the
	// ledger says. Else that is ErrDiverged, which names them, and they stay: to
	// be looked at, since somebody else than a fold has written them.
	Replace bool
	// Progress is told how far it came; nil is nobody.
	Progress func(index, size int64)
}

// Rebuilt is what a rebuild found.
type Rebuilt struct {
	// Index is how far the new rows are folded, and where they were compared.
	Index int64
	// Compared is false if there was nothing to compare with: the live rows
	// were of another version of the projection, or they left out events that
	// the new ones don't.
	Compared bool
	// Difference says which live rows weren't what the ledger says.
	Difference Difference
	// Unparked is how many events the live rows left out and the new ones don't;
	// Parked is how many the new ones leave out.
	Unparked, Parked int64
}

// ErrDiverged is returned where rows are not what the ledger says.
var ErrDiverged = errors.New("rows of a projection are not what the ledger says")

// rebuildRetries is how often a step is begun anew because others fold at the
// same moment.
const rebuildRetries = 20

const (
	// swapLock is how long the swap waits for those who read the live rows; those
	// who want to read wait behind it.
	swapLock = 200 * time.Millisecond
	// swapPatience is how long it tries again, so that reports may end.
	swapPatience = 10 * time.Minute
	// swapPause is the longest pause between two tries.
	swapPause = 500 * time.Millisecond
)

// Rebuild folds a projection from the beginning into tables beside the live
// ones, which are read and folded meanwhile, then compares both at the same
// index and, in one transaction, puts the new ones in place: whoever reads sees
// the old rows or the new ones. Nobody waits for it but those who read or fold
// this projection, for the moment of the swap. What an interrupted rebuild left
// is replaced; of two at once, one may fail. The new tables take over the rights
// on the old ones; ErrDependents if something of somebody's stands on those.
//
// Events that couldn't be folded before and can be now are in the new rows. Live
// rows of more events than the ledger has are ErrAhead; only Replace replaces them,
// and only once nobody waits for the ledger to be recovered.
func Rebuild(ctx context.Context, b db.Beginner, p *Projection, cfg RebuildConfig) (Rebuilt, error) {
	done, err := rebuild(ctx, b, p, cfg)
	if err != nil {
		return done, fmt.Errorf("rebuild %s: %w", p.name, err)
	}
	return done, nil
}

func rebuild(ctx context.Context, b db.Beginner, p *Projection, cfg RebuildConfig) (Rebuilt, error) {
	next := p.in(shadow)
	if err := db.InTx(ctx, b, db.TxOptions{}, refuseAhead{p, cfg.Replace}.run); err != nil {
		return Rebuilt{}, err
	}
	if err := db.InTx(ctx, b, db.TxOptions{}, p.refuseDependents); err != nil {
		return Rebuilt{}, err
	}
	if err := db.InTx(ctx, b, db.TxOptions{Retries: rebuildRetries}, next.begin); err != nil {
		return Rebuilt{}, fmt.Errorf("make tables: %w", err)
	}
	if _, err := (catcher{b: b, p: next, batch: pastEntries, progress: cfg.Progress}).run(ctx); err != nil {
		return Rebuilt{}, err
	}
	edited, err := isEdited(ctx, b, p)
	if err != nil {
		return Rebuilt{}, err
	}
	for began := time.Now(); ; pause(ctx, swapPause/2+rand.N(swapPause/2)) {
		if _, err := CatchUp(ctx, b, p); err != nil && !errors.Is(err, ledger.ErrRebuild) && !isLocked(err) {
			return Rebuilt{}, err
		}
		if _, err := CatchUp(ctx, b, next); err != nil {
			return Rebuilt{}, err
		}
		s := swap{p: p, shadow: next, cfg: cfg, edited: edited}
		err := db.InTx(ctx, b, db.TxOptions{Retries: rebuildRetries}, s.run)
		_, poisoned := errors.AsType[*ledger.FoldError](err)
		if !isLocked(err) && !poisoned || time.Since(began) > swapPatience || ctx.Err() != nil {
			return s.done, err
		}
	}
}

// isLocked reports whether somebody else held what the transaction needed.
func isLocked(err error) bool { return db.SQLState(err) == "55P03" }

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// begin makes empty tables and a checkpoint at 0 for a shadow.
func (p *Projection) begin(ctx context.Context, tx pgx.Tx) error {
	const checkpoint = `INSERT INTO projections.checkpoints (name, version, index, digest, updated_at)
		VALUES ($1, $2, 0, '', clock_timestamp())
		ON CONFLICT (name) DO UPDATE SET version = excluded.version, index = 0, digest = '', updated_at = excluded.updated_at`
	if _, err := tx.Exec(ctx, checkpoint, p.Name(), p.version); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM projections.parked WHERE projection = $1`, p.Name()); err != nil {
		return err
	}
	return p.eachTable(ctx, tx, `SELECT projections.make_shadow($1)`)
}

func (p *Projection) eachTable(ctx context.Context, tx pgx.Tx, sql string) error {
	for _, table := range p.tables {
		if _, err := tx.Exec(ctx, sql, table.name); err != nil {
			return fmt.Errorf("table %s: %w", table.name, err)
		}
	}
	return nil
}

// isEdited compares the live rows with their digest, before anything is locked.
func isEdited(ctx context.Context, b db.Beginner, p *Projection) (bool, error) {
	err := Verify(ctx, b, p)
	if errors.Is(err, ErrDiverged) {
		return true, nil
	}
	return false, err
}

// swap is the last step of a rebuild, in one transaction.
type swap struct {
	p, shadow *Projection
	cfg       RebuildConfig
	edited    bool // the live rows aren't those of their digest
	done      Rebuilt
}

// run brings both sides to the same events, compares and swaps.
func (s *swap) run(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, longWork); err != nil {
		return err
	}
	s.done = Rebuilt{Compared: true}
	var err error
	s.done.Index, err = meet(ctx, tx, s.p, s.shadow)
	switch {
	case errors.Is(err, ledger.ErrRebuild), errors.Is(err, ErrAhead) && s.cfg.Replace:
		s.done.Compared = false
		s.done.Index, err = lockBoth(ctx, tx, s.p, s.shadow)
	case err == nil:
		err = s.compare(ctx, tx)
	}
	if err != nil {
		return err
	}
	if err := s.done.Difference.Err(); err != nil && !s.cfg.Replace {
		return err
	}
	return s.replace(ctx, tx)
}

// compare looks for a difference. Where the live rows are those of their digest,
// and that is the shadow's, there is none: rows are compared one by one only to
// name those that differ.
func (s *swap) compare(ctx context.Context, tx pgx.Tx) error {
	const query = `SELECT
		(SELECT count(*) FROM projections.parked l WHERE l.projection = $1 AND NOT EXISTS
			(SELECT FROM projections.parked s WHERE s.projection = $2 AND s.index = l.index)),
		(SELECT count(*) FROM projections.parked s WHERE s.projection = $2),
		(SELECT digest FROM projections.checkpoints WHERE name = $1), (SELECT digest FROM projections.checkpoints WHERE name = $2)`
	var live, shadow []byte
	if err := tx.QueryRow(ctx, query, s.p.Name(), s.shadow.Name()).Scan(&s.done.Unparked, &s.done.Parked, &live, &shadow); err != nil {
		return fmt.Errorf("compare digests: %w", err)
	}
	d := Difference{Projection: s.p.name, Index: s.done.Index, Parked: s.done.Parked}
	d.Digest = !bytes.Equal(cmpDigest(live), cmpDigest(shadow))
	switch {
	case !d.Digest && !s.edited:
	case s.done.Unparked > 0 && !s.edited: // of course they differ
		s.done.Compared = false
		return nil
	default:
		if err := d.compare(ctx, tx, s.p, s.shadow); err != nil {
			return err
		}
		d.Digest = d.Digest || d.Rows == 0
	}
	s.done.Difference = d
	return nil
}

// replace puts the shadow in place of the live tables.
func (s *swap) replace(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = %d`, swapLock.Milliseconds())); err != nil {
		return err
	}
	if err := s.p.eachTable(ctx, tx, `SELECT projections.swap_shadow($1)`); err != nil {
		return refusedDrop(err)
	}
	const move = `WITH gone AS (DELETE FROM projections.checkpoints WHERE name = $2 RETURNING version, index, digest)
		UPDATE projections.checkpoints c SET version = gone.version, index = gone.index, digest = gone.digest, updated_at = clock_timestamp()
		FROM gone WHERE c.name = $1`
	if _, err := tx.Exec(ctx, move, s.p.Name(), s.shadow.Name()); err != nil {
		return fmt.Errorf("move checkpoint: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM projections.parked WHERE projection = $1`, s.p.Name()); err != nil {
		return fmt.Errorf("clear parked events: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE projections.parked SET projection = $1 WHERE projection = $2`, s.p.Name(), s.shadow.Name()); err != nil {
		return fmt.Errorf("move parked events: %w", err)
	}
	return nil
}

// meet folds both sides until they have folded the same events, and returns the
// index of the shadow. It locks both checkpoints, the live one first.
func meet(ctx context.Context, tx pgx.Tx, live, shadow *Projection) (int64, error) {
	a, err := ledger.Advance(ctx, tx, live, ledger.BatchEntries)
	if err != nil {
		return 0, err
	}
	if a.Index > a.Size {
		return 0, aheadBy(a)
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

// lockBoth locks the checkpoint of live rows that are of another version, so
// that there is nothing to compare with, and that of the shadow.
func lockBoth(ctx context.Context, tx pgx.Tx, live, shadow *Projection) (int64, error) {
	const lock = `SELECT index FROM projections.checkpoints WHERE name = $1 FOR UPDATE`
	var index int64
	if err := tx.QueryRow(ctx, lock, live.Name()).Scan(&index); err != nil {
		return 0, fmt.Errorf("lock checkpoint: %w", err)
	}
	at, err := ledger.Advance(ctx, tx, shadow, ledger.BatchEntries)
	return at.Index, err
}

// Verify compares a projection's rows with its digest: ErrDiverged if somebody
// else has changed them. That they are what the ledger says is shown by Refold.
func Verify(ctx context.Context, b db.Beginner, p *Projection) error {
	opts := db.TxOptions{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}}
	err := db.InTx(ctx, b, opts, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, longWork); err != nil {
			return err
		}
		if err := lockTables(ctx, tx, p); err != nil {
			return err
		}
		return p.verify(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", p.name, err)
	}
	return nil
}

// verify compares the digest with that of the rows.
func (p *Projection) verify(ctx context.Context, tx pgx.Tx) error {
	sum, err := scanChange(ctx, tx, p.sumOfHashes("true"))
	if err != nil {
		return fmt.Errorf("sum up rows: %w", err)
	}
	var digest []byte
	err = tx.QueryRow(ctx, `SELECT digest FROM projections.checkpoints WHERE name = $1`, p.Name()).Scan(&digest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read digest: %w", err)
	}
	rows, err := addDigest(nil, sum)
	if err != nil {
		return err
	}
	if digest = cmpDigest(digest); !bytes.Equal(rows, digest) {
		return fmt.Errorf("%w: digest %x, rows %x", ErrDiverged, digest, rows)
	}
	return nil
}
