package jobs

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"manti/projections"
)

type metrics struct {
	lag      *prometheus.GaugeVec
	lagTime  *prometheus.GaugeVec
	looked   prometheus.Gauge
	failures *prometheus.CounterVec
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "manti_projection_lag_events", Help: "Events that a projection has not folded yet."}, []string{"projection"}),
		lagTime: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "manti_projection_lag_seconds", Help: "Time since a projection that is behind last moved; 0 if it has caught up."}, []string{"projection"}),
		looked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "manti_projection_checked_timestamp_seconds", Help: "When the lag was last measured. It stands still if background jobs do."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "manti_job_failures_total", Help: "Background jobs that ended with an error."}, []string{"job"}),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.lag, m.lagTime, m.looked, m.failures} {
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
		behind := 0.0
		if lag.Events > 0 && !lag.Moved.IsZero() {
			behind = max(0, lag.Now.Sub(lag.Moved).Seconds())
		}
		m.lagTime.WithLabelValues(name).Set(behind)
	}
	m.looked.SetToCurrentTime()
}
