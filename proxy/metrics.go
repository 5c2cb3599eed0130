package proxy

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"manti/domain"
)

// metrics of the data plane. Base units are seconds and tokens; no label holds
// an id.
type metrics struct {
	inFlight   prometheus.Gauge
	calls      *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	firstToken *prometheus.HistogramVec
	tokens     *prometheus.CounterVec
	outcomes   *prometheus.CounterVec
	flagged    *prometheus.CounterVec
}

// latency buckets from one millisecond to ten minutes.
var latency = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "manti_calls_in_flight", Help: "Calls that are being served."}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "manti_calls_total",
			Help: "Calls, refused ones included, by endpoint and the HTTP status that the caller got."}, []string{"endpoint", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "manti_call_duration_seconds",
			Help: "From a call's first byte to its last.", Buckets: latency}, []string{"endpoint"}),
		firstToken: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "manti_first_token_seconds",
			Help: "From a streamed call's first byte to its answer's first token.", Buckets: latency}, []string{"endpoint"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "manti_usage_total",
			Help: "Metered quantities of completed calls: tokens, or calls of a provider's tool."}, []string{"provider", "model", "meter"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "manti_outcomes_total",
			Help: "Admitted calls by how they ended."}, []string{"provider", "outcome"}),
		flagged: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "manti_flagged_calls_total",
			Help: "Calls whose event has a flag that an operator must look at."}, []string{"flag"}),
	}
	r.MustRegister(m.inFlight, m.calls, m.seconds, m.firstToken, m.tokens, m.outcomes, m.flagged)
	return m
}

// served counts a call that is over, admitted or not.
func (m *metrics) served(c *call) {
	endpoint := string(c.endpoint)
	m.calls.WithLabelValues(endpoint, strconv.Itoa(c.status)).Inc()
	m.seconds.WithLabelValues(endpoint).Observe(time.Since(c.begun).Seconds())
	if !c.firstToken.IsZero() {
		m.firstToken.WithLabelValues(endpoint).Observe(c.firstToken.Sub(c.begun).Seconds())
	}
}

// settled counts what an admitted call used.
func (m *metrics) settled(c *call, r *domain.RequestCompleted) {
	m.outcomes.WithLabelValues(r.Private.Provider, string(r.Outcome)).Inc()
	for i, n := range r.Usage {
		if n > 0 {
			m.tokens.WithLabelValues(r.Private.Provider, r.Model, domain.Meter(i).String()).Add(float64(n))
		}
	}
	for _, f := range r.Private.Flags {
		m.flagged.WithLabelValues(f).Inc()
	}
}
