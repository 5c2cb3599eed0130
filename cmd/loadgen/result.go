package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// result is what one measurement gave.
type result struct {
	rec                  *recorder
	first, last, settled sample
	hasTarget            bool
	beside               []watched
}

// metric is one figure of a result.
type metric struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// metrics are a result's figures, in the order in which they're shown. What
// wasn't measured is left out.
func (r *result) metrics() []metric {
	wall := r.last.at.Sub(r.first.at).Seconds()
	m := []metric{{"calls", "1/s", float64(r.rec.calls.Load()) / wall}}
	if n := r.rec.chunks.Load(); n > 0 {
		m = append(m, metric{"chunks", "1/s", float64(n) / wall})
	}
	for _, h := range []struct {
		name string
		h    *histogram
	}{
		{"latency", &r.rec.latency}, {"added", &r.rec.added}, {"first_token", &r.rec.firstToken},
		{"gap", &r.rec.gap}, {"transit", &r.rec.transit}, {"sent_late", &r.rec.late},
	} {
		m = append(m, quantiles(h.name, h.h)...)
	}
	if r.hasTarget {
		m = append(m, r.costs("cpu", r.settled.target.cpu-r.first.target.cpu)...)
		m = append(m, metric{"cpu_after", "ms", milliseconds(r.settled.target.cpu - r.last.target.cpu)},
			metric{"rss", "MiB", float64(r.last.target.rss) / (1 << 20)})
	}
	for i, w := range r.beside {
		m = append(m, r.costs("cpu_"+w.name, r.settled.beside[i].cpu-r.first.beside[i].cpu)...)
		m = append(m, metric{"rss_" + w.name, "MiB", float64(r.last.beside[i].rss) / (1 << 20)})
	}
	m = append(m, metric{"load_core", "use", (r.last.loaders - r.first.loaders).Seconds() / wall})
	failures := r.rec.failures()
	sum := 0
	for _, kind := range slices.Sorted(maps.Keys(failures)) {
		m = append(m, metric{"error: " + kind, "", float64(failures[kind])})
		sum += failures[kind]
	}
	return append(m, metric{"errors", "", float64(sum)})
}

// costs are processor time by calls and by chunks, of all that came since the
// first sample.
func (r *result) costs(name string, cpu time.Duration) []metric {
	var m []metric
	if n := r.rec.done.Load(); n > 0 {
		m = append(m, metric{name, "ms/1000 calls", milliseconds(cpu) / float64(n) * 1000})
	}
	if n := r.rec.arrived.Load(); n > 0 {
		m = append(m, metric{name + "_chunk", "ms/1000 chunks", milliseconds(cpu) / float64(n) * 1000})
	}
	return m
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantiles(name string, h *histogram) []metric {
	if h.count.Load() == 0 {
		return nil
	}
	var m []metric
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}} {
		m = append(m, metric{name + "_" + q.name, "µs", float64(h.quantile(q.q)) / float64(time.Microsecond)})
	}
	return append(m, metric{name + "_max", "µs", float64(h.max()) / float64(time.Microsecond)})
}

// figures are the medians of several results, by name.
type figures struct {
	order []string
	unit  map[string]string
	value map[string]float64
}

// medians are the medians of each metric over rounds. A metric that a round
// doesn't have counts as 0 there.
func medians(rounds [][]metric) figures {
	f := figures{unit: map[string]string{}, value: map[string]float64{}}
	all := map[string][]float64{}
	for _, round := range rounds {
		for _, m := range round {
			if _, ok := f.unit[m.Name]; !ok {
				f.order = append(f.order, m.Name)
				f.unit[m.Name] = m.Unit
			}
			all[m.Name] = append(all[m.Name], m.Value)
		}
	}
	for name, values := range all {
		values = append(values, make([]float64, len(rounds)-len(values))...)
		f.value[name] = median(values)
	}
	return f
}

func median(values []float64) float64 {
	slices.SortFunc(values, cmp.Compare[float64])
	n := len(values)
	if n == 0 {
		return 0
	}
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// row is one line of the table: a metric of the gateway and, if there is one,
// the baseline.
type row struct {
	Name     string   `json:"name"`
	Unit     string   `json:"unit,omitempty"`
	Gateway  float64  `json:"gateway"`
	Baseline *float64 `json:"baseline,omitempty"`
	Ratio    *float64 `json:"ratio,omitempty"`
}

// rows are the figures of both, side by side; errors of the baseline too that
// the gateway didn't have.
func rows(gateway figures, baseline *figures) []row {
	order, unit := gateway.order, gateway.unit
	if baseline != nil {
		for _, name := range baseline.order {
			if _, ok := unit[name]; !ok {
				order = append(order, name)
			}
		}
	}
	var all []row
	for _, name := range order {
		r := row{Name: name, Unit: unit[name], Gateway: gateway.value[name]}
		if baseline != nil {
			if v, ok := baseline.value[name]; ok {
				r.Baseline = &v
				if v != 0 {
					ratio := r.Gateway / v
					r.Ratio = &ratio
				}
			}
		}
		all = append(all, r)
	}
	return all
}

// number shows a figure with three to four digits.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
