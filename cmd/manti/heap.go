package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Pacing of the collector. Of itself it starts when the heap has doubled, which for the few MB that a gateway keeps is
// several times a second under load, each time walking all stacks for little. What lives is small beside what the
// program takes in any case, so it may first grow to heapFloor; from half of that on nothing differs from Go's default.
const (
	heapFloor      = 40 << 20 // bytes: with the rest of the process still below 80 MiB
	defaultPercent = 100
	maxPercent     = 800
)

// collector paces the garbage collector. It is looked at after each collection and takes no time of its own.
type collector struct {
	set func(percent int) int // debug.SetGCPercent

	mu      sync.Mutex
	percent int  // guarded by mu: as last set
	stopped bool // guarded by mu
}

// paceCollector lets the heap grow to heapFloor before it is collected, until stop is called. Who sets GOGC has it as
// set there.
func paceCollector() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	c := &collector{set: debug.SetGCPercent, percent: defaultPercent}
	c.adjust(liveHeap())
	c.watch()
	return c.stop
}

// watch adjusts after the next collection, and so on.
func (c *collector) watch() {
	runtime.AddCleanup(new([16]byte), func(c *collector) {
		if c.adjust(liveHeap()) {
			c.watch()
		}
	}, c)
}

// adjust sets the percentage for a live heap of so many bytes; false after stop.
func (c *collector) adjust(live uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	// Setting it stops all goroutines for a moment: not for little.
	if p := percentFor(live); p < c.percent*9/10 || p > c.percent*11/10 {
		c.set(p)
		c.percent = p
	}
	return true
}

func (c *collector) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.set(defaultPercent)
}

// percentFor is by how much a live heap may grow, in percent of itself.
func percentFor(live uint64) int {
	if live == 0 {
		return maxPercent
	}
	floor := 100 * (heapFloor - min(live, heapFloor)) / live
	return int(min(max(floor, defaultPercent), maxPercent))
}

// liveHeap is what the last collection found alive, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return heapFloor // not known: as Go does it
	}
	return sample[0].Value.Uint64()
}
