package sim

import "time"

// A draw is a stream of pseudo-random numbers (splitmix64). It is cheap to
// make, needs no memory, and gives the same numbers everywhere.
type draw struct{ state uint64 }

// golden is 2⁶⁴ divided by the golden ratio: splitmix64's step.
const golden = 0x9E3779B97F4A7C15

// mix is splitmix64's finaliser: a bijection, so distinct numbers stay distinct.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func (d *draw) next() uint64 {
	d.state += golden
	return mix(d.state)
}

// below is in [0, n); n must be positive.
func (d *draw) below(n int) int { return int(d.next() % uint64(n)) }

// spreadPermille are 32 evenly spaced quantiles of a log-normal distribution
// with median 1 and σ = 0.5, in thousandths.
var spreadPermille = [32]int64{
	341, 433, 492, 541, 583, 623, 660, 696, 731, 766, 800, 835, 870, 906, 943, 981,
	1020, 1061, 1104, 1149, 1197, 1249, 1306, 1368, 1437, 1515, 1605, 1714, 1850, 2032, 2312, 2936,
}

// around is n, spread log-normally: n is its median.
func (d *draw) around(n int64) int64 {
	return n * spreadPermille[d.next()>>59] / 1000
}

func (d *draw) aroundDuration(t time.Duration) time.Duration {
	return time.Duration(d.around(int64(t)))
}
