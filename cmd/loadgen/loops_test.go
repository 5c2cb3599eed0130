package main

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"manti/proxy/dialect"
	"manti/proxy/sim"
)

// play puts a load on a simulator in memory, inside a bubble.
func play(t *testing.T, model sim.Model, w workload, l load) (*recorder, sim.Report) {
	t.Helper()
	p, err := sim.New(sim.Config{Models: map[string]sim.Model{"test": model}})
	if err != nil {
		t.Fatal(err)
	}
	w.chunks, w.content = model.Chunks, model.Chunks*model.ChunkBytes
	start := time.Now()
	rec := &recorder{from: start.Add(l.warmup), to: l.end(start)}
	l.run(t.Context(), start, func() *caller {
		return &caller{
			dial: func() (net.Conn, error) { return p.Dial(t.Context(), "tcp", "sim") },
			req:  w.request(dialect.OpenAI, "sim", "k", "test"), rec: rec,
		}
	})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return rec, p.Books()
}

// TestOpenLoopOmitsNothing: a server that takes one call a second gets ten a
// second for ten seconds. Each waits for all before it, and that is what the
// percentiles say; a generator that waited for answers before it looked at the
// clock would say one second.
func TestOpenLoopOmitsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, books := play(t, sim.Model{FirstByte: time.Second, Chunks: 4, ChunkBytes: 20, Stamped: true}, workload{},
			load{mode: openLoop, rate: 10, concurrency: 1, duration: 10 * time.Second})
		if books.Completed != 100 || len(rec.failures()) > 0 {
			t.Fatalf("books %+v, failures %v", books, rec.failures())
		}
		// The nth call is due after n/10 s and ends after n+1 s.
		for q, want := range map[float64]time.Duration{0.01: time.Second, 0.5: 45100 * time.Millisecond, 1: 90100 * time.Millisecond} {
			if got := rec.latency.quantile(q); got < want || got > want+want/100 {
				t.Errorf("quantile %v is %v, want %v", q, got, want)
			}
		}
		if got := rec.added.max(); got != 0 {
			t.Errorf("added %v, want nothing: all the time was the server's", got)
		}
		if got := rec.late.max(); got < 88*time.Second {
			t.Errorf("sent at most %v late, want 89 s", got)
		}
	})
}

// TestOpenLoopKeepsTime: with room for it, calls go out when they are due.
func TestOpenLoopKeepsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, books := play(t, sim.Model{FirstByte: 50 * time.Millisecond, Chunks: 4, ChunkBytes: 20, Stamped: true}, workload{},
			load{mode: openLoop, rate: 300, concurrency: 64, warmup: time.Second, duration: 3 * time.Second})
		if books.Completed != 1200 || rec.latency.count.Load() != 900 || rec.done.Load() < 900 || rec.total.Load() != 1200 {
			t.Errorf("books %+v, latencies %d, done %d", books, rec.latency.count.Load(), rec.done.Load())
		}
		if rec.latency.max() != 50*time.Millisecond || rec.late.max() != 0 {
			t.Errorf("latency %v, late %v", rec.latency.max(), rec.late.max())
		}
	})
}

// TestClosedLoop: so many callers, each one call after another.
func TestClosedLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, books := play(t, sim.Model{FirstByte: 100 * time.Millisecond, Chunks: 4, ChunkBytes: 20, Stamped: true}, workload{},
			load{mode: closedLoop, concurrency: 5, warmup: time.Second, duration: 10 * time.Second})
		if got := rec.calls.Load(); got < 495 || got > 505 {
			t.Errorf("%d calls in 10 s, want about 500", got)
		}
		if rec.total.Load() != books.Completed || books.Cut != 0 {
			t.Errorf("counted %d, books %+v", rec.total.Load(), books)
		}
	})
}

// TestStreams: first tokens, gaps and chunks are what the simulator does.
func TestStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		model := sim.Model{FirstByte: 300 * time.Millisecond, Gap: 20 * time.Millisecond, Chunks: 50, ChunkBytes: 20, Stamped: true}
		rec, books := play(t, model, workload{stream: true}, load{mode: closedLoop, concurrency: 4, duration: 5 * time.Second})
		if len(rec.failures()) > 0 || books.Cut > 0 {
			t.Fatalf("failures %v, books %+v", rec.failures(), books)
		}
		if rec.firstToken.max() != model.FirstByte || rec.gap.max() != model.Gap || rec.gap.quantile(0.01) < model.Gap || rec.transit.max() != 0 {
			t.Errorf("first token %v, gaps %v to %v, transit %v", rec.firstToken.max(), rec.gap.quantile(0.01), rec.gap.max(), rec.transit.max())
		}
		if got := rec.arrived.Load(); got != books.Completed*50 {
			t.Errorf("%d chunks of %d streams", got, books.Completed)
		}
	})
}

// TestFailures: each way to go wrong is noticed, and counted by its kind.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault  sim.Fault
		stream bool
		want   string
	}{
		{"503", false, "status 503"},
		{"503", true, "status 503"},
		{sim.FaultReset, false, "no answer"},
		{sim.FaultHangupMid, false, "broken body"},
		{sim.FaultCut, false, "wrong answer"},
		{sim.FaultNoUsage, false, "wrong answer"},
		{sim.FaultHTML, false, "status 502"},
		{sim.FaultNotHTTP, false, "no answer"},
		{sim.FaultResetMid, true, "broken stream"},
		{sim.FaultHangupMid, true, "broken stream"},
		{sim.FaultCut, true, "no end mark"},
		{sim.FaultNoDone, true, "no end mark"},
		{sim.FaultNoUsage, true, "wrong stream"},
		{sim.FaultErrorMid, true, "error in stream"},
		{sim.FaultStallMid, true, "timeout"},
		{sim.FaultStall, false, "timeout"},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, err := sim.New(sim.Config{})
				if err != nil {
					t.Fatal(err)
				}
				w, err := findWorkload("w3")
				if err != nil {
					t.Fatal(err)
				}
				w.stream = tt.stream
				rec := &recorder{to: time.Now().Add(time.Hour)}
				c := &caller{
					dial: func() (net.Conn, error) { return p.Dial(context.Background(), "tcp", "sim") },
					req:  w.request(dialect.OpenAI, "sim", "k", "w3-fault-"+string(tt.fault)), rec: rec,
				}
				if err := c.call(time.Now()); err == nil {
					t.Error("no error")
				}
				if got := rec.failures(); len(got) != 1 || got[tt.want] != 1 || rec.total.Load() != 0 {
					t.Errorf("failures %v, want %q", got, tt.want)
				}
				_ = p.Close() // it has no error
			})
		})
	}
}
