package seal

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"manti/ledger"
)

// metrics are a sealer's own; Progress has those of the ledger.
type metrics struct {
	refused prometheus.Gauge
	passes  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		refused: prometheus.NewGauge(prometheus.GaugeOpts{Name: "manti_seal_refused", Help: "1 while the sealer refuses to sign: the ledger isn't what was signed, is frozen, or the settings don't fit."}),
		passes:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "manti_seal_passes_total", Help: "Passes of the sealer by result: ok, outage, inconsistent, frozen, failed."}, []string{"result"}),
	}
	return m, register(r, m.refused, m.passes)
}

func register(r prometheus.Registerer, all ...prometheus.Collector) error {
	if r == nil {
		return nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) pass(err error, refused bool) {
	m.refused.Set(0)
	if refused {
		m.refused.Set(1)
	}
	result := "failed"
	switch {
	case err == nil:
		result = "ok"
	case errors.Is(err, ErrInconsistent):
		result = "inconsistent"
	case errors.Is(err, ledger.ErrFrozen):
		result = "frozen"
	case !refused:
		result = "outage"
	}
	m.passes.WithLabelValues(result).Inc()
}
