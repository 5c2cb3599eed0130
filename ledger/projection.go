package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/domain"
)

// A Projection folds events into rows of its own. Its rows and its checkpoint,
// a row of projections.checkpoints, move in one transaction, so each event is
// folded exactly once.
type Projection interface {
	// Name is the key of the checkpoint, and its place in the lock order.
	Name() string
	// Version is raised when the fold changes its meaning: a checkpoint of
	// another version is refused with ErrRebuild.
	Version() int
	// Control reports whether only control kinds are folded. Such a projection
	// skips all other events by an index, and may be read by a Command.
	Control() bool
	// Fold brings the rows from b.From to b.To. It is given each range once, in
	// order, however it is cut into batches: the rows and the digest must come
	// out the same. It must not touch the checkpoint. An error undoes all.
	Fold(ctx context.Context, tx pgx.Tx, b *Batch) error
}

// A Batch is what a Projection folds at once: the events at the indexes
// [From, To).
type Batch struct {
	From, To int64
	// Digest is the projection's running digest before the batch; Fold leaves
	// the one after it. Empty at the beginning.
	Digest []byte

	control bool
	tx      pgx.Tx
}

// Entries reads and decodes the batch's events of these kinds by ascending
// index. Without kinds it is all of them, or the control kinds if the
// projection folds only those. A fold should name its kinds: then one that this
// program doesn't know, because a newer one wrote it, is none of its business. A
// fold that works in SQL on ledger.events, WHERE index >= b.From AND index <
// b.To, never pays for the decoding.
func (b *Batch) Entries(ctx context.Context, kinds ...domain.Kind) ([]Entry, error) {
	return read(ctx, b.tx, readRange{from: b.From, to: b.To, control: b.control, kinds: kinds})
}

// Progress is where a projection stands: it has folded every event with an
// index below Index, of Size that the ledger held.
type Progress struct {
	Index, Size int64
}

// CaughtUp reports whether nothing was left to fold.
func (p Progress) CaughtUp() bool { return p.Index >= p.Size }

// ErrRebuild is returned for a checkpoint of another version of the projection.
var ErrRebuild = errors.New("ledger: the projection's rows are of another version: rebuild it")

// BatchEntries is how many events one transaction should fold: enough to make
// its commit cheap, few enough to end within the statement timeout.
const BatchEntries = 5000

// Advance folds one batch of at most limit events into p, in the caller's
// transaction: it locks the checkpoint, folds, and moves it. Whoever advances
// several projections in one transaction does so by ascending name, and takes
// the ledger's head before the first if at all.
func Advance(ctx context.Context, tx pgx.Tx, p Projection, limit int) (Progress, error) {
	c, err := lockCheckpoint(ctx, tx, p)
	if err != nil {
		return Progress{}, fmt.Errorf("advance %s: %w", p.Name(), err)
	}
	head, err := ReadHead(ctx, tx)
	if err != nil {
		return Progress{}, fmt.Errorf("advance %s: %w", p.Name(), err)
	}
	at := Progress{Index: c.index, Size: head.Size}
	if at.CaughtUp() {
		return at, nil
	}
	b, empty, err := nextBatch(ctx, tx, p.Control(), at, limit)
	if err != nil {
		return Progress{}, fmt.Errorf("advance %s: %w", p.Name(), err)
	}
	b.Digest = c.digest
	if !empty {
		if err := b.fold(ctx, p); err != nil {
			return Progress{}, err
		}
	}
	if err := moveCheckpoint(ctx, tx, p, b); err != nil {
		return Progress{}, fmt.Errorf("advance %s: %w", p.Name(), err)
	}
	at.Index = b.To
	return at, nil
}

// A FoldError is the error of a projection's Fold over [From, To). Of a batch of
// one event, that is the one at To - 1.
type FoldError struct {
	Projection string
	From, To   int64
	Err        error
}

// Error names the projection and the batch.
func (e *FoldError) Error() string {
	return fmt.Sprintf("fold %s from %d to %d: %v", e.Projection, e.From, e.To, e.Err)
}

// Unwrap is the fold's error.
func (e *FoldError) Unwrap() error { return e.Err }

func (b *Batch) fold(ctx context.Context, p Projection) error {
	if err := p.Fold(ctx, b.tx, b); err != nil {
		return &FoldError{Projection: p.Name(), From: b.From, To: b.To, Err: err}
	}
	return nil
}

// FoldRange folds one batch of at most limit events into p, as Advance does, but
// from at.Index towards at.Size, without looking at the checkpoint or moving it:
// for rows that nobody else sees. digest is the one before, which is empty at the
// beginning; it returns where it came to, and the digest there.
func FoldRange(ctx context.Context, tx pgx.Tx, p Projection, at Progress, limit int, digest []byte) (Progress, []byte, error) {
	if at.CaughtUp() {
		return at, digest, nil
	}
	b, empty, err := nextBatch(ctx, tx, p.Control(), at, limit)
	if err != nil {
		return at, nil, fmt.Errorf("fold %s: %w", p.Name(), err)
	}
	b.Digest = digest
	if !empty {
		if err := b.fold(ctx, p); err != nil {
			return at, nil, err
		}
	}
	at.Index = b.To
	return at, b.Digest, nil
}

// ErrMoved is returned where a checkpoint is no longer where it was seen.
var ErrMoved = errors.New("ledger: the projection has moved on")

// Skip moves p's checkpoint past the event at the index without folding it, in
// the caller's transaction, which must note that somewhere. ErrMoved if the
// checkpoint isn't at the index, or if a control projection has control events
// between both.
func Skip(ctx context.Context, tx pgx.Tx, p Projection, index int64) error {
	const between = `SELECT EXISTS (SELECT FROM ledger.events WHERE index >= $1 AND index < $2 AND control)`
	c, err := lockCheckpoint(ctx, tx, p)
	if err != nil {
		return fmt.Errorf("skip: %w", err)
	}
	moved := c.index != index
	if p.Control() && c.index < index {
		if err := tx.QueryRow(ctx, between, c.index, index).Scan(&moved); err != nil {
			return fmt.Errorf("skip: %w", err)
		}
	}
	if moved {
		return fmt.Errorf("skip %d of %s, at %d: %w", index, p.Name(), c.index, ErrMoved)
	}
	return moveCheckpoint(ctx, tx, p, &Batch{From: c.index, To: index + 1, Digest: c.digest})
}

// nextBatch decides how far a batch goes, and says whether there is nothing to
// fold in it. Of control projections limit counts the events of control kinds,
// not what lies between.
func nextBatch(ctx context.Context, tx pgx.Tx, control bool, at Progress, limit int) (b *Batch, empty bool, err error) {
	const query = `SELECT count(*), max(index) FROM
		(SELECT index FROM ledger.events WHERE control AND index >= $1 AND index < $2 ORDER BY index LIMIT $3) next`
	b = &Batch{From: at.Index, To: at.Size, tx: tx, control: control}
	if !control {
		b.To = min(at.Size, at.Index+int64(limit))
		return b, false, nil
	}
	var events int
	var last *int64
	if err := tx.QueryRow(ctx, query, b.From, b.To, limit).Scan(&events, &last); err != nil {
		return nil, false, fmt.Errorf("look for control events: %w", err)
	}
	if events == limit && last != nil {
		b.To = *last + 1
	}
	return b, events == 0, nil
}

type checkpoint struct {
	index  int64
	digest []byte
}

// lockCheckpoint makes the checkpoint on first sight and locks it until the
// transaction ends.
func lockCheckpoint(ctx context.Context, tx pgx.Tx, p Projection) (checkpoint, error) {
	const lock = `SELECT version, index, digest FROM projections.checkpoints WHERE name = $1 FOR UPDATE`
	const make = `INSERT INTO projections.checkpoints (name, version, index, digest, updated_at)
		VALUES ($1, $2, 0, '', clock_timestamp()) ON CONFLICT (name) DO NOTHING`
	var c checkpoint
	version := 0
	err := tx.QueryRow(ctx, lock, p.Name()).Scan(&version, &c.index, &c.digest)
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err := tx.Exec(ctx, make, p.Name(), p.Version()); err != nil {
			return checkpoint{}, fmt.Errorf("make checkpoint: %w", err)
		}
		err = tx.QueryRow(ctx, lock, p.Name()).Scan(&version, &c.index, &c.digest)
	}
	if err != nil {
		return checkpoint{}, fmt.Errorf("lock checkpoint: %w", err)
	}
	if version != p.Version() {
		return checkpoint{}, fmt.Errorf("%w: checkpoint %d, code %d", ErrRebuild, version, p.Version())
	}
	return c, nil
}

func moveCheckpoint(ctx context.Context, tx pgx.Tx, p Projection, b *Batch) error {
	const move = `UPDATE projections.checkpoints SET index = $2, digest = $3, updated_at = clock_timestamp()
		WHERE name = $1 AND index = $4`
	digest := b.Digest
	if digest == nil {
		digest = []byte{}
	}
	tag, err := tx.Exec(ctx, move, p.Name(), b.To, digest, b.From)
	if err != nil {
		return fmt.Errorf("move checkpoint: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("move checkpoint: it is no longer at %d", b.From)
	}
	return nil
}
