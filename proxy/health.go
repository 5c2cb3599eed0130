package proxy

import "net/http"

// readiness is /readyz's answer.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// healthz says that the process lives.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // the reader left; there is nobody to tell
}

// readyz says whether calls can be taken: not while draining, without any
// snapshot, or with the spool too full. Postgres may be down, unless calls are
// recorded there alone.
func (g *Gateway) readyz(w http.ResponseWriter, _ *http.Request) {
	var reasons []string
	if g.draining.Load() {
		reasons = append(reasons, "draining")
	}
	if g.snapshot.Load() == nil {
		reasons = append(reasons, "no snapshot of keys and routes yet")
	}
	if g.cfg.Full() {
		reasons = append(reasons, "spool full")
	}
	if why := g.cfg.Refused(); why != "" {
		reasons = append(reasons, why)
	}
	if len(reasons) > 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	sendJSON(w, readiness{Ready: len(reasons) == 0, Reasons: reasons, Notes: g.cfg.Notes()})
}
