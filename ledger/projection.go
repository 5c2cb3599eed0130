package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
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
	entries []Entry
	read    bool
}

// Entries returns the decoded events of the batch by ascending index: all of
// them, or the control kinds if the projection folds only those. They are read
// on the first call; a fold that works in SQL on ledger.events, WHERE index >=
// b.From AND index < b.To, never pays for the decoding.
func (b *Batch) Entries(ctx context.Context) ([]Entry, error) {
	if b.read {
		return b.entries, nil
	}
	entries, err := read(ctx, b.tx, readRange{from: b.From, to: b.To, control: b.control})
	if err != nil {
		return nil, err
	}
	b.entries, b.read = entries, true
	return entries, nil
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
	b, err := nextBatch(ctx, tx, p.Control(), at, limit)
	if err != nil {
		return Progress{}, fmt.Errorf("advance %s: %w", p.Name(), err)
	}
	b.Digest = c.digest
	if err := b.fold(ctx, p); err != nil {
		return Progress{}, fmt.Errorf("fold %s from %d to %d: %w", p.Name(), b.From, b.To, err)
	}
	if err := moveCheckpoint(ctx, tx, p, b); err != nil {
		return Progress{}, fmt.Errorf("advance %s: %w", p.Name(), err)
	}
	at.Index = b.To
	return at, nil
}

// fold skips the call where there is nothing to fold.
func (b *Batch) fold(ctx context.Context, p Projection) error {
	if b.control && len(b.entries) == 0 {
		return nil
	}
	return p.Fold(ctx, b.tx, b)
}

// nextBatch decides how far a batch goes. For control kinds that is found by
// reading them: limit counts them, not what lies between.
func nextBatch(ctx context.Context, tx pgx.Tx, control bool, at Progress, limit int) (*Batch, error) {
	b := &Batch{From: at.Index, To: at.Size, tx: tx, control: control}
	if !control {
		b.To = min(at.Size, at.Index+int64(limit))
		return b, nil
	}
	entries, err := read(ctx, tx, readRange{from: b.From, to: b.To, control: true, limit: limit})
	if err != nil {
		return nil, err
	}
	if len(entries) == limit {
		b.To = entries[limit-1].Index + 1
	}
	b.entries, b.read = entries, true
	return b, nil
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
