package seal

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"manti/ledger"
)

// progressEvery is how often the last checkpoint is looked at, and
// progressTimeout how long that may take.
const (
	progressEvery   = 2 * time.Second
	progressTimeout = 2 * time.Second
)

// Progress follows how far the ledger is sealed, by whomever. It is what a
// process that doesn't seal knows of those that do.
type Progress struct {
	q      ledger.Querier
	size   atomic.Int64 // of the last checkpoint, −1 without any
	seen   atomic.Int64 // the head when size was read
	behind atomic.Int64 // nanoseconds that the oldest event that isn't sealed is old
}

// NewProgress makes a Progress that measures the ledger's.
func NewProgress(q ledger.Querier, r prometheus.Registerer) (*Progress, error) {
	p := &Progress{q: q}
	p.size.Store(-1)
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	return p, register(r,
		gauge("manti_seal_size", "Events that the last checkpoint covers; -1 if there is none.", func() float64 { return float64(p.size.Load()) }),
		gauge("manti_seal_lag_events", "Events that no checkpoint covers.", func() float64 { return float64(p.seen.Load() - max(0, p.size.Load())) }),
		gauge("manti_seal_lag_seconds", "Age of the oldest event that no checkpoint covers.", func() float64 { return time.Duration(p.behind.Load()).Seconds() }),
	)
}

// Sealed is how many events the last checkpoint covers, −1 if there is none or
// the database hasn't answered yet.
func (p *Progress) Sealed() int64 { return p.size.Load() }

// Head is how many events the ledger had at the last look.
func (p *Progress) Head() int64 { return p.seen.Load() }

// Run looks again and again until ctx ends. While the database doesn't answer,
// what was known stays.
func (p *Progress) Run(ctx context.Context) error {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		look, cancel := context.WithTimeout(ctx, progressTimeout)
		_ = p.Look(look) // whoever ships says that the database doesn't answer
		cancel()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	return nil
}

// Look reads once how far the ledger is sealed.
func (p *Progress) Look(ctx context.Context) error {
	const query = `SELECT h.size, COALESCE(c.size, -1),
			COALESCE(extract(epoch FROM clock_timestamp() - e.recorded_at) * 1000000, 0)::bigint
		FROM ledger.head h
		LEFT JOIN LATERAL (SELECT size FROM ledger.checkpoints ORDER BY size DESC LIMIT 1) c ON true
		LEFT JOIN ledger.events e ON e.index = COALESCE(c.size, 0)
		WHERE h.shard = 0`
	var head, size, micros int64
	if err := p.q.QueryRow(ctx, query).Scan(&head, &size, &micros); err != nil {
		return err
	}
	p.seen.Store(head)
	p.size.Store(size)
	p.behind.Store(int64(time.Duration(max(0, micros)) * time.Microsecond))
	return nil
}
