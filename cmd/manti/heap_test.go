package main

import (
	"runtime"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing yet", 0, 800},
		{"very little", 1 << 20, 800},
		{"little", 8 << 20, 400},
		{"half of the floor", 20 << 20, 100},
		{"the floor", 40 << 20, 100},
		{"much", 4 << 30, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := percentFor(tt.live); got != tt.want {
				t.Errorf("percentFor(%d) = %d, want %d", tt.live, got, tt.want)
			}
		})
	}
}

// TestCollector follows the heap at each collection until it is stopped.
func TestCollector(t *testing.T) {
	t.Parallel()
	set := make(chan int, 16)
	c := &collector{percent: defaultPercent, set: func(p int) int { set <- p; return 0 }}
	for _, live := range []uint64{8 << 20, 8<<20 + 4096, 30 << 20} { // the second is too little a change
		c.adjust(live)
	}
	c.stop()
	if c.adjust(8 << 20) {
		t.Error("it goes on after stop")
	}
	close(set)
	var got []int
	for p := range set {
		got = append(got, p)
	}
	if len(got) != 3 || got[0] != 400 || got[1] != 100 || got[2] != 100 {
		t.Errorf("set %v, want 400, 100 and, at the end, 100", got)
	}
}

// TestCollectorWatches hears of real collections, of each that follows another.
func TestCollectorWatches(t *testing.T) {
	t.Parallel()
	set := make(chan int, 1024)
	c := &collector{set: func(p int) int { set <- p; return 0 }}
	c.watch()
	deadline := time.After(20 * time.Second)
	for range 2 {
		for heard := false; !heard; {
			runtime.GC()
			select {
			case <-set:
				heard = true
				c.mu.Lock()
				c.percent = 0 // so that it sets again
				c.mu.Unlock()
			case <-deadline:
				t.Fatal("no collection was heard of")
			default:
			}
		}
	}
	c.stop()
}
