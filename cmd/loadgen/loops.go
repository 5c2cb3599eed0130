package main

import (
	"context"
	"sync"
	"time"
)

// load is what a measurement puts on a target.
type load struct {
	mode        mode
	concurrency int
	rate        float64
	warmup      time.Duration
	duration    time.Duration
}

// run makes calls until the load's end, or until ctx ends, and returns when the
// last of them has ended: none is broken off, so that what was called can be
// compared with what was recorded.
func (l load) run(ctx context.Context, start time.Time, newCaller func() *caller) {
	if l.mode == openLoop {
		l.open(ctx, start, newCaller)
		return
	}
	ctx, cancel := context.WithDeadline(ctx, l.end(start))
	defer cancel()
	l.closed(ctx, start, newCaller)
}

func (l load) end(start time.Time) time.Time { return start.Add(l.warmup + l.duration) }

// failurePause keeps a caller whose calls fail from doing nothing else.
const failurePause = 10 * time.Millisecond

// closed keeps as many calls in flight as concurrency says. Callers begin one
// after the other over half of the warm-up, so that streams don't beat in
// time.
func (l load) closed(ctx context.Context, start time.Time, newCaller func() *caller) {
	var callers sync.WaitGroup
	for i := range l.concurrency {
		begin := start.Add(l.warmup / 2 * time.Duration(i) / time.Duration(l.concurrency))
		callers.Go(func() {
			c := newCaller()
			defer c.close()
			if !sleepUntil(ctx, begin) {
				return
			}
			for ctx.Err() == nil {
				if c.call(time.Now()) != nil {
					sleepUntil(ctx, time.Now().Add(failurePause))
				}
			}
		})
	}
	callers.Wait()
}

// open makes all calls of a schedule. One that can't be made in time (there are
// as many in flight as concurrency allows, or the generator is late) is made
// later, if need be after the end, and counts from when it was due: a target
// that stalls can't keep calls from being counted.
func (l load) open(ctx context.Context, start time.Time, newCaller func() *caller) {
	idle := newIdle(l.concurrency, newCaller)
	defer idle.close()
	for n := 0; ; n++ {
		due := l.due(start, n)
		if !due.Before(l.end(start)) || !sleepUntil(ctx, due) {
			return
		}
		c := idle.take()
		if late := time.Since(due); c.rec.counts(due) {
			c.rec.late.record(late)
		}
		idle.calls.Go(func() {
			_ = c.call(due) // the recorder has it
			idle.put(c)
		})
	}
}

// due is when the nth call is due: computed from the schedule's origin, so
// that lateness doesn't add up.
func (l load) due(start time.Time, n int) time.Time {
	return start.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
}

// idle are callers that wait for a call. The one that was used last is taken
// first, so that no more connections are used than needed.
type idle struct {
	newCaller func() *caller
	calls     sync.WaitGroup
	free      chan struct{} // a token for each caller that may be taken

	mu    sync.Mutex
	stack []*caller // guarded by mu
}

func newIdle(most int, newCaller func() *caller) *idle {
	i := &idle{newCaller: newCaller, free: make(chan struct{}, most)}
	for range most {
		i.free <- struct{}{}
	}
	return i
}

// take waits while all callers are in use.
func (i *idle) take() *caller {
	<-i.free
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.stack) == 0 {
		return i.newCaller()
	}
	c := i.stack[len(i.stack)-1]
	i.stack = i.stack[:len(i.stack)-1]
	return c
}

func (i *idle) put(c *caller) {
	i.mu.Lock()
	i.stack = append(i.stack, c)
	i.mu.Unlock()
	i.free <- struct{}{}
}

// close waits for the calls in flight and ends all connections.
func (i *idle) close() {
	i.calls.Wait()
	for _, c := range i.stack {
		c.close()
	}
}

// sleepUntil returns false if ctx ends first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
