package projections_test

import (
	"testing"

	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// BenchmarkFold folds a ledger of calls from its beginning, in the batches of
// a rebuild.
func BenchmarkFold(b *testing.B) {
	const size = 100_000
	bench, w := newBench(b), newWorld(1)
	events := make([]domain.Event, 0, 5000)
	for range size / cap(events) {
		events = events[:0]
		for range cap(events) {
			e := w.call()
			plausible(w, e.Body.(*domain.RequestCompleted))
			events = append(events, e)
		}
		bench.append(b, events...)
	}
	if _, err := bench.pool.Exec(b.Context(), `SELECT count(canonical) FROM ledger.events`); err != nil {
		b.Fatal(err)
	}
	for _, p := range money() {
		b.Run(p.Name(), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				bench.reset(b, p.Name(), p.Name())
				b.StartTimer()
				if _, err := projections.CatchUpBy(b.Context(), bench.pool, p, ledger.BatchEntries); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// plausible makes a call one of few: 20 keys, 2 models of 2 providers, dollars.
func plausible(w *world, c *domain.RequestCompleted) {
	n := w.rand.IntN(20)
	c.Org = domain.DerivedID[domain.OrgID](start, "org", string(rune(n%3)))
	c.Project = domain.DerivedID[domain.ProjectID](start, "project", string(rune(n%7)))
	c.Key = domain.DerivedID[domain.KeyID](start, "key", string(rune(n)))
	c.Charge.Currency, c.Private.Cost.Currency = domain.USD, domain.USD
	c.Usage = domain.Metered{domain.InputTokens: w.rand.Int64N(4000), domain.OutputTokens: w.rand.Int64N(900), domain.CacheReadTokens: w.rand.Int64N(2000)}
}
