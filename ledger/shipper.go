package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"manti/domain"
	"manti/ledger/spool"
)

// ShipperConfig of a Shipper. All but Registerer must be set.
type ShipperConfig struct {
	Ledger *Ledger
	Pool   *pgxpool.Pool
	Spool  *spool.Spool
	Log    *slog.Logger
	// Replica is the name of this process, for people who look at
	// ledger.spools.
	Replica    string
	Registerer prometheus.Registerer
}

// Limits of the shipper.
const (
	// shipBatch is how many records go into one transaction: its cost is nearly
	// all per batch up to here.
	shipBatch = 500
	// shipLinger is how long a small batch waits for more. Nobody waits for the
	// ledger, so it is as long as a projection's reader hardly notices.
	shipLinger = 20 * time.Millisecond
	// shipTimeout bounds one append, beside the server's own timeouts.
	shipTimeout = 30 * time.Second
	// seenEvery is how often ledger.spools hears from an idle spool.
	seenEvery = 10 * time.Second
	// retireEvery is how often segments that nobody needs any more are looked for.
	retireEvery = time.Minute
	// Retries of an append that met an outage: from shipRetryMin, doubling, up to
	// shipRetryMax, each by up to a half shorter so that replicas spread.
	shipRetryMin = 100 * time.Millisecond
	shipRetryMax = 5 * time.Second
)

// A Shipper empties a spool into the ledger. It may repeat itself after a crash
// or an outage; ids make that harmless.
type Shipper struct {
	cfg      ShipperConfig
	shipped  prometheus.Counter
	rejected prometheus.Counter
	batches  prometheus.Histogram

	down    bool      // owned by Run: the last append met an outage
	seen    time.Time // owned by Run: when ledger.spools was last told
	retired time.Time // owned by Run: when old segments were last looked for
}

// NewShipper makes a Shipper. It asks the database nothing.
func NewShipper(cfg ShipperConfig) (*Shipper, error) {
	if cfg.Ledger == nil || cfg.Pool == nil || cfg.Spool == nil || cfg.Log == nil {
		return nil, errors.New("ledger: ShipperConfig needs Ledger, Pool, Spool and Log")
	}
	s := &Shipper{cfg: cfg,
		shipped:  prometheus.NewCounter(prometheus.CounterOpts{Name: "manti_shipped_records_total", Help: "Records that the spool gave to the ledger."}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{Name: "manti_rejected_records_total", Help: "Records that can't be in the ledger; they stand in ledger.rejected, and each needs a person."}),
		batches:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "manti_append_seconds", Help: "Duration of the ledger's appends.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}}),
	}
	if cfg.Registerer == nil {
		return s, nil
	}
	for _, c := range []prometheus.Collector{s.shipped, s.rejected, s.batches} {
		if err := cfg.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return s, nil
}

// Run ships until ctx ends. Only a spool that can't be read ends it with an
// error.
func (s *Shipper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait, cancel := context.WithTimeout(ctx, seenEvery)
		batch, err := s.cfg.Spool.Next(wait, shipBatch)
		cancel()
		switch {
		case ctx.Err() != nil || errors.Is(err, spool.ErrClosed):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			s.housekeep(ctx)
			continue
		case err != nil:
			return fmt.Errorf("read the spool: %w", err)
		}
		if err := s.ship(ctx, batch); err != nil {
			return err
		}
		if len(batch.Records) < shipBatch {
			pause(ctx, shipLinger)
		}
	}
	return nil
}

// ship gives a batch to the ledger, however long that takes, and acknowledges
// it.
func (s *Shipper) ship(ctx context.Context, batch spool.Batch) error {
	events, unreadable := s.parse(batch)
	for wait := shipRetryMin; ; wait = min(2*wait, shipRetryMax) {
		result, err := s.append(ctx, events, unreadable)
		if err == nil {
			s.delivered(batch, result, len(unreadable))
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		s.note(err)
		pause(ctx, wait/2+rand.N(wait/2))
		if ctx.Err() != nil {
			return nil
		}
	}
	if err := s.cfg.Spool.Ack(batch); err != nil {
		s.cfg.Log.Warn("the spool's cursor can't be saved; its records are shipped again after a restart", "err", err)
	}
	s.housekeep(ctx)
	return nil
}

// append sends what can be read to the ledger and sets aside what can't.
func (s *Shipper) append(ctx context.Context, events []domain.Encoded, unreadable []rejection) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	begun := time.Now()
	result, err := s.cfg.Ledger.Append(ctx, events)
	if err == nil {
		err = s.cfg.Ledger.reject(ctx, unreadable)
	}
	s.batches.Observe(time.Since(begun).Seconds())
	return result, err
}

// parse takes the batch's records apart.
func (s *Shipper) parse(batch spool.Batch) (events []domain.Encoded, unreadable []rejection) {
	events = make([]domain.Encoded, 0, len(batch.Records))
	for _, r := range batch.Records {
		e, err := domain.ParseRecord(r.Payload)
		if err != nil {
			unreadable = append(unreadable, rejection{
				Rejection: Rejection{ID: domain.EventID(r.ID), Reason: "the spool's record can't be read: " + err.Error()},
				record:    r.Payload, spool: domain.SpoolID(s.cfg.Spool.ID()), epoch: r.Epoch,
			})
			continue
		}
		events = append(events, e)
	}
	return events, unreadable
}

// delivered counts, and raises an alarm for each record that isn't in the
// ledger.
func (s *Shipper) delivered(batch spool.Batch, result Result, unreadable int) {
	if s.down {
		s.down = false
		s.cfg.Log.Info("the ledger takes records again")
	}
	s.shipped.Add(float64(len(batch.Records)))
	s.rejected.Add(float64(len(result.Rejected) + unreadable))
	for _, r := range result.Rejected {
		s.cfg.Log.Error("a record can't be in the ledger; it stands in ledger.rejected", "event", r.ID, "reason", r.Reason, "sqlstate", r.SQLState)
	}
	if unreadable > 0 {
		s.cfg.Log.Error("records of the spool can't be read; they stand in ledger.rejected", "records", unreadable)
	}
}

// note says once that the ledger takes nothing, and why.
func (s *Shipper) note(err error) {
	if s.down {
		return
	}
	s.down = true
	if errors.Is(err, ErrOutage) {
		s.cfg.Log.Warn("the ledger doesn't take records; the spool keeps them", "err", err)
		return
	}
	s.cfg.Log.Error("the ledger doesn't take records; the spool keeps them", "err", err)
}

// housekeep does now and then what isn't shipping.
func (s *Shipper) housekeep(ctx context.Context) {
	s.see(ctx)
	if time.Since(s.retired) < retireEvery {
		return
	}
	s.retired = time.Now()
	if _, err := s.cfg.Spool.Retire(nil); err != nil {
		s.cfg.Log.Warn("old segments of the spool can't be deleted", "err", err)
	}
}

// see tells ledger.spools how the spool is, now and then. It is a help for
// people: that it fails changes nothing.
func (s *Shipper) see(ctx context.Context) {
	const upsert = `INSERT INTO ledger.spools (id, epoch, replica, last_seen, drained_index, unshipped, oldest_unshipped)
		VALUES ($1, $2, $3, clock_timestamp(), CASE WHEN $4 = 0 THEN (SELECT size FROM ledger.head WHERE shard = 0) END, $4, $5)
		ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, replica = excluded.replica, last_seen = excluded.last_seen,
			drained_index = COALESCE(excluded.drained_index, ledger.spools.drained_index), unshipped = excluded.unshipped, oldest_unshipped = excluded.oldest_unshipped
		WHERE ledger.spools.epoch <= excluded.epoch`
	now := time.Now()
	if now.Sub(s.seen) < seenEvery {
		return
	}
	s.seen = now
	stats, err := s.cfg.Spool.Stats()
	if err != nil {
		return
	}
	var oldest *time.Time
	if !stats.OldestAt.IsZero() {
		oldest = &stats.OldestAt
	}
	ctx, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	id := s.cfg.Spool.ID()
	if _, err := s.cfg.Pool.Exec(ctx, upsert, uuid(domain.SpoolID(id)), int64(s.cfg.Spool.Epoch()), s.cfg.Replica, int64(stats.Unshipped), oldest); err != nil && ctx.Err() == nil {
		s.cfg.Log.Debug("ledger.spools can't be told", "err", err)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
