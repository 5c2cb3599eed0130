package verify

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"manti/ledger"
	"manti/ledger/seal"
)

// Config says what to verify, against what, and how much of it.
type Config struct {
	// Pool has at least Workers + 2 connections, with the rights of the auditor;
	// if Workers is 1, one is enough. They are used for reading only, whatever
	// they may.
	Pool *pgxpool.Pool
	// Keys are those that may have signed checkpoints; without any, no signature
	// is checked and the report isn't Proven.
	Keys seal.Keys
	// Outside is the signed checkpoint from outside the database, nil if there is
	// none; it must have been read before Run is called. OutsideSource says for
	// people where it was.
	Outside       []byte
	OutsideSource string
	// Accepted are the losses that were accepted, as the outside memory has them.
	// An origin that began without being among them leaves the report not Proven.
	Accepted []seal.Acceptance
	// Since is the first event of which everything is checked, rounded down to a
	// multiple of 256; SinceTime, if set, is the same by recorded_at. Of those
	// before, the leaf as it is stored goes into the tree.
	Since     int64
	SinceTime time.Time
	// Sample checks everything of that many events, chosen at random anew each
	// time, and of all others only the leaf as it is stored; 0 checks all. If
	// SamplePercent is set, it is that many of a hundred.
	Sample        int64
	SamplePercent int
	// Spools are directories whose retained records must be in the ledger.
	Spools []string
	// Workers is how many connections read events at once; DefaultWorkers if 0.
	Workers int
	// Progress, if set, is called now and then by one goroutine at a time.
	Progress func(done, total int64)
}

// DefaultWorkers is three for each processor, but no more than a server has
// connections for: neither Postgres nor this waits, and there is much to read
// whenever somebody looks.
func DefaultWorkers() int {
	const most = 32
	return min(3*runtime.GOMAXPROCS(0), most)
}

// Tables of which much is said.
const (
	tableEvents   = "events"
	tableErasable = "erasable"
)

// run is one run of Run.
type run struct {
	cfg    Config
	found  *findings
	report Report
	head   ledger.Head
	key    sumKey

	eventColumns, erasableColumns []column
	// sealedThere is the size of the database's last checkpoint.
	sealedThere int64
	roots       []root // by size
	nextRoot    int    // the first that the tree has not come to
	// forgotten are the events whose erasable parts were erased, answers those
	// that settled rejected records, by digest.
	forgotten map[int64]bool
	answers   map[string]answer
	// begun are the origins that the ledger has begun. begunAnew is when the last of
	// those began that were accepted: places that spools know from before are void.
	begun     []newOrigin
	begunAnew time.Time
	ranges    []chunkRange

	// What the chunks came to, in their order.
	tree        tree
	tiles       tileRows
	last        time.Time
	gap         [2]int64 // a range of missing indexes that may go on
	ids, supers sum
	storedIDs   sum
}

// Run verifies a ledger. An error says that it could not be read or the
// configuration makes no sense; what is wrong with the ledger is in the report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	return cfg.run(func(r *run) error { return r.all(ctx) })
}

// run makes the report of what do finds.
func (cfg Config) run(do func(*run) error) (Report, error) {
	began := time.Now()
	if cfg.Workers <= 0 {
		cfg.Workers = DefaultWorkers()
	}
	r := &run{cfg: cfg, found: newFindings(), key: newSumKey(), gap: [2]int64{0, -1}}
	r.report.Outside, r.report.Keys = -1, cfg.Keys.Len()
	if err := do(r); err != nil {
		return Report{}, fmt.Errorf("verify: %w", err)
	}
	r.report.Findings, r.report.Counts = r.found.list()
	for _, c := range r.report.Counts {
		r.report.Wrong += c.Times
	}
	r.report.Took = time.Since(began)
	return r.report, nil
}

func (r *run) all(ctx context.Context) error {
	spools := readSpoolStates(r.cfg.Spools) // before the snapshot: what they say was shipped is in it
	connections := r.cfg.Workers + 2
	if r.cfg.Workers == 1 {
		connections = 1
	}
	s, err := openSession(ctx, r.cfg.Pool, connections)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	return r.verify(ctx, s, spools)
}

// verify does all of it on a session.
func (r *run) verify(ctx context.Context, s *session, spools []spoolState) error {
	main := s.txs[0]
	for _, step := range []func(context.Context, pgx.Tx) error{r.readHead, r.readColumns, r.readNotices, r.readCheckpoints, r.plan, r.schema} {
		if err := step(ctx, main); err != nil {
			return err
		}
	}
	entries := r.entries
	if len(s.txs) == 1 {
		entries = r.entriesAlone
	}
	if err := entries(ctx, s); err != nil {
		return err
	}
	for _, step := range []func(context.Context, pgx.Tx) error{
		r.checkIDs, r.checkHead, r.strayTiles, r.checkSupersedes, r.checkErasures, r.checkRejected, r.checkOutside, r.checkOrigins, r.sample,
	} {
		if err := step(ctx, main); err != nil {
			return err
		}
	}
	for _, spool := range spools {
		if err := r.checkSpool(ctx, main, spool); err != nil {
			return err
		}
	}
	return nil
}

// entries reads all events, in chunks that workers check and that come together
// in their order.
func (r *run) entries(ctx context.Context, s *session) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.readBeside(ctx, s.txs[1]) })
	ready := make([]chan *chunk, len(r.ranges))
	for i := range ready {
		ready[i] = make(chan *chunk, 1)
	}
	ahead := make(chan struct{}, 2*r.cfg.Workers) // chunks that are begun and not yet taken
	var next atomic.Int64
	for _, tx := range s.txs[2:] {
		group.Go(func() error { return r.work(ctx, tx, &next, ahead, ready) })
	}
	group.Go(func() error {
		for i := range ready {
			select {
			case k := <-ready[i]:
				if err := r.take(ctx, s.txs[0], k); err != nil {
					return err
				}
				ready[i] = nil
				<-ahead
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return r.endOfTree(ctx, s.txs[0])
	})
	return group.Wait()
}

// entriesAlone is entries on one connection.
func (r *run) entriesAlone(ctx context.Context, s *session) error {
	tx := s.txs[0]
	if err := r.readBeside(ctx, tx); err != nil {
		return err
	}
	if err := scanBy(ctx, tx, byIndex); err != nil {
		return err
	}
	c := &checker{tx: tx, run: r}
	for _, indexes := range r.ranges {
		k := &chunk{chunkRange: indexes}
		if err := c.check(ctx, k); err != nil {
			return err
		}
		if err := r.take(ctx, tx, k); err != nil {
			return err
		}
	}
	if err := scanBy(ctx, tx, byPlanner); err != nil {
		return err
	}
	return r.endOfTree(ctx, tx)
}

// readBeside reads what is compared with the sum of all chunks.
func (r *run) readBeside(ctx context.Context, tx pgx.Tx) error {
	if err := scanBy(ctx, tx, byHeap); err != nil {
		return err
	}
	if err := r.countRows(ctx, tx); err != nil {
		return err
	}
	if err := scanBy(ctx, tx, byPlanner); err != nil {
		return err
	}
	return r.sumIDs(ctx, tx)
}

// work checks chunks until none is left.
func (r *run) work(ctx context.Context, tx pgx.Tx, next *atomic.Int64, ahead chan struct{}, ready []chan *chunk) error {
	c := &checker{tx: tx, run: r}
	if err := scanBy(ctx, tx, byIndex); err != nil {
		return err
	}
	for {
		select {
		case ahead <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		i := int(next.Add(1)) - 1
		if i >= len(r.ranges) {
			<-ahead
			return nil
		}
		k := &chunk{chunkRange: r.ranges[i]}
		if err := c.check(ctx, k); err != nil {
			return err
		}
		ready[i] <- k
	}
}

// take adds a chunk to what came before it.
func (r *run) take(ctx context.Context, tx pgx.Tx, k *chunk) error {
	for _, g := range k.gaps {
		r.missing(g[0], g[1])
	}
	if k.first.Before(r.last) && !k.first.IsZero() {
		r.fell(k.from, r.last, k.first)
	}
	if !k.last.IsZero() {
		r.last = k.last
	}
	r.ids.join(k.ids)
	r.supers.join(k.supers)
	r.report.Checked += k.checked
	if err := r.grow(ctx, tx, k); err != nil {
		return err
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(k.to, r.head.Size)
	}
	return nil
}

// grow adds a chunk's leaves to the tree, holds it against each checkpoint on the
// way, and the tiles against it.
func (r *run) grow(ctx context.Context, tx pgx.Tx, k *chunk) error {
	stored := k.tiles
	full := func(level int, number int64, hashes []byte) error {
		if level > 0 {
			tiles, err := readTiles(ctx, tx, level, number, number)
			if err != nil {
				return err
			}
			r.compareTile(level, number, hashes, tiles)
			return nil
		}
		n := 0
		for n < len(stored) && stored[n].number == number {
			n++
		}
		r.compareTile(0, number, hashes, stored[:n])
		stored = stored[n:]
		return nil
	}
	var err error
	for _, leaf := range k.leaves {
		r.tree.add(leaf, func(level int, number int64, h hash) {
			if err == nil {
				err = r.tiles.add(level, number, h, full)
			}
		})
		if err != nil {
			return err
		}
		r.compareRoots()
	}
	return nil
}

// endOfTree compares the tiles at the right edge, and says what was still missing.
func (r *run) endOfTree(ctx context.Context, tx pgx.Tx) error {
	r.missing(r.head.Size+1, r.head.Size) // ends the last gap
	for level, hashes := range r.tiles {
		if len(hashes) == 0 {
			continue
		}
		number := r.tree.size >> (tileHeight * (level + 1))
		tiles, err := readTiles(ctx, tx, level, number, number)
		if err != nil {
			return err
		}
		r.compareTile(level, number, hashes, tiles)
	}
	return nil
}

// missing says that events aren't there. It is called in their order; ranges that
// touch are one.
func (r *run) missing(from, through int64) {
	if from == r.gap[1]+1 && r.gap[1] >= r.gap[0] {
		r.gap[1] = through
		return
	}
	if n := r.gap[1] - r.gap[0] + 1; n > 0 {
		r.found.addMany(Finding{Index: r.gap[0], Through: r.gap[1], Table: tableEvents, Problem: "missing"}, n)
	}
	r.gap = [2]int64{from, through}
}

func (r *run) fell(index int64, before, at time.Time) {
	r.found.add(Finding{Index: index, Table: tableEvents, Column: "recorded_at", Problem: "is earlier than that of the event before",
		Expected: "at least " + before.Format(time.RFC3339Nano), Found: at.Format(time.RFC3339Nano)})
}
