package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/spool"
)

// ackedSpool tells when everything is acknowledged.
type ackedSpool struct {
	*spool.Spool
	acked chan struct{}
}

func (s ackedSpool) Ack(b spool.Batch) error {
	err := s.Spool.Ack(b)
	select {
	case s.acked <- struct{}{}:
	default:
	}
	return err
}

// drained waits until the ledger has all that the spool holds.
func (s ackedSpool) drained(t *testing.T) {
	t.Helper()
	for {
		stats, err := s.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if stats.Unshipped == 0 {
			return
		}
		select {
		case <-s.acked:
		case <-t.Context().Done():
			t.Fatal("the test ended")
		case <-time.After(time.Minute):
			t.Fatalf("after a minute %d records are unshipped", stats.Unshipped)
		}
	}
}

func openSpool(t *testing.T, dir string) ackedSpool {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 8 << 20, MaxRecordBytes: domain.MaxRecordBytes})
	if err != nil {
		t.Fatal(err)
	}
	return ackedSpool{s, make(chan struct{}, 1)}
}

// lockedLog is a log that may be read while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// runShipper runs one until stop, which waits for its end.
func runShipper(t *testing.T, pool *pgxpool.Pool, from ledger.Source) (log *lockedLog, stop func()) {
	t.Helper()
	log = new(lockedLog)
	registry := prometheus.NewRegistry()
	s, err := ledger.NewShipper(ledger.ShipperConfig{Ledger: ledger.New(pool), Spool: from, Replica: "a", Log: slog.New(slog.NewTextHandler(log, nil)), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return log, stop
}

// record makes n calls, started and ended.
func record(t *testing.T, to *spool.Spool, n int) {
	t.Helper()
	r, err := ledger.NewRecorder(ledger.RecorderConfig{Spool: to, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, 50)
	for range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			s := newStarted()
			if _, err := r.Start(s); err != nil {
				t.Error(err)
				return
			}
			if err := r.End(domain.Event{ID: s.ID, At: s.At, Body: newCall()}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestShipperEmptiesTheSpool(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := openSpool(t, t.TempDir())
	defer s.Close()
	record(t, s.Spool, 700)
	log, stop := runShipper(t, pool, s)
	s.drained(t)
	record(t, s.Spool, 20)
	s.drained(t)
	stop()
	checkInvariants(t, pool, 0)
	if n := count(t, pool, `SELECT count(*) FROM ledger.events WHERE outcome = 'completed'`); n != 720 {
		t.Errorf("%d events", n)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.spools WHERE id = $1::text::uuid AND epoch = 1 AND replica = 'a' AND unshipped = 0 AND drained_index = 720`, domain.SpoolID(s.ID()).String()); n != 1 {
		t.Error("the spool's row is not as expected")
	}
	if log.count("level=ERROR")+log.count("level=WARN") > 0 {
		t.Errorf("log: %s", log.text.String())
	}
}

func TestShippingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	dir := t.TempDir()
	for range 3 {
		s := openSpool(t, dir)
		record(t, s.Spool, 30)
		_, stop := runShipper(t, pool, s)
		s.drained(t)
		stop()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// Without it the shipper begins at the oldest record.
		if err := os.Remove(filepath.Join(dir, "cursor")); err != nil {
			t.Fatal(err)
		}
	}
	checkInvariants(t, pool, 0)
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 90 {
		t.Errorf("%d events", n)
	}
	checkNone(t, pool, "rejected", `SELECT count(*) FROM ledger.rejected`)
}

func TestCutOffCallsBecomeUnknown(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	dir := t.TempDir()
	first := openSpool(t, dir)
	record(t, first.Spool, 5)
	plain, retried := newStarted(), newStarted()
	for _, s := range []domain.Started{plain, retried} {
		start(t, first.Spool, s)
	}
	second := retried
	second.Attempt, second.Provider, second.Model, second.At = 1, "anthropic", "claude", retried.At.Add(time.Second)
	payload, err := domain.EncodeStarted(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Attempt(second.ID, payload); err != nil {
		t.Fatal(err)
	}
	unreadable := newID[domain.EventID]()
	if _, err := first.Start(unreadable, []byte(`{"v":1,"id`), domain.MaxRecordBytes); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil { // as good as a kill: open calls stay open
		t.Fatal(err)
	}

	s := openSpool(t, dir)
	defer s.Close()
	live := newStarted()
	start(t, s.Spool, live)
	_, stop := runShipper(t, pool, s)
	for len(s.Unfinished()) > 0 {
		<-s.acked
	}
	s.drained(t)
	stop()
	checkInvariants(t, pool, 0)
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 7 {
		t.Errorf("%d events", n)
	}
	got, err := ledger.Get(t.Context(), pool, retried.ID)
	if err != nil {
		t.Fatal(err)
	}
	call := got.Event.Body.(*domain.RequestCompleted)
	if call.Outcome != domain.Unknown || !call.Held.Equal(retried.Held) || !call.Charge.Amount.IsZero() || call.Private.Provider != "anthropic" || len(call.Private.Attempts) != 2 || !got.Event.At.Equal(retried.At) {
		t.Errorf("got %+v", call)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.rejected WHERE id = $1::text::uuid AND convert_from(record, 'UTF8') LIKE '%{"v":1,"id'`, unreadable.String()); n != 1 {
		t.Error("the unreadable start isn't kept")
	}
	if _, err := ledger.Get(t.Context(), pool, live.ID); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the call that runs was ended: %v", err)
	}
}

func start(t *testing.T, to *spool.Spool, s domain.Started) {
	t.Helper()
	r, err := ledger.NewRecorder(ledger.RecorderConfig{Spool: to, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Start(s); err != nil {
		t.Fatal(err)
	}
}

func TestAnUnreadableRecordKeepsNoOtherOut(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := openSpool(t, t.TempDir())
	defer s.Close()
	record(t, s.Spool, 2)
	bad := newID[domain.EventID]()
	if _, err := s.Start(bad, nil, 100); err != nil {
		t.Fatal(err)
	}
	if err := s.End(bad, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	record(t, s.Spool, 2)
	log, stop := runShipper(t, pool, s)
	s.drained(t)
	stop()
	checkInvariants(t, pool, 0)
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 4 {
		t.Errorf("%d events", n)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.rejected WHERE id = $1::text::uuid AND record = 'garbage' AND spool_id = $2::text::uuid AND spool_epoch = 1`, bad.String(), domain.SpoolID(s.ID()).String()); n != 1 {
		t.Error("the record isn't kept")
	}
	if log.count("level=ERROR") != 1 {
		t.Errorf("log: %s", log.text.String())
	}
}

// TestOutageLosesNothing stops the server under load, twice: once in order, once
// with SIGKILL.
func TestOutageLosesNothing(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t, dbtest.ServerOptions{})
	if _, err := db.Migrate(t.Context(), db.MigrateConfig{URL: server.URL()}); err != nil {
		t.Fatal(err)
	}
	pool, err := db.Open(t.Context(), db.Config{URL: server.URL(), Role: db.RoleWriter})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	l := ledger.New(pool)
	mustAppend(t, l, calls(t, 1)...)
	s := openSpool(t, t.TempDir())
	defer s.Close()
	log, stop := runShipper(t, pool, s)
	total := 1
	for _, down := range []func(testing.TB){func(t testing.TB) { server.Stop(t, dbtest.StopFast) }, server.Kill} {
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 10 {
				record(t, s.Spool, 20)
			}
		})
		down(t)
		wg.Wait()
		total += 200
		_, err := l.Append(t.Context(), calls(t, 1))
		wantIs(t, err, ledger.ErrOutage)
		server.Start(t)
		s.drained(t)
		checkInvariants(t, pool, 0)
		if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != total {
			t.Errorf("%d events, want %d", n, total)
		}
	}
	stop()
	checkNone(t, pool, "rejected", `SELECT count(*) FROM ledger.rejected`)
	if began, ended := log.count("they wait in the spool"), log.count("takes events again"); began > 4 || ended > began {
		t.Errorf("logged %d begins and %d ends of two outages:\n%s", began, ended, log.text.String())
	}
}

func TestRunReturnsWhatTheSpoolSays(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := openSpool(t, t.TempDir())
	shipper, err := ledger.NewShipper(ledger.ShipperConfig{Ledger: ledger.New(pool), Spool: failing{s.Spool}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, shipper.Run(t.Context()), spool.ErrFailed)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.NewShipper(ledger.ShipperConfig{}); err == nil {
		t.Error("a shipper of nothing to nowhere")
	}
}

// failing is a spool that fails.
type failing struct{ *spool.Spool }

func (failing) Next(context.Context, int) (spool.Batch, error) {
	return spool.Batch{}, spool.ErrFailed
}
