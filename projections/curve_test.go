package projections_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"manti/db"
	"manti/db/dbtest"
	"manti/db/local"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// What an append and a read of a balance cost doesn't grow with the ledger. Two
// ledgers stand on one server: one stays small, the other grows, and they are
// measured in turns, so that what else the machine does meets both. By default
// the pages that are touched are counted, which nothing disturbs; with
// MANTI_TEST_LONG=1 the large one grows to 10 million events (some 20 GB, and a
// quarter of an hour on a quiet machine of 2 cores), and time counts.
func TestCostDoesNotGrowWithTheLedger(t *testing.T) {
	t.Parallel()
	sizes, most, long := []int64{20_000}, 1.5, os.Getenv("MANTI_TEST_LONG") == "1"
	base, turns := int64(1_000), 6
	if long {
		base, sizes, most, turns = 100_000, []int64{300_000, 1_000_000, 3_000_000, 10_000_000}, 1.2, 40
	}
	settings := local.Settings()
	settings["autovacuum"] = "on"
	server := dbtest.NewServer(t, dbtest.ServerOptions{Fsync: long, Settings: settings})
	small, large := newCurve(t, server, "small"), newCurve(t, server, "large")
	small.fill(t, base)
	large.fill(t, base)
	for _, size := range append([]int64{base}, sizes...) {
		large.fill(t, size)
		a, b := measureBoth(t, turns, small, large)
		t.Logf("%8d events: append of 500 %s, %.2f ×, %.1f pages an event, %.2f ×; balance %s, %.2f ×, %.1f pages, %.2f ×",
			size, b.append, b.append.Seconds()/a.append.Seconds(), b.appendPages/curveBatch, b.appendPages/a.appendPages,
			b.read, b.read.Seconds()/a.read.Seconds(), b.readPages, b.readPages/a.readPages)
		if b.appendPages > most*a.appendPages || b.readPages > most*a.readPages {
			t.Errorf("%d events: more than %v × the pages of %d: %+v, %+v", size, most, base, b, a)
		}
		if long && (b.append.Seconds() > most*a.append.Seconds() || b.read.Seconds() > most*a.read.Seconds()) {
			t.Errorf("%d events: more than %v × the time of %d: %+v, %+v", size, most, base, b, a)
		}
	}
	if long {
		return
	}
	// The control: pages do tell what reads the events themselves.
	if a, b := small.pagesOfSum(t), large.pagesOfSum(t); b < most*a {
		t.Errorf("a sum over the events touches %v pages of the small ledger and %v of the large one", a, b)
	}
}

const (
	curveBatch = 500
	curveOrgs  = 100
)

// A curve is a ledger that grows.
type curve struct {
	// pool is for filling; one has a single connection, whose counts are its own.
	pool, one *pgxpool.Pool
	ledger    *ledger.Ledger
	templates []domain.Encoded
	orgs      []domain.OrgID
	size      int64
}

// costs are medians of a turn.
type costs struct {
	append, read           time.Duration
	appendPages, readPages float64
}

func newCurve(t *testing.T, server *dbtest.Server, name string) *curve {
	t.Helper()
	admin, err := db.Open(t.Context(), db.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec(t.Context(), `CREATE DATABASE `+name); err != nil {
		t.Fatal(err)
	}
	url, err := server.URL().WithDatabase(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Migrate(t.Context(), db.MigrateConfig{URL: url}); err != nil {
		t.Fatal(err)
	}
	open := func(conns int32) *pgxpool.Pool {
		pool, err := db.Open(t.Context(), db.Config{
			URL: url, Role: db.RoleWriter, MaxConns: conns, StatementTimeout: 5 * time.Minute, LockTimeout: time.Minute, IdleInTxTimeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
	c := &curve{pool: open(4), one: open(1)}
	c.ledger = ledger.New(c.pool)
	w := newWorld(1)
	for i := range curveOrgs {
		e := w.call()
		call := e.Body.(*domain.RequestCompleted)
		call.Org = newID[domain.OrgID](w)
		c.orgs = append(c.orgs, call.Org)
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			t.Fatalf("template %d: %v", i, err)
		}
		c.templates = append(c.templates, enc)
	}
	return c
}

// batch is n new events after the templates.
func (c *curve) batch(n int) []domain.Encoded {
	events := make([]domain.Encoded, n)
	for i := range events {
		e := c.templates[i%len(c.templates)]
		var random [10]byte
		_, _ = rand.Read(random[:]) // never fails
		id := domain.NewID[domain.EventID](time.Now(), random)
		e.Public = bytes.Replace(e.Public, []byte(e.ID.String()), []byte(id.String()), 1)
		e.ID = id
		events[i] = e
	}
	return events
}

// fill appends until there are so many events, and folds them.
func (c *curve) fill(t *testing.T, size int64) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(2)
	for c.size < size {
		n := min(2000, size-c.size)
		c.size += n
		group.Go(func() error {
			_, err := c.ledger.Append(ctx, c.batch(int(n)))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := projections.CatchUp(t.Context(), c.pool, projections.Balances()); err != nil {
		t.Fatal(err)
	}
}

// measureBoth appends to both and reads balances of both, in turns.
func measureBoth(t *testing.T, turns int, curves ...*curve) (a, b costs) {
	t.Helper()
	type series struct {
		appends, reads         []time.Duration
		appendPages, readPages []float64
	}
	taken := make([]series, len(curves))
	for turn := range turns {
		for i := range curves {
			i = (i + turn) % len(curves)
			c, ctx := curves[i], t.Context()
			events := c.batch(curveBatch)
			l := ledger.New(c.one)
			first := c.pages(t)
			begin := time.Now()
			if _, err := l.Append(ctx, events); err != nil {
				t.Fatal(err)
			}
			taken[i].appends = append(taken[i].appends, time.Since(begin))
			c.size += curveBatch
			second := c.pages(t)
			if _, err := projections.CatchUp(ctx, c.pool, projections.Balances()); err != nil {
				t.Fatal(err)
			}
			third := c.pages(t)
			begin = time.Now()
			if got, err := projections.ReadBalances(ctx, c.one, c.orgs[turn%len(c.orgs)]); err != nil || len(got) == 0 {
				t.Fatalf("%d balances, %v", len(got), err)
			}
			taken[i].reads = append(taken[i].reads, time.Since(begin))
			taken[i].appendPages = append(taken[i].appendPages, second-first)
			taken[i].readPages = append(taken[i].readPages, c.pages(t)-third)
		}
	}
	medians := make([]costs, len(curves))
	for i, s := range taken {
		medians[i] = costs{median(s.appends), median(s.reads), median(s.appendPages), median(s.readPages)}
	}
	return medians[0], medians[1]
}

// median is not moved by the turn in which the server vacuumed.
func median[T cmp.Ordered](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// pages is how often pages of our tables and their indexes were asked for.
func (c *curve) pages(t *testing.T) (n float64) {
	t.Helper()
	for _, pool := range []*pgxpool.Pool{c.pool, c.one} {
		for _, conn := range pool.AcquireAllIdle(context.Background()) {
			if _, err := conn.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`); err != nil {
				t.Error(err)
			}
			conn.Release()
		}
	}
	const query = `SELECT sum(heap_blks_read + heap_blks_hit + COALESCE(idx_blks_read + idx_blks_hit, 0))::bigint
		FROM pg_statio_user_tables WHERE schemaname IN ('ledger', 'projections')`
	count := int64(0)
	if err := c.one.QueryRow(t.Context(), query).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return float64(count)
}

// pagesOfSum is how many pages the sum of an organisation's events touches.
func (c *curve) pagesOfSum(t *testing.T) float64 {
	t.Helper()
	before := c.pages(t)
	if _, err := c.one.Exec(t.Context(), `SELECT sum(charge) FROM ledger.events WHERE org_id = $1`, [16]byte(c.orgs[0])); err != nil {
		t.Fatal(err)
	}
	return c.pages(t) - before
}
