package direct_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/direct"
	"manti/ledger/spool"
)

// Calls that are begun and ended at the same time are each one event, and
// nothing is left open.
func TestCalls(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	r := record(t, pool)
	const callers, each = 16, 10
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				s := started()
				if _, err := r.Start(s); err != nil {
					t.Error(err)
				}
				if err := r.End(ended(s)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, pool, `SELECT count(*) FROM ledger.events WHERE outcome = 'completed'`); n != callers*each {
		t.Errorf("%d events of %d calls", n, callers*each)
	}
	r.stop()
	if n := count(t, pool, `SELECT (SELECT count(*) FROM manti.open_calls) + (SELECT count(*) FROM manti.sessions)`); n != 0 {
		t.Errorf("%d rows are left of calls and sessions that have ended", n)
	}
}

// What is durable when Start and End return isn't only in this process.
func TestDurable(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	r := record(t, pool)
	s := started()
	if _, err := r.Start(s); err != nil {
		t.Fatal(err)
	}
	if n := count(t, pool, `SELECT count(*) FROM manti.open_calls WHERE id = $1`, [16]byte(s.ID)); n != 1 {
		t.Errorf("%d rows of a call that was begun", n)
	}
	if err := r.End(ended(s)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.events WHERE id = $1`, [16]byte(s.ID)); n != 1 {
		t.Errorf("%d events of a call that has ended", n)
	}
	if err := r.End(ended(s)); !errors.Is(err, spool.ErrNotOpen) {
		t.Errorf("a second end: %v", err)
	}
}

// The open calls of a process that died are unknown, once; those that it had
// ended are left alone, and so are those of a process that lives.
func TestSweep(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	book := ledger.New(pool)
	dying, living := record(t, pool), record(t, pool)
	lost, done, live := started(), started(), started()
	for r, s := range map[*recorder][]domain.Started{dying: {lost, done}, living: {live}} {
		for _, s := range s {
			if _, err := r.Start(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := dying.End(ended(done)); err != nil {
		t.Fatal(err)
	}
	exec(t, pool, `UPDATE manti.sessions SET last_seen = last_seen - interval '59 seconds' WHERE id = $1`, [16]byte(dying.session))
	if n, err := direct.Sweep(t.Context(), pool, book); n != 0 || err != nil {
		t.Errorf("swept %d calls of a session seen a minute ago: %v", n, err)
	}
	exec(t, pool, `UPDATE manti.sessions SET last_seen = last_seen - interval '2 seconds' WHERE id = $1`, [16]byte(dying.session))
	if n, err := direct.Sweep(t.Context(), pool, book); n != 1 || err != nil {
		t.Errorf("swept %d calls: %v", n, err)
	}
	if n, err := direct.Sweep(t.Context(), pool, book); n != 0 || err != nil {
		t.Errorf("swept %d calls again: %v", n, err)
	}
	entry, err := ledger.Get(t.Context(), pool, lost.ID)
	if err != nil {
		t.Fatal(err)
	}
	if c := entry.Event.Body.(*domain.RequestCompleted); c.Outcome != domain.Unknown || !c.Held.Equal(lost.Held) {
		t.Errorf("the lost call is %s, held %s", c.Outcome, c.Held)
	}
	if err := living.End(ended(live)); err != nil {
		t.Error(err)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.rejected`); n != 0 {
		t.Errorf("%d records were rejected", n)
	}
}

// A process that was stopped for long and goes on records its call behind the
// unknown one.
func TestLateEnd(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	r := record(t, pool)
	s := started()
	if _, err := r.Start(s); err != nil {
		t.Fatal(err)
	}
	exec(t, pool, `DELETE FROM manti.sessions`)
	if n, err := direct.Sweep(t.Context(), pool, ledger.New(pool)); n != 1 || err != nil {
		t.Fatalf("swept %d calls: %v", n, err)
	}
	r.log.Doubt()
	if err := r.End(ended(s)); err != nil {
		t.Fatal(err)
	}
	const settled = `SELECT count(*) FROM ledger.events e JOIN ledger.supersedes s ON s.by = e.id WHERE e.request_id = $1 AND e.outcome = 'completed' AND s.id = $1`
	if n := count(t, pool, settled, [16]byte(s.ID)); n != 1 {
		t.Errorf("%d events supersede the unknown one", n)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.rejected`); n != 0 {
		t.Errorf("%d records were rejected", n)
	}
}

// Without the database calls are refused, and an event that has no place to go
// goes in when the database is back.
func TestOutage(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	done, err := db.Migrate(t.Context(), db.MigrateConfig{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := db.Open(t.Context(), db.Config{URL: server.URL(), Role: done.Roles.Writer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r := record(t, pool)
	s := started()
	if _, err := r.Start(s); err != nil {
		t.Fatal(err)
	}
	server.Stop(t, dbtest.StopFast)
	_, err = r.Start(started())
	if e, ok := errors.AsType[*domain.Error](err); !ok || e.Code != domain.CodeUnavailable || e.RetryAfter <= 0 || !errors.Is(err, ledger.ErrOutage) {
		t.Errorf("a start without the database: %v", err)
	}
	if err := r.End(ended(s)); !errors.Is(err, spool.ErrSlow) {
		t.Errorf("an end without the database: %v", err)
	}
	if err := r.log.Ready(); !errors.Is(err, ledger.ErrOutage) || errors.Is(err, direct.ErrNotConnected) {
		t.Errorf("ready without the database: %v", err)
	}
	server.Start(t)
	r.stop() // which waits for what is open
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 1 {
		t.Errorf("%d events of one call", n)
	}
}

func TestNotConnected(t *testing.T) {
	t.Parallel()
	l, err := direct.New(direct.Config{Session: newID[domain.SpoolID](), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Start(newID[domain.EventID](), []byte("{}"), 0); !errors.Is(err, direct.ErrNotConnected) || !errors.Is(err, ledger.ErrOutage) {
		t.Errorf("got %v", err)
	}
	if err := l.Ready(); !errors.Is(err, direct.ErrNotConnected) {
		t.Errorf("ready: %v", err)
	}
}

// recorder is one process' way to record.
type recorder struct {
	*ledger.Recorder
	log     *direct.Log
	session domain.SpoolID
	stop    func()
}

func record(t *testing.T, pool *pgxpool.Pool) *recorder {
	t.Helper()
	discard := slog.New(slog.DiscardHandler)
	r := &recorder{session: newID[domain.SpoolID]()}
	var err error
	if r.log, err = direct.New(direct.Config{Session: r.session, Replica: "a", Log: discard}); err != nil {
		t.Fatal(err)
	}
	if r.Recorder, err = ledger.NewRecorder(ledger.RecorderConfig{Spool: r.log, Log: discard}); err != nil {
		t.Fatal(err)
	}
	if err := r.log.Connect(t.Context(), pool, ledger.New(pool)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.log.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func started() domain.Started {
	return domain.Started{
		ID: newID[domain.EventID](), At: time.Now().UTC().Truncate(time.Microsecond), Org: newID[domain.OrgID](), Project: newID[domain.ProjectID](),
		Dialect: "openai", Endpoint: "chat.completions", AskedModel: "gpt-4o", Provider: "openai", Model: "gpt-4o",
		Held: decimal.RequireFromString("0.25"), Currency: domain.USD, Version: newID[domain.EventID](),
	}
}

// ended is the event of a call that went well.
func ended(s domain.Started) domain.Event {
	e := s.Unknown()
	call := e.Body.(*domain.RequestCompleted)
	call.Outcome, call.Status, call.Held, call.Provenance = domain.Completed, 200, decimal.Decimal{}, domain.Reported
	call.Usage = domain.Metered{domain.InputTokens: 7}
	call.Charge.Amount, call.Private.Cost.Amount = decimal.RequireFromString("0.01"), decimal.RequireFromString("0.01")
	return e
}

func count(t *testing.T, pool *pgxpool.Pool, query string, args ...any) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func exec(t *testing.T, pool *pgxpool.Pool, query string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func newID[I ~[16]byte]() I {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return domain.NewID[I](time.Now(), random)
}
