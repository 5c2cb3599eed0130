package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"manti/proxy/dialect"
)

// target is what calls are made to.
type target struct {
	name string
	addr string // host:port
	proc watched
}

// bench measures a gateway, and a baseline in turn with it.
type bench struct {
	gateway  target
	baseline *target // nil: none
	key      string
	api      dialect.Name
	model    string // empty: the workload's
	beside   []watched
	simURL   string // empty: nothing is counted
	simProc  watched
	settle   time.Duration
	rounds   int

	provider tally // what the simulator counted of the gateway's calls so far
}

// measure makes one measurement of a target.
func (b *bench) measure(ctx context.Context, t target, w workload, l load) (*result, error) {
	e := experiment{
		dial: dialTCP(t.addr), request: w.request(b.api, t.addr, b.key, b.model), load: l,
		target: t.proc, settle: b.settle, loaders: []watched{{name: "loadgen", pid: os.Getpid()}},
	}
	isGateway := t.name == b.gateway.name
	if isGateway {
		e.beside = b.beside
	}
	if b.simProc.pid != 0 {
		e.loaders = append(e.loaders, b.simProc)
	}
	var before tally
	var err error
	if b.simURL != "" {
		if before, err = b.counted(ctx); err != nil {
			return nil, err
		}
	}
	r, err := e.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("measure %s: %w", t.name, err)
	}
	if b.simURL != "" && isGateway {
		after, err := b.counted(ctx)
		if err != nil {
			return nil, err
		}
		b.provider = b.provider.plus(1, after).plus(-1, before)
	}
	return r, nil
}

func (b *bench) counted(ctx context.Context) (tally, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return counted(ctx, b.simURL)
}

// compareRounds measures gateway and baseline in turn and returns the medians
// of each.
func (b *bench) compareRounds(ctx context.Context, w workload, l load) (gateway figures, baseline *figures, err error) {
	var ours, theirs [][]metric
	for range b.rounds {
		r, err := b.measure(ctx, b.gateway, w, l)
		if err != nil {
			return figures{}, nil, err
		}
		ours = append(ours, r.metrics())
		if b.baseline == nil {
			continue
		}
		if r, err = b.measure(ctx, *b.baseline, w, l); err != nil {
			return figures{}, nil, err
		}
		theirs = append(theirs, r.metrics())
	}
	gateway = medians(ours)
	if b.baseline != nil {
		f := medians(theirs)
		baseline = &f
	}
	return gateway, baseline, nil
}

// Slow streams are opened over half of streamWarmup, and all are open still
// when memory is read: they last 20 s.
const (
	streamWarmup = 10 * time.Second
	streamWindow = 3 * time.Second
)

// perStream is how much memory a target takes for each of n slow streams, in
// KiB: its growth, divided by n.
func (b *bench) perStream(ctx context.Context, t target, n int) ([]metric, error) {
	w, err := findWorkload("w4slow")
	if err != nil {
		return nil, err
	}
	idle, err := t.proc.usage()
	if err != nil {
		return nil, err
	}
	r, err := b.measure(ctx, t, w, load{mode: closedLoop, concurrency: n, warmup: streamWarmup, duration: streamWindow})
	if err != nil {
		return nil, err
	}
	if failures := r.rec.failures(); len(failures) > 0 {
		return nil, fmt.Errorf("%s: not all streams were open: %v", t.name, failures)
	}
	growth := r.last.target.rss - idle.rss
	return []metric{
		{"rss_idle", "MiB", float64(idle.rss) / (1 << 20)}, {"rss_open", "MiB", float64(r.last.target.rss) / (1 << 20)},
		{"per_stream", "KiB", float64(growth) / 1024 / float64(n)},
	}, nil
}

// streams measures the memory of slow streams for both.
func (b *bench) streams(ctx context.Context, n int) (section, error) {
	ours, err := b.perStream(ctx, b.gateway, n)
	if err != nil {
		return section{}, err
	}
	s := section{Title: fmt.Sprintf("memory with %d slow streams open", n)}
	if b.baseline == nil {
		s.Rows = rows(medians([][]metric{ours}), nil)
		return s, nil
	}
	theirs, err := b.perStream(ctx, *b.baseline, n)
	if err != nil {
		return section{}, err
	}
	f := medians([][]metric{theirs})
	s.Rows = rows(medians([][]metric{ours}), &f)
	return s, nil
}
