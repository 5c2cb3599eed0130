package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"manti/domain"
	"manti/ledger/spool"
)

// Source is what a Shipper empties: *spool.Spool, whose methods say what they
// promise.
type Source interface {
	ID() [16]byte
	Epoch() uint64
	Next(ctx context.Context, most int) (spool.Batch, error)
	Ack(spool.Batch) error
	Unfinished() []spool.Call
	End(id [16]byte, payload []byte) error
	Append(kind spool.Kind, id [16]byte, payload []byte) (spool.Position, error)
	Sync(ctx context.Context, pos spool.Position) error
	Stats() (spool.Stats, error)
}

var _ Source = (*spool.Spool)(nil)

// ShipperConfig says what to ship where.
type ShipperConfig struct {
	Ledger *Ledger // must be set
	Spool  Source  // must be set
	// Replica is the name of this process in ledger.spools.
	Replica string
	Log     *slog.Logger // must be set
	// Registerer gets the metrics, nil for none.
	Registerer prometheus.Registerer
	// Linger is how long records may wait for company after a batch that wasn't
	// full; 200 ms if 0. The first after a pause doesn't wait.
	Linger time.Duration
}

const (
	// batchRecords makes the lock on the head and the sync of a commit cheap per
	// record; more gives little.
	batchRecords = 500
	// defaultLinger makes five batches a second of what calls at any rate leave:
	// a batch costs far more than a record, here and in Postgres.
	defaultLinger = 200 * time.Millisecond
)

// Shipper carries records from a spool into the ledger. It repeats itself where
// it doesn't know: ids make that harmless. What the ledger took it notes in the
// spool, with its places, before it acknowledges it: a crash between both makes it
// ship again, and the ledger tell the same places.
type Shipper struct {
	cfg     ShipperConfig
	id      domain.SpoolID
	metrics *shipperMetrics
}

// NewShipper returns a shipper; Run makes it work.
func NewShipper(cfg ShipperConfig) (*Shipper, error) {
	if cfg.Ledger == nil || cfg.Spool == nil || cfg.Log == nil {
		return nil, errors.New("new shipper: Ledger, Spool and Log must be set")
	}
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	metrics, err := newShipperMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("new shipper: %w", err)
	}
	return &Shipper{cfg: cfg, id: domain.SpoolID(cfg.Spool.ID()), metrics: metrics}, nil
}

// Run ends the calls that earlier processes left open, ships until ctx ends, and
// keeps the spool's row in ledger.spools up to date. However long the database
// is away, it tries again; it logs when that begins and when it ends. An error
// is the spool's and final.
func (s *Shipper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loads := make(chan load) // while one is written, the next is made ready
	var readErr error
	var wg sync.WaitGroup
	wg.Go(func() { s.keep(ctx) })
	wg.Go(func() {
		defer close(loads)
		readErr = s.read(ctx, loads)
	})
	err := s.writeAll(ctx, loads)
	cancel()
	for range loads { // so that read ends
	}
	wg.Wait()
	return errors.Join(readErr, err)
}

// A load is a batch on its way.
type load struct {
	batch  spool.Batch
	events []domain.Encoded
	// unreadable are the ids of the records that aren't in events.
	unreadable [][16]byte
	*prepared
}

// read makes batches ready until ctx or the spool ends.
func (s *Shipper) read(ctx context.Context, loads chan<- load) error {
	for {
		batch, err := s.cfg.Spool.Next(ctx, batchRecords)
		if ctx.Err() != nil || errors.Is(err, spool.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
		select {
		case loads <- s.prepare(batch):
		case <-ctx.Done():
			return nil
		}
		if len(batch.Records) < batchRecords {
			sleep(ctx, s.cfg.Linger)
		}
	}
}

// prepare parses the records. One that can't be parsed will be rejected.
func (s *Shipper) prepare(batch spool.Batch) load {
	l := load{batch: batch, events: make([]domain.Encoded, 0, len(batch.Records))}
	var bad []rejection
	for _, record := range batch.Records {
		enc, err := domain.ParseRecord(record.Payload)
		if err != nil {
			bad = append(bad, rejection{
				Rejection: Rejection{ID: domain.EventID(record.ID), Reason: "can't be read: " + err.Error()},
				record:    record.Payload, spool: s.id, epoch: record.Epoch,
			})
			l.unreadable = append(l.unreadable, record.ID)
			continue
		}
		l.events = append(l.events, enc)
	}
	l.prepared = s.cfg.Ledger.prepare(l.events)
	l.rejections = append(l.rejections, bad...)
	return l
}

// writeAll appends loads and acknowledges them. An error is the spool's.
func (s *Shipper) writeAll(ctx context.Context, loads <-chan load) error {
	t := trouble{log: s.cfg.Log, failing: s.metrics.failing}
	for load := range loads {
		res, ok := s.write(ctx, &t, load)
		if !ok {
			return nil
		}
		ok, err := s.placed(ctx, load, res)
		if err != nil {
			return fmt.Errorf("note places in spool: %w", err)
		}
		if !ok {
			return nil
		}
		s.cfg.Ledger.release(load.prepared)
		if err := s.cfg.Spool.Ack(load.batch); err != nil {
			return fmt.Errorf("acknowledge to spool: %w", err)
		}
	}
	return nil
}

// write tries until the load is in the ledger, or reports false when ctx ends.
func (s *Shipper) write(ctx context.Context, t *trouble, l load) (Result, bool) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		begin := time.Now()
		res, err := s.cfg.Ledger.write(ctx, l.prepared)
		if err == nil {
			t.over()
			s.metrics.shipped(res, time.Since(begin))
			s.alarm(res.Rejected)
			return res, true
		}
		if ctx.Err() != nil {
			return res, false
		}
		t.is(err)
		sleep(ctx, backOff(attempt))
	}
	return Result{}, false
}

func (s *Shipper) alarm(rejected []Rejection) {
	for _, r := range rejected {
		s.cfg.Log.Error("a record can't be in the ledger; it is kept in ledger.rejected", "event", r.ID, "reason", r.Reason, "sqlstate", r.SQLState)
	}
}
