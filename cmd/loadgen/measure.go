package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// experiment is one measurement of one target.
type experiment struct {
	dial    func() (net.Conn, error)
	request request
	load    load
	target  watched   // the gateway; pid 0 if it isn't known
	beside  []watched // shown apart
	loaders []watched // the generator and the simulator
	settle  time.Duration
}

// run measures. It returns when the target is quiet again, or settle is over.
func (e experiment) run(ctx context.Context) (*result, error) {
	start := time.Now()
	rec := &recorder{from: start.Add(e.load.warmup), to: e.load.end(start)}
	loaded := make(chan struct{})
	go func() { // ends with the load
		defer close(loaded)
		e.load.run(ctx, start, func() *caller { return &caller{dial: e.dial, req: e.request, rec: rec} })
	}()
	defer func() { <-loaded }()

	if !sleepUntil(ctx, rec.from) {
		return nil, ctx.Err()
	}
	first, err := e.sample()
	if err != nil {
		return nil, err
	}
	if !sleepUntil(ctx, rec.to) {
		return nil, ctx.Err()
	}
	last, err := e.sample()
	if err != nil {
		return nil, err
	}
	<-loaded
	if err := e.quiet(ctx); err != nil {
		return nil, err
	}
	settled, err := e.sample()
	if err != nil {
		return nil, err
	}
	return &result{rec: rec, first: first, last: last, settled: settled, hasTarget: e.target.pid != 0, beside: e.beside}, nil
}

// sample is what all processes have used at a time.
type sample struct {
	at      time.Time
	target  procUsage
	beside  []procUsage
	loaders time.Duration
}

func (e experiment) sample() (sample, error) {
	s := sample{at: time.Now()}
	var err error
	if e.target.pid != 0 {
		if s.target, err = e.target.usage(); err != nil {
			return s, fmt.Errorf("target: %w", err)
		}
	}
	for _, w := range e.beside {
		u, err := w.usage()
		if err != nil {
			return s, fmt.Errorf("%s: %w", w.name, err)
		}
		s.beside = append(s.beside, u)
	}
	for _, w := range e.loaders {
		u, err := w.usage()
		if err != nil {
			return s, fmt.Errorf("%s: %w", w.name, err)
		}
		s.loaders += u.cpu
	}
	return s, nil
}

// A target is quiet when it used no more than so many clock ticks in a time.
const (
	quietFor   = 400 * time.Millisecond
	quietTicks = 2
)

// quiet waits until the target has nothing more to do: what it puts off would
// be charged to the next one measured.
func (e experiment) quiet(ctx context.Context) error {
	if e.target.pid == 0 {
		return nil
	}
	deadline := time.Now().Add(e.settle)
	before, err := e.target.usage()
	for err == nil && time.Now().Before(deadline) {
		if !sleepUntil(ctx, time.Now().Add(quietFor)) {
			return ctx.Err()
		}
		now, usageErr := e.target.usage()
		if usageErr != nil {
			return usageErr
		}
		if now.cpu-before.cpu <= quietTicks*clockTick {
			return nil
		}
		before = now
	}
	return err
}
