package ledger

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type shipperMetrics struct {
	events  *prometheus.CounterVec
	seconds prometheus.Histogram
	failing prometheus.Gauge
}

// The results of an event, as a label.
const (
	resultAppended  = "appended"
	resultDuplicate = "duplicate"
	resultRejected  = "rejected"
)

func newShipperMetrics(registerer prometheus.Registerer) (*shipperMetrics, error) {
	m := &shipperMetrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "manti_ledger_events_total",
			Help: "Events sent to the ledger, by what became of them. Each rejected one needs a person."}, []string{"result"}),
		// From one record on a fast disk to a full batch on a busy server.
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "manti_ledger_append_seconds",
			Help: "Time of an append that succeeded.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 12)}),
		failing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "manti_ledger_failing",
			Help: "1 while the ledger takes no events and they wait in the spool."}),
	}
	for _, result := range []string{resultAppended, resultDuplicate, resultRejected} {
		m.events.WithLabelValues(result)
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.events, m.seconds, m.failing} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *shipperMetrics) shipped(res Result, took time.Duration) {
	m.events.WithLabelValues(resultAppended).Add(float64(res.Appended))
	m.events.WithLabelValues(resultDuplicate).Add(float64(res.Duplicates))
	m.events.WithLabelValues(resultRejected).Add(float64(len(res.Rejected)))
	m.seconds.Observe(took.Seconds())
}
