package jobs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
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
// again while two processes fold, and both are stopped and started.
func TestRiverRowsMayBeDeletedAtAnyTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.run(t, jobs.Config{})
	b.run(t, jobs.Config{})
	for range 10 {
		b.append(t, 10)
		b.exec(t, `DELETE FROM river.river_job; DELETE FROM river.river_leader; DELETE FROM river.river_queue`)
	}
	b.folded(t)
	stop()
	b.append(t, 10)
	b.exec(t, `TRUNCATE river.river_job`)
	b.run(t, jobs.Config{})
	b.folded(t)
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

// One event that can't be folded stops its projection, at that event, and no
// other one.
func TestPoisonStopsOneProjection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.append(t, 5)
	b.exec(t, `INSERT INTO ledger.events (index, recorded_at, at, id, v, control, kind, leaf, canonical)
		SELECT size, now(), now(), gen_random_uuid(), 1, true, 'KeyIssued', sha256(''), convert_to('{"v":1}' || repeat('x', 64), 'UTF8') FROM ledger.head;
		UPDATE ledger.head SET size = size + 1`)
	b.append(t, 5)
	log := &logs{}
	b.run(t, jobs.Config{Logger: log.logger()})
	until(t, "balances are folded", func() bool {
		return b.count(t, `SELECT count(*) FROM projections.checkpoints WHERE name = 'balances' AND index = 11`) == 1
	})
	until(t, "the poison is named", func() bool {
		return strings.Contains(log.String(), "projection=keys index=5")
	})
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
