package main

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// recorder gathers what all callers of a measurement see. Distributions are of
// the calls that were due, and of the chunks that arrived, in [from, to);
// counts go on until the last call has ended, as the gateway's work does.
type recorder struct {
	from, to time.Time

	latency    histogram // from when a call was due until its end
	added      histogram // of plain calls: what was not the simulator's time
	firstToken histogram // from when a stream was due until its first chunk
	gap        histogram // between two chunks of a stream, as they arrive
	transit    histogram // of a chunk: from the simulator's write until it arrives
	late       histogram // of the open loop: how long after it was due a call was sent

	calls   atomic.Int64 // ended whole in [from, to)
	chunks  atomic.Int64 // arrived in [from, to)
	done    atomic.Int64 // ended whole since from
	arrived atomic.Int64 // chunks since from
	total   atomic.Int64 // ended whole, warm-up included

	mu     sync.Mutex
	errors map[string]int // guarded by mu: by kind, warm-up included
}

func (r *recorder) counts(t time.Time) bool { return !t.Before(r.from) && t.Before(r.to) }

// fail counts a call that went wrong.
func (r *recorder) fail(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errors == nil {
		r.errors = map[string]int{}
	}
	r.errors[kind]++
}

// failures are the errors so far, by kind.
func (r *recorder) failures() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.errors)
}

// ended counts a call that ended whole.
func (r *recorder) ended(due, end time.Time) {
	r.total.Add(1)
	if end.Before(r.from) {
		return
	}
	r.done.Add(1)
	if r.counts(end) {
		r.calls.Add(1)
	}
	if r.counts(due) {
		r.latency.record(end.Sub(due))
	}
}

// chunk counts a chunk of a stream. The one before came at last, the zero time
// for none.
func (r *recorder) chunk(now, written, last, due time.Time) {
	if now.Before(r.from) {
		return
	}
	r.arrived.Add(1)
	if !r.counts(now) {
		return
	}
	r.chunks.Add(1)
	r.transit.record(now.Sub(written))
	if last.IsZero() {
		r.firstToken.record(now.Sub(due))
	} else {
		r.gap.record(now.Sub(last))
	}
}
