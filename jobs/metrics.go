package jobs

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"manti/projections"
)

type metrics struct {
	lag      *prometheus.GaugeVec
	lagTime  *prometheus.GaugeVec
	parked   *prometheus.GaugeVec
	checked  *prometheus.GaugeVec
	diverged *prometheus.GaugeVec
	looked   prometheus.Gauge
	failures *prometheus.CounterVec
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "manti_projection_lag_events", Help: "Events that a projection has not folded yet."}, []string{"projection"}),
		lagTime: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "manti_projection_lag_seconds", Help: "Age of the oldest event that a projection has not folded yet; 0 if it has caught up."}, []string{"projection"}),
		parked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "manti_projection_parked_events", Help: "Events that a projection left out because they could not be folded, and that are missing in its figures."}, []string{"projection"}),
		checked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "manti_projection_check_timestamp_seconds", Help: "When a projection was last compared with a fold of the whole ledger."}, []string{"projection"}),
		diverged: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "manti_projection_diverged", Help: "1 if the last comparison found rows that are not what the ledger says, or could not compare them; else 0."}, []string{"projection"}),
		looked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "manti_projection_checked_timestamp_seconds", Help: "When the lag was last measured. It stands still if background jobs do."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "manti_job_failures_total", Help: "Background jobs that ended with an error."}, []string{"job"}),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.lag, m.lagTime, m.parked, m.checked, m.diverged, m.looked, m.failures} {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) look(lags []projections.Lag) {
	for _, lag := range lags {
		name := lag.Projection.Name()
		m.lag.WithLabelValues(name).Set(float64(lag.Events))
		m.lagTime.WithLabelValues(name).Set(lag.Age.Seconds())
	}
	m.looked.SetToCurrentTime()
}

// watch takes over what a watch found.
func (m *metrics) watch(ps []*projections.Projection, parked []projections.Parked, checks []projections.Check) {
	count := map[string]int{}
	for _, k := range parked {
		count[k.Projection]++
	}
	for _, p := range ps {
		m.parked.WithLabelValues(p.Name()).Set(float64(count[p.Name()]))
	}
	for _, c := range checks {
		diverged := 1.0
		if c.OK {
			diverged = 0
		}
		m.diverged.WithLabelValues(c.Projection).Set(diverged)
		m.checked.WithLabelValues(c.Projection).Set(float64(c.Checked.Unix()))
	}
}
