package projections_test

import (
	"context"
	"fmt"
	"testing"

	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// BenchmarkFold folds a ledger of calls from its beginning, in the batches of
// a live fold.
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

// BenchmarkRebuild rebuilds the projections of calls from a ledger of a million
// events of the usual width, Postgres included: folding, comparing, swapping.
func BenchmarkRebuild(b *testing.B) {
	const size = 1_000_000
	bench := multiplied(b, size)
	for _, p := range money() {
		b.Run(p.Name(), func(b *testing.B) {
			bench.catchUp(b, p)
			for b.Loop() {
				done, err := projections.Rebuild(b.Context(), bench.pool, p, projections.RebuildConfig{})
				if err != nil || !done.Compared || done.Index != size {
					b.Fatal(done, err)
				}
			}
			b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkReplay asks what balances were half way through a million events.
func BenchmarkReplay(b *testing.B) {
	const size = 1_000_000
	bench := multiplied(b, size)
	for b.Loop() {
		err := projections.Replay(b.Context(), bench.pool, projections.Moment{Index: size / 2}, func(ctx context.Context, then *projections.Past) error {
			_, err := projections.ReadBalances(ctx, then, domain.OrgID{})
			return err
		}, nil, projections.Balances())
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(size/2*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// multiplied is a bench with a ledger of so many calls: thousands that were
// appended, and copies of them with ids of their own, filled up to the width of
// rows in production, about 1.2 KB.
func multiplied(b *testing.B, size int) *bench {
	b.Helper()
	const appended = 4000
	bench, w := newBench(b), newWorld(1)
	events := make([]domain.Event, appended)
	for i := range events {
		events[i] = w.call()
		plausible(w, events[i].Body.(*domain.RequestCompleted))
	}
	bench.append(b, events...)
	const multiply = `DO $$
		DECLARE
			columns text;
			picked  text;
		BEGIN
			SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(CASE attname
				WHEN 'index' THEN 'e.index + n * %[1]d' WHEN 'id' THEN 'x.id' WHEN 'request_id' THEN 'x.id'
				WHEN 'canonical' THEN 'e.canonical || decode(repeat(''00'', greatest(0, 1180 - pg_column_size(e.*))), ''hex'')'
				ELSE 'e.' || quote_ident(attname) END, ', ' ORDER BY attnum)
			INTO columns, picked FROM pg_attribute WHERE attrelid = 'ledger.events'::regclass AND attnum > 0 AND NOT attisdropped;
			EXECUTE format('INSERT INTO ledger.events (%%s) SELECT %%s FROM generate_series(1, %[2]d) n, ledger.events e,
				LATERAL (SELECT gen_random_uuid() AS id WHERE n > 0) x WHERE e.index < %[1]d', columns, picked);
			UPDATE ledger.head SET size = %[1]d * (%[2]d + 1);
		END $$`
	ctx, asOwner := b.Context(), `SET LOCAL statement_timeout = 0; SET LOCAL ROLE NONE;`
	if _, err := bench.pool.Exec(ctx, asOwner+fmt.Sprintf(multiply, appended, size/appended-1)); err != nil {
		b.Fatal(err)
	}
	if _, err := bench.pool.Exec(ctx, asOwner+`ANALYZE ledger.events`); err != nil { // as autovacuum does
		b.Fatal(err)
	}
	return bench
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
