package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestHistogramBound: what is read back is never less than the exact quantile,
// and at most 1/128 more.
func TestHistogramBound(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, most := range []int64{100, 127, 128, 255, 256, 257, 1e6, 1e9, 3e12, 1 << 62} {
		var h histogram
		values := make([]time.Duration, 2000)
		for i := range values {
			values[i] = time.Duration(r.Int64N(most))
			h.record(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
			exact := values[max(int(q*float64(len(values))+0.5), 1)-1]
			got := h.quantile(q)
			if got < exact || got-exact > exact/128 {
				t.Errorf("values below %d: quantile %v is %d, exactly %d", most, q, got, exact)
			}
		}
		if h.max() != values[len(values)-1] {
			t.Errorf("max %d, want %d", h.max(), values[len(values)-1])
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	t.Parallel()
	var h histogram
	if h.quantile(0.5) != 0 || h.max() != 0 {
		t.Error("an empty histogram isn't 0")
	}
	h.record(-time.Second)
	if h.quantile(1) != 0 {
		t.Error("a negative duration isn't counted as 0")
	}
	for shift := range 63 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			b := bucket(v)
			if b >= len(h.buckets) || highest(b) < v || b > 0 && highest(b-1) >= v {
				t.Errorf("%d falls into bucket %d, which it doesn't belong to", v, b)
			}
		}
	}
}

func TestHistogramConcurrent(t *testing.T) {
	t.Parallel()
	var h histogram
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 1000 {
				h.record(time.Duration(i*1000 + j))
			}
		})
	}
	wg.Wait()
	if h.count.Load() != 8000 || h.max() != 7999 {
		t.Errorf("count %d, max %d", h.count.Load(), h.max())
	}
}

func BenchmarkRecord(b *testing.B) {
	var h histogram
	for b.Loop() {
		h.record(123456)
	}
}
