package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/ledger/spool"
)

// RecoverConfig says what to recover from what.
type RecoverConfig struct {
	Ledger *Ledger // must be set
	// Spools are the directories of all spools at hand. They are only read, and
	// may be in use.
	Spools []string
	// Known is a size that the ledger is known to have had by other evidence, a
	// signed checkpoint say.
	Known int64
	// Batch is how many entries one transaction puts back; 1000 if 0, which end
	// within the statement timeout.
	Batch int
	// Progress is told how many entries are put back, of how many; nil for nobody.
	Progress func(done, of int64)
}

// Recovery puts back what a ledger has lost: the missing range is filled from the
// spools, at the old indexes and times, so that leaves, tree and receipts are what
// they were. It is made for one use.
//
// Nothing is written before Refill. All that is written is written under a head
// that is frozen, in transactions that each leave the ledger whole up to its
// size: after a crash the next Recovery goes on. Thaw ends it.
type Recovery struct {
	cfg RecoverConfig
	l   *Ledger
	e   *evidence
	// lost are claims that can't have their old indexes any more: void since a
	// later origin, in a ledger that has others in their places, or unknown ones.
	lost []claim
	// upTo is the index up to which the ledger can be refilled.
	upTo int64

	Findings
}

// Findings is what a Recovery found out.
type Findings struct {
	// Head is the ledger's as it was found.
	Head Head
	// Target is how many entries the ledger had at least.
	Target int64
	// Refillable is how many of them the spools can put back at their old indexes
	// without a gap.
	Refillable int64
	// Missing are the indexes that nobody holds, below Target.
	Missing []domain.IndexRange
	// Unheld are the events of missing indexes of which at least the id is known.
	Unheld []Unheld
	// Diverged says where the ledger, or one spool, has another entry than a spool
	// says; nil if nowhere.
	Diverged *Divergence
	// Unplaced is how many events at hand aren't in the ledger and can't have their
	// old indexes, be it that others have them or that some before them are missing:
	// they would be appended as new.
	Unplaced int
	// Ahead are projections that have folded more than the ledger had when it was
	// found.
	Ahead []ProjectionAt
	// Damage is what couldn't be read of the spools.
	Damage []error
}

// Unheld is an event of which only the place is known.
type Unheld struct {
	Index int64
	ID    domain.EventID
}

// Divergence is an index with two entries.
type Divergence struct {
	Index int64
	// Here is the ledger's, zero where two spools disagree.
	Here domain.EventID
	// There is what a spool says, RecordedAt since when.
	There      domain.EventID
	RecordedAt time.Time
}

// ProjectionAt is how far a projection is.
type ProjectionAt struct {
	Name  string
	Index int64
}

// NewRecovery reads the spools and compares them with the ledger. It changes
// nothing.
func NewRecovery(ctx context.Context, cfg RecoverConfig) (*Recovery, error) {
	if cfg.Ledger == nil {
		return nil, errors.New("new recovery: Ledger must be set")
	}
	if cfg.Progress == nil {
		cfg.Progress = func(int64, int64) {}
	}
	if cfg.Batch <= 0 {
		cfg.Batch = refillBatch
	}
	r := &Recovery{cfg: cfg, l: cfg.Ledger}
	archives := make([]*spool.Archive, len(cfg.Spools))
	for i, dir := range cfg.Spools {
		a, err := spool.OpenArchive(dir)
		if err != nil {
			return nil, fmt.Errorf("recover: %w", err)
		}
		archives[i] = a
	}
	var err error
	if r.e, err = gather(archives); err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	if err := r.judge(ctx); err != nil {
		return nil, wrap("recover", err)
	}
	return r, nil
}

// Needed reports whether anything is to be done.
func (f *Findings) Needed() bool {
	return f.Head.Size < f.Target || f.Diverged != nil || f.Unplaced > 0 || f.FrozenBehind()
}

// Whole reports whether a Refill puts everything back.
func (f *Findings) Whole() bool {
	return f.Diverged == nil && f.Head.Size+f.Refillable >= f.Target
}

// FrozenBehind reports whether the head is frozen for what a Recovery mends.
func (f *Findings) FrozenBehind() bool {
	return f.Head.Frozen && errors.Is(frozenFor(f.Head.Reason), ErrBehind)
}

// judge compares the evidence with the ledger.
func (r *Recovery) judge(ctx context.Context) (err error) {
	if r.Head, err = ReadHead(ctx, r.l.pool); err != nil {
		return err
	}
	origins, err := readOrigins(ctx, r.l.pool)
	if err != nil {
		return err
	}
	r.Damage = r.e.damage
	r.lost = r.e.split(origins)
	r.Target = max(r.Head.Size, r.e.target(), r.cfg.Known)
	below, _ := slices.BinarySearchFunc(r.e.claims, r.Head.Size, func(c claim, size int64) int { return int(min(max(c.index-size, -1), 1)) })
	differing, err := r.differing(ctx, r.e.claims[:below])
	if err != nil {
		return err
	}
	r.e.claims = slices.Clone(r.e.claims[below:])
	if err := r.e.locate(r.e.claims, r.lost, differing, r.e.aside); err != nil {
		return err
	}
	r.reach()
	if r.lost, err = r.unknown(ctx, slices.Concat(r.lost, differing, r.e.homeless)); err != nil {
		return err
	}
	behind, err := r.unknown(ctx, slices.Concat(r.lost, r.e.claims[r.Refillable:]))
	if err != nil {
		return err
	}
	r.Unplaced = len(behind)
	r.Ahead, err = readAhead(ctx, r.l.pool, r.Head.Size)
	return err
}

// readOrigins returns where the ledger began anew.
func readOrigins(ctx context.Context, q Querier) ([]origin, error) {
	const query = `SELECT index, recorded_at FROM ledger.events WHERE control AND kind = $1 ORDER BY index`
	rows, err := q.Query(ctx, query, string(domain.KindOriginStarted))
	if err != nil {
		return nil, fmt.Errorf("read origins: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (o origin, err error) {
		var at time.Time
		err = row.Scan(&o.index, &at)
		o.at = at.UnixMicro()
		return o, err
	})
}

// readAhead returns the projections that have folded more than size events.
func readAhead(ctx context.Context, q Querier, size int64) ([]ProjectionAt, error) {
	const query = `SELECT name, index FROM projections.checkpoints WHERE index > $1 ORDER BY name`
	rows, err := q.Query(ctx, query, size)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints of projections: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[ProjectionAt])
}

// atOnce is how many claims are compared in one statement.
const atOnce = 5000

// accepted reports whether an operator has accepted, later than a time, that the
// ledger isn't what it was.
func (e *evidence) accepted(at int64) bool {
	return slices.ContainsFunc(e.origins, func(o origin) bool { return o.at > at })
}

// differing returns the claims below the ledger's size that it doesn't bear out,
// and notes the first that nobody has accepted.
func (r *Recovery) differing(ctx context.Context, claims []claim) (differing []claim, err error) {
	const query = `SELECT c.nth, e.id FROM unnest($1::bigint[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS c (index, id, at, nth)
		LEFT JOIN ledger.events e ON e.index = c.index
		WHERE e.id IS DISTINCT FROM c.id OR (extract(epoch FROM e.recorded_at) * 1000000)::bigint IS DISTINCT FROM c.at ORDER BY c.index`
	for chunk := range slices.Chunk(claims, atOnce) {
		indexes, ids, times := make([]int64, len(chunk)), make([]domain.EventID, len(chunk)), make([]int64, len(chunk))
		for i, c := range chunk {
			indexes[i], ids[i], times[i] = c.index, c.id, c.at
		}
		rows, err := r.l.pool.Query(ctx, query, indexes, uuids(ids), times)
		if err != nil {
			return nil, fmt.Errorf("compare places: %w", err)
		}
		var nth int
		var here *[16]byte
		_, err = pgx.ForEachRow(rows, []any{&nth, &here}, func() error {
			c := chunk[nth-1]
			differing = append(differing, c)
			if r.Diverged == nil && !r.e.accepted(c.at) {
				r.Diverged = &Divergence{Index: c.index, There: c.id, RecordedAt: time.UnixMicro(c.at).UTC()}
				if here != nil {
					r.Diverged.Here = *here
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("compare places: %w", err)
		}
	}
	return differing, nil
}

// reach finds out how far the ledger can be refilled, and what is missing. The
// claims begin at the ledger's size.
func (r *Recovery) reach() {
	r.upTo = r.Head.Size
	at, held := r.Head.RecordedAt.UnixMicro(), map[int64]bool{}
	if r.Head.Size == 0 {
		at = math.MinInt64
	}
	straight := r.Diverged == nil
	for i, c := range r.e.claims {
		twice := i+1 < len(r.e.claims) && r.e.claims[i+1].index == c.index
		if twice && r.Diverged == nil {
			other := r.e.claims[i+1]
			r.Diverged = &Divergence{Index: c.index, Here: c.id, There: other.id, RecordedAt: time.UnixMicro(other.at).UTC()}
		}
		if c.held() {
			held[c.index] = true
		} else {
			r.Unheld = append(r.Unheld, Unheld{c.index, c.id})
		}
		straight = straight && !twice && c.index == r.upTo && c.held() && c.at >= at
		if straight {
			r.upTo, at = c.index+1, c.at
		}
	}
	r.Refillable = r.upTo - r.Head.Size
	r.Missing = ranges(r.upTo, r.Target, func(index int64) bool { return held[index] })
}

// unknown returns the claims whose events are at hand and neither in the ledger nor
// set aside, in the order of their places, each event once.
func (r *Recovery) unknown(ctx context.Context, claims []claim) (unknown []claim, err error) {
	const query = `SELECT id FROM ledger.ids WHERE id = ANY($1) UNION ALL SELECT id FROM ledger.rejected WHERE id = ANY($1)`
	there := map[domain.EventID]bool{}
	for chunk := range slices.Chunk(claims, atOnce) {
		ids := make([]domain.EventID, len(chunk))
		for i, c := range chunk {
			ids[i] = c.id
		}
		rows, err := r.l.pool.Query(ctx, query, uuids(ids))
		if err != nil {
			return nil, fmt.Errorf("look for events: %w", err)
		}
		var id [16]byte
		if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { there[id] = true; return nil }); err != nil {
			return nil, fmt.Errorf("look for events: %w", err)
		}
		for _, c := range chunk {
			if c.held() && !there[c.id] && c.kind != domain.KindOriginStarted && c.kind != domain.KindPersonForgotten {
				there[c.id] = true
				unknown = append(unknown, c)
			}
		}
	}
	return unknown, nil
}

// Freeze stops all appends until Thaw, unless they are stopped already. A head
// that is frozen for something else is left to whoever froze it: that is an error.
func (r *Recovery) Freeze(ctx context.Context) error {
	err := db.InTx(ctx, r.l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM ledger.head WHERE shard = 0 FOR UPDATE`); err != nil {
			return err
		}
		head, err := ReadHead(ctx, tx)
		if err != nil {
			return err
		}
		if head.Size != r.Head.Size {
			return fmt.Errorf("the ledger has grown from %d to %d entries meanwhile: try again", r.Head.Size, head.Size)
		}
		if head.Frozen && !errors.Is(frozenFor(head.Reason), ErrBehind) {
			return frozenFor(head.Reason)
		}
		reason := fmt.Sprintf("%sit has %d entries, but its spools and checkpoints know of %d; `manti recover` is at work", behindPrefix, head.Size, r.Target)
		return freezeHead(ctx, tx, reason)
	})
	if err != nil {
		return wrap("freeze the head", err)
	}
	return nil
}

// Thaw lets appends through again.
func (r *Recovery) Thaw(ctx context.Context) error {
	const query = `UPDATE ledger.head SET frozen = false, reason = NULL WHERE shard = 0 AND frozen AND starts_with(reason, $1)`
	if _, err := r.l.pool.Exec(ctx, query, behindPrefix); err != nil {
		return wrap("thaw the head", err)
	}
	return nil
}

// Close closes the spools.
func (r *Recovery) Close() error {
	var errs []error
	for _, a := range r.e.archives {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}
