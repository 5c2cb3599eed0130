package jobs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/jobs"
	"manti/ledger"
	"manti/projections"
)

const patience = 30 * time.Second

// bench is a ledger whose projections are folded by runners.
type bench struct {
	*dbtest.Database
	pool  *pgxpool.Pool // the superuser's
	calls int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	database := dbtest.Open(t, dbtest.Options{})
	return &bench{Database: database, pool: database.Pool(t, "")}
}

// run starts a runner that stops when the test ends, or when stop is called.
func (b *bench) run(t *testing.T, cfg jobs.Config) (stop func()) {
	t.Helper()
	if cfg.Pool == nil {
		cfg.Pool = b.Pool(t, "manti_writer")
	}
	if cfg.Tick == 0 {
		cfg.Tick = 100 * time.Millisecond
	}
	r, err := jobs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("the runner doesn't stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

func newID[I ~[16]byte]() I {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return domain.NewID[I](time.Now(), random)
}

var org = newID[domain.OrgID]()

// append appends n calls of 0.01 USD each.
func (b *bench) append(t *testing.T, n int) {
	t.Helper()
	events := make([]domain.Encoded, n)
	for i := range events {
		price := domain.Price{Amount: decimal.New(1, -2), Currency: domain.USD}
		body := &domain.RequestCompleted{
			RequestPublic: domain.RequestPublic{
				Org: org, Project: newID[domain.ProjectID](), Model: "m", Outcome: domain.Completed,
				Provenance: domain.Reported, Charge: price,
			},
			Private: domain.RequestPrivate{Provider: "sim", Cost: price},
		}
		at := time.Now().UTC().Truncate(time.Microsecond)
		var err error
		events[i], err = domain.Encode(domain.Event{ID: newID[domain.EventID](), At: at, Body: body}, domain.Salt{}, domain.Salt{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ledger.New(b.pool).Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	b.calls += n
}

// until asks again and again whether something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		case <-every.C:
		}
	}
}

// folded waits until everything is folded, and holds it against what was appended.
func (b *bench) folded(t *testing.T) {
	t.Helper()
	until(t, "everything is folded", func() bool {
		lags, err := projections.ReadLag(t.Context(), b.pool, projections.All())
		if err != nil {
			t.Fatal(err)
		}
		for _, lag := range lags {
			if lag.Events > 0 {
				return false
			}
		}
		return true
	})
	balances, err := projections.ReadBalances(t.Context(), b.pool, org)
	if err != nil {
		t.Fatal(err)
	}
	want := decimal.New(int64(b.calls), -2)
	if len(balances) != 1 || balances[0].Calls != int64(b.calls) || !balances[0].Charge.Equal(want) {
		t.Errorf("balances %+v, want %d calls, %s", balances, b.calls, want)
	}
	for _, p := range projections.All() {
		if err := projections.Verify(t.Context(), b.pool, p); err != nil {
			t.Error(err)
		}
	}
}

func (b *bench) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) count(t *testing.T, sql string) (n int) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRunnerFolds(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]jobs.Config{"listening": {}, "polling": {PollOnly: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.append(t, 30)
			b.run(t, cfg)
			b.folded(t)
			b.append(t, 20)
			b.folded(t)
		})
	}
}

// River's tables hold no truth: all rows of all of them are deleted again and
// again, at random times, while two processes fold, and one is stopped and
// started.
func TestRiverRowsMayBeDeletedAtAnyTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.run(t, jobs.Config{})
	b.run(t, jobs.Config{Watch: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var deleted atomic.Int64
	wg.Go(func() {
		tables := []string{"river_job", "river_leader", "river_queue", "river_job WHERE random() < 0.5", "river_job WHERE state = 'running'"}
		for ctx.Err() == nil {
			tag, err := b.pool.Exec(ctx, fmt.Sprintf(`WITH pause AS MATERIALIZED (SELECT pg_sleep(random() * 0.05)), gone AS (DELETE FROM river.%s RETURNING 1)
				SELECT FROM gone, pause`, tables[mathrand.IntN(len(tables))]))
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			deleted.Add(tag.RowsAffected())
		}
	})
	for range 10 {
		b.append(t, 10)
	}
	b.folded(t)
	until(t, "the night's checks are made", func() bool {
		return b.count(t, `SELECT count(*) FROM projections.checks WHERE ok`) == len(projections.All())
	})
	stop()
	b.append(t, 10)
	b.run(t, jobs.Config{})
	b.folded(t)
	cancel()
	wg.Wait()
	if deleted.Load() == 0 {
		t.Error("no row was deleted")
	}
}

// The control to the above: what makes projections converge is the look at
// checkpoints. A runner that doesn't look, because its tick is too long, rests
// on River's rows, and does nothing once they are gone.
func TestWithoutLooksRiverRowsWouldHoldTheTruth(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.append(t, 10)
	b.run(t, jobs.Config{Tick: time.Hour})
	until(t, "River works", func() bool {
		return b.count(t, `SELECT count(*) FROM river.river_job WHERE kind = 'partitions' AND state = 'completed'`) > 0
	})
	b.exec(t, `DELETE FROM river.river_job`)
	for range 20 { // of round trips, together longer than a look would take
		b.count(t, `SELECT count(pg_sleep(0.02))`)
	}
	if n := b.count(t, `SELECT count(*) FROM projections.checkpoints`); n != 0 {
		t.Errorf("%d projections were folded without a look", n)
	}
}

// Partitions are made ahead by a job. If it never runs, because its rows are
// deleted or no runner is there, an append makes what it needs.
func TestPartitionsAreKeptAhead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	there := func(part string) bool {
		return b.count(t, `SELECT count(*) FROM pg_class WHERE oid = to_regclass('ledger.`+part+`')`) == 1
	}
	last := 2*ledger.PartitionEvents - 3
	b.exec(t, fmt.Sprintf(`UPDATE ledger.head SET size = %d`, last))
	b.append(t, 6)
	if !there("events_00002") || there("events_00003") {
		t.Error("without the job, the append did not make its partition, or more than that")
	}
	b.exec(t, `DO $$ DECLARE part text; BEGIN
		FOR part IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger.ids'::regclass AND inhrelid::regclass::text <> 'ledger.ids_default' ORDER BY 1 DESC LIMIT 2 LOOP
			EXECUTE 'DROP TABLE ' || part;
		END LOOP; END $$`)
	b.run(t, jobs.Config{})
	for what, part := range map[string]string{
		"the partition after the one that is being filled": "events_00003",
		"the ids of the month after next":                  "ids_" + monthsAhead(2),
		"the ids of the next month":                        "ids_" + monthsAhead(1),
	} {
		until(t, what+" has its partition", func() bool { return there(part) })
	}
	until(t, "the full partition is closed", func() bool {
		return b.count(t, `SELECT count(*) FROM pg_constraint WHERE conrelid = 'ledger.events_00001'::regclass AND conname = 'closed' AND convalidated`) == 1
	})
}

// monthsAhead is a month as partitions are named.
func monthsAhead(n int) string {
	y, m, _ := time.Now().UTC().Date()
	return time.Date(y, m+time.Month(n), 1, 0, 0, 0, 0, time.UTC).Format("2006_01")
}

// After a kill -9, River takes jobs to be running that nobody works on.
func TestJobsOfTheDeadDontHoldUpFolds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.run(t, jobs.Config{})
	b.append(t, 1)
	b.folded(t)
	stop()
	b.exec(t, `UPDATE river.river_job SET state = 'running', finalized_at = NULL, attempted_at = now(), attempted_by = '{dead}' WHERE kind = 'project'`)
	if n := b.count(t, `SELECT count(*) FROM river.river_job WHERE state = 'running' AND kind = 'project'`); n == 0 {
		t.Fatal("no job was left to die")
	}
	b.append(t, 10)
	b.run(t, jobs.Config{})
	b.folded(t)
}

func TestIdleRunnerStartsNoJobs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.append(t, 1)
	log := &logs{}
	b.run(t, jobs.Config{Tick: 5 * time.Millisecond, Logger: log.logger()})
	b.folded(t)
	until(t, "jobs are done", func() bool {
		return b.count(t, `SELECT count(*) FROM river.river_job WHERE finalized_at IS NULL`) == 0
	})
	before := b.count(t, `SELECT count(*) FROM river.river_job WHERE kind = 'project'`)
	for range 30 { // of round trips, each longer than a tick
		b.count(t, `SELECT count(pg_sleep(0.01))`)
	}
	if after := b.count(t, `SELECT count(*) FROM river.river_job WHERE kind = 'project'`); after != before {
		t.Errorf("%d jobs, then %d with nothing to do", before, after)
	}
	if text := log.String(); text != "" {
		t.Errorf("it logs:\n%s", text)
	}
}

// One event that can't be folded is named and left out; its projection goes on,
// and so do the others.
func TestPoisonIsParked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.append(t, 5)
	b.exec(t, `INSERT INTO ledger.events (index, recorded_at, at, id, v, control, kind, leaf, canonical)
		SELECT size, now(), now(), gen_random_uuid(), 1, true, 'KeyIssued', sha256(''), convert_to('{"v":1}' || repeat('x', 64), 'UTF8') FROM ledger.head;
		UPDATE ledger.head SET size = size + 1`)
	b.append(t, 5)
	log, registry := &logs{}, prometheus.NewRegistry()
	b.run(t, jobs.Config{Logger: log.logger(), Watch: time.Millisecond, Registerer: registry})
	b.folded(t)
	until(t, "the poison is named", func() bool {
		return strings.Contains(log.String(), "projection=keys index=5")
	})
	until(t, "the poison is counted", func() bool { return metric(t, registry, "manti_projection_parked_events", "keys") == 1 })
	if n := metric(t, registry, "manti_projection_parked_events", "balances"); n != 0 {
		t.Errorf("%v events of balances are parked", n)
	}
	if n := b.count(t, `SELECT index FROM projections.checkpoints WHERE name = 'keys'`); n != 11 {
		t.Errorf("keys are folded up to %d", n)
	}
	if n := strings.Count(log.String(), "an event can't be folded"); n != 1 {
		t.Errorf("the alarm was raised %d times:\n%s", n, log.String())
	}
}

// metric is a gauge of a projection; -1 if there is none.
func metric(t *testing.T, registry *prometheus.Registry, name, projection string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == projection {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// Several runners compare each projection with the ledger once a night; what
// they find is logged, measured and noted. It doesn't take a row of River's.
func TestChecksAreMadeOnceANight(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.append(t, 20)
	b.run(t, jobs.Config{Watch: time.Hour})() // folds, and stops
	ctx := t.Context()
	for _, p := range projections.All() {
		if _, err := projections.CatchUp(ctx, b.pool, p); err != nil {
			t.Fatal(err)
		}
	}
	b.exec(t, `DELETE FROM projections.checks; UPDATE projections.balances SET charge = charge + 1`)
	log, registry := &logs{}, prometheus.NewRegistry()
	b.run(t, jobs.Config{Logger: log.logger(), Watch: 20 * time.Millisecond, Registerer: registry})
	b.run(t, jobs.Config{Logger: log.logger(), Watch: 20 * time.Millisecond})
	all := len(projections.All())
	until(t, "all are checked", func() bool {
		b.exec(t, `DELETE FROM river.river_job WHERE random() < 0.1`)
		return b.count(t, `SELECT count(*) FROM projections.checks WHERE checked_at IS NOT NULL`) == all
	})
	until(t, "the difference is measured", func() bool { return metric(t, registry, "manti_projection_diverged", "balances") == 1 })
	if n := b.count(t, `SELECT count(*) FROM projections.checks WHERE ok`); n != all-1 {
		t.Errorf("%d are all right", n)
	}
	until(t, "the others are measured", func() bool { return metric(t, registry, "manti_projection_diverged", "usage") == 0 })
	if n := strings.Count(log.String(), "not what the ledger says"); n != 1 || !strings.Contains(log.String(), "charge is 1.20, by the ledger 0.20") {
		t.Errorf("the alarm was raised %d times:\n%s", n, log.String())
	}
	if n := b.count(t, `SELECT count(*) FROM projections.checks`); n != all {
		t.Errorf("%d rows", n)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := jobs.New(jobs.Config{}); err == nil {
		t.Error("a runner without a pool")
	}
}

// logs gathers log lines.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A runner waits for a server that is down, and survives its crash in the
// middle of the work.
func TestRunnerOutlivesTheServer(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	if _, err := db.Migrate(t.Context(), db.MigrateConfig{URL: server.URL()}); err != nil {
		t.Fatal(err)
	}
	open := func(role string) *pgxpool.Pool {
		pool, err := db.Open(t.Context(), db.Config{URL: server.URL(), Role: role})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
	b := &bench{pool: open("")}
	b.append(t, 10)
	server.Kill(t)
	log := &logs{}
	b.run(t, jobs.Config{Pool: open(db.RoleWriter), Logger: log.logger()})
	until(t, "it says that it waits", func() bool { return strings.Contains(log.String(), "wait for the database") })
	server.Start(t)
	b.folded(t)
	for range 2 {
		b.append(t, 50)
		server.Kill(t)
		server.Start(t)
	}
	b.folded(t)
}
