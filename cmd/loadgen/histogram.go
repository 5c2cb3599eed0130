package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// subBits is how many bits of a value a histogram keeps: values fall at most
// 1/2^subBits from what is read back, 0.8 %.
const subBits = 7

// histogram counts durations in buckets whose width grows with the value, as
// HdrHistogram does: exact below 2^subBits ns, then 2^subBits buckets for each
// power of two. It is safe for concurrent use; the zero value is empty.
type histogram struct {
	buckets [(64 - subBits) << subBits]atomic.Uint64
	count   atomic.Uint64
	most    atomic.Int64 // the largest value, exact
}

// bucket is where a value is counted.
func bucket(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// highest is the largest value of a bucket.
func highest(bucket int) uint64 {
	if bucket < 2<<subBits {
		return uint64(bucket)
	}
	shift := bucket>>subBits - 1
	return (uint64(bucket&(1<<subBits-1)+1<<subBits)+1)<<shift - 1
}

// record counts a duration; negative ones as 0.
func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucket(uint64(d))].Add(1)
	h.count.Add(1)
	for most := h.most.Load(); int64(d) > most; most = h.most.Load() {
		if h.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// quantile is a value that the given share of all values don't exceed; 0 if
// there are none.
func (h *histogram) quantile(q float64) time.Duration {
	count := h.count.Load()
	if count == 0 {
		return 0
	}
	rank := max(uint64(q*float64(count)+0.5), 1)
	seen := uint64(0)
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); seen >= rank {
			return min(time.Duration(highest(i)), h.max())
		}
	}
	return h.max()
}

func (h *histogram) max() time.Duration { return time.Duration(h.most.Load()) }
