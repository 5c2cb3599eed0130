package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/ledger"
	"manti/ledger/seal"
)

// A root is a checkpoint that the tree must pass through.
type root struct {
	seal.Checkpoint
	outside bool
	// accepted: it isn't in the database, but what an operator has accepted.
	accepted bool
	// signed: a known key has signed it.
	signed bool
	holds  bool
}

// readCheckpoints reads those in the database and the one from outside it, and
// checks their signatures.
func (r *run) readCheckpoints(ctx context.Context, tx pgx.Tx) error {
	var size int64
	var note string
	err := each(ctx, tx, "checkpoints", []any{&size, &note}, func() error {
		r.sealedThere = max(r.sealedThere, size)
		r.readCheckpoint(size, note)
		return nil
	}, `SELECT size, COALESCE(note, '') FROM ledger.checkpoints ORDER BY size`)
	if err != nil {
		return err
	}
	if err := r.readOutside(); err != nil {
		return err
	}
	r.readAccepted()
	slices.SortStableFunc(r.roots, func(a, b root) int { return cmp.Compare(a.Size, b.Size) })
	r.compareRoots() // with the empty tree
	return nil
}

func (r *run) readCheckpoint(size int64, note string) {
	finding := Finding{Index: NoIndex, Table: "checkpoints", Column: "note"}
	c, err := r.open([]byte(note))
	switch {
	case errors.Is(err, seal.ErrUnknownKey):
		finding.Problem, finding.Found = "is not signed by a known key", c.String()
	case err != nil:
		finding.Problem, finding.Found = "is no signed checkpoint", fmt.Sprintf("that of size %d", size)
	case c.Size != size:
		finding.Column, finding.Problem = "size", "is not that of its note"
		finding.Expected, finding.Found = fmt.Sprint(c.Size), fmt.Sprint(size)
	default:
		r.roots = append(r.roots, root{Checkpoint: c, signed: r.cfg.Keys.Len() > 0})
		return
	}
	r.found.add(finding)
}

// open checks signatures, if there is a key to check them with.
func (r *run) open(note []byte) (seal.Checkpoint, error) {
	parsed, err := seal.ParseCheckpoint(note)
	if err != nil || r.cfg.Keys.Len() == 0 {
		return parsed, err
	}
	if _, err := seal.Open(note, r.cfg.Keys); err != nil {
		return parsed, err
	}
	return parsed, nil
}

// readOutside takes the checkpoint from outside the database.
func (r *run) readOutside() error {
	if r.cfg.Outside == nil {
		return nil
	}
	c, err := r.open(r.cfg.Outside)
	if err != nil {
		return fmt.Errorf("the checkpoint of %s: %w", r.cfg.OutsideSource, err)
	}
	if r.isReplaced(c) {
		return nil
	}
	r.report.Outside, r.report.OutsideSource = c.Size, r.cfg.OutsideSource
	if c.Size > r.head.Size {
		r.found.addMany(Finding{Index: r.head.Size, Through: c.Size - 1, Table: tableEvents,
			Problem: "missing: the ledger is behind the checkpoint from outside, as after the restore of an older copy"}, c.Size-r.head.Size)
		return nil
	}
	r.roots = append(r.roots, root{Checkpoint: c, outside: true, signed: r.cfg.Keys.Len() > 0})
	return nil
}

// compareRoots holds the tree against the checkpoints of its size.
func (r *run) compareRoots() {
	for ; r.nextRoot < len(r.roots) && r.roots[r.nextRoot].Size == r.tree.size; r.nextRoot++ {
		c := &r.roots[r.nextRoot]
		if hash(c.Root) != r.tree.root() {
			r.rootDiffers(c)
			continue
		}
		c.holds = true
		if c.accepted {
			continue
		}
		r.report.Sealed = max(r.report.Sealed, c.Size)
		if !c.outside {
			r.report.Checkpoints++
		}
	}
}

// rootDiffers says that what was signed isn't what is there. The checkpoint
// before, if it holds, says from where on.
func (r *run) rootDiffers(c *root) {
	f := Finding{Index: r.report.Sealed, Through: c.Size - 1, Somewhere: true, Table: "checkpoints", Column: "note",
		Problem: "the tree is not the one that was signed: one of these events was changed", Expected: c.Root.String(), Found: hashText(r.tree.root())}
	if c.outside {
		f.Table, f.Column = tableEvents, ""
		f.Problem = "the tree is not that of the checkpoint from outside: one of these events was changed, or the ledger is another"
	}
	if c.accepted {
		f.Table, f.Column = tableEvents, ""
		f.Problem = "the tree is not what it was when the loss was accepted, or before: one of these events was changed"
	}
	r.found.add(f)
}

// checkOutside sees to it that the database has what was signed last, and says
// how much isn't sealed yet.
func (r *run) checkOutside(ctx context.Context, tx pgx.Tx) error {
	for _, c := range r.roots {
		if c.Size > r.head.Size { // only of the database: see readOutside
			r.found.add(Finding{Index: r.head.Size, Through: c.Size - 1, Table: "checkpoints", Column: "size", Problem: "it is of events that aren't there"})
		}
		if c.outside && c.holds && c.Size > r.sealedThere {
			if err := r.lostCheckpoint(ctx, tx, c.Checkpoint); err != nil {
				return err
			}
		}
	}
	return r.unsealed(ctx, tx)
}

// lostCheckpoint looks once more for a checkpoint that was signed a moment before
// the snapshot: it is remembered outside before it is in the table.
func (r *run) lostCheckpoint(ctx context.Context, tx pgx.Tx, c seal.Checkpoint) error {
	var later ledger.Querier = tx
	if r.cfg.Pool != nil {
		later = r.cfg.Pool
	}
	there := false
	err := later.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ledger.checkpoints WHERE size >= $1)`, c.Size).Scan(&there)
	if err != nil {
		return fmt.Errorf("look for the last checkpoint: %w", err)
	}
	if !there {
		r.found.add(Finding{Index: NoIndex, Table: "checkpoints", Problem: "the checkpoint known outside is not here", Expected: fmt.Sprintf("size %d", c.Size), Found: fmt.Sprintf("size %d", r.sealedThere)})
	}
	return nil
}

// unsealed says since when events are not sealed.
func (r *run) unsealed(ctx context.Context, tx pgx.Tx) error {
	if r.report.Sealed >= r.head.Size {
		return nil
	}
	var first *time.Time
	err := tx.QueryRow(ctx, `SELECT min(recorded_at) FROM ledger.events WHERE index >= $1 AND index < $1 + 1000`, r.report.Sealed).Scan(&first)
	if err != nil {
		return fmt.Errorf("read the first event that is not sealed: %w", err)
	}
	if first != nil {
		r.report.Unsealed = time.Since(*first)
	}
	return nil
}
