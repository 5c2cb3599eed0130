// Package proxy is the data plane: one call from its first byte to its last.
//
// A call is authenticated from a snapshot in memory, planned, admitted (its
// start is written to the spool), sent to a provider, relayed or translated,
// and completed: its one event is durable in the spool before the caller sees
// the end of the answer. Calls that are refused before admission leave no event.
//
// It imports neither Postgres nor River: it starts, serves and records with the
// database down. What it needs from outside comes in as a Snapshot and the
// Recorder.
//
// On a crash, a call that was admitted and not completed is completed as
// "unknown" by whoever opens the spool next.
package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"manti/domain"
	"manti/proxy/auth"
	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/dialect/openai"
	"manti/proxy/route"
)

// Recorder keeps the record of calls. Its methods may be called concurrently.
//
// Start returns when the start is written, though it need not be durable: from
// then on the call counts as admitted. An error says that it is not admitted; a
// *domain.Error is shown to the caller. Kick begins to make the start durable
// without waiting, Sync waits until it is.
//
// End returns once the completion is durable. An error means that nobody may
// be told that the call ended well.
type Recorder interface {
	Start(domain.Started) (ticket uint64, err error)
	Kick(ticket uint64)
	Sync(ctx context.Context, ticket uint64) error
	End(domain.Event) error
}

// Snapshot is all that the data plane knows of the control plane. It is
// immutable and replaced as a whole.
type Snapshot struct {
	Keys   *auth.Keys
	Routes *route.Table
	// At is when it was known to be current. A snapshot older than MaxStale admits nobody.
	At time.Time
}

// CallerGonePolicy says what happens to the upstream when a caller hangs up.
type CallerGonePolicy string

// The policies.
const (
	// Drain reads on to the provider's own usage, so that the call is billed
	// exactly. It is the default.
	Drain CallerGonePolicy = "drain"
	// Cancel stops the provider and bills what is known, else an estimate.
	Cancel CallerGonePolicy = "cancel"
)

// Config of a Gateway. Recorder, Pepper, Log and Registerer must be set.
type Config struct {
	Recorder   Recorder
	Pepper     auth.Pepper
	Log        *slog.Logger
	Registerer prometheus.Registerer

	// Replica, Spool, Epoch and ConfigVersion name in events where and under
	// what a call was served.
	Replica       string
	Spool         domain.SpoolID
	Epoch         uint64
	ConfigVersion string

	// MaxBodyBytes bounds a request's body; 0 is 32 MiB.
	MaxBodyBytes int64
	// BodyTimeout is how long a caller may take to send its body, besides one
	// second for each 64 KiB; 0 is 30 s.
	BodyTimeout time.Duration
	// WriteTimeout is how long a caller may leave an answer unread before it
	// counts as gone; 0 is 1 min.
	WriteTimeout time.Duration
	// MaxStale is how old a snapshot may be; 0 is 15 min.
	MaxStale time.Duration
	// CallerGone is the policy for callers that hang up; "" is Drain.
	CallerGone CallerGonePolicy
	// CORSOrigins may call from a browser; "*" is everyone.
	CORSOrigins []string
	// Full reports, for /readyz, whether the spool has no room for calls; nil is
	// never. Recorder.Start decides for each call.
	Full func() bool
	// Refused is for /readyz: why calls can't be recorded now, as anybody may read
	// it, or ""; nil is never. Recorder.Start decides for each call.
	Refused func() string
	// Notes are for /readyz: what an operator should know, though calls can be
	// taken; nil is nothing.
	Notes func() []string
	// Receipts proves what is in the ledger; nil to leave its routes out.
	Receipts Receipts
	// Metrics is served at /metrics, nil to leave it out.
	Metrics http.Handler
}

// Defaults of Config, with their reasons.
const (
	defaultMaxBody      = 32 << 20         // several images or a long document
	defaultBodyTimeout  = 30 * time.Second // an honest caller needs one round trip
	defaultWriteTimeout = time.Minute      // longer than any pause of a reader that lives
	defaultMaxStale     = 15 * time.Minute // a revoked key must not work for ever
	maxAnswerBytes      = 256 << 20        // a plain answer is held in memory
	maxErrorBytes       = 1 << 20          // a provider's error is a page at most
)

// Gateway serves calls.
type Gateway struct {
	cfg       Config
	openai    dialect.Dialect
	anthropic dialect.Dialect
	metrics   *metrics
	snapshot  atomic.Pointer[Snapshot]
	draining  atomic.Bool
	memory    memory

	// base is the context of upstream calls: they outlive their callers and end
	// with stop.
	base context.Context
	stop context.CancelCauseFunc
}

// New makes a gateway without a snapshot: it serves nobody until SetSnapshot.
func New(cfg Config) *Gateway {
	if cfg.Recorder == nil || cfg.Log == nil || cfg.Registerer == nil {
		panic("proxy: Config needs Recorder, Log and Registerer")
	}
	setDefault(&cfg.MaxBodyBytes, defaultMaxBody)
	setDefault(&cfg.BodyTimeout, defaultBodyTimeout)
	setDefault(&cfg.WriteTimeout, defaultWriteTimeout)
	setDefault(&cfg.MaxStale, defaultMaxStale)
	setDefault(&cfg.CallerGone, Drain)
	if cfg.Notes == nil {
		cfg.Notes = func() []string { return nil }
	}
	if cfg.Full == nil {
		cfg.Full = func() bool { return false }
	}
	if cfg.Refused == nil {
		cfg.Refused = func() string { return "" }
	}
	g := &Gateway{cfg: cfg, openai: openai.Dialect{}, anthropic: anthropic.Dialect{}, metrics: newMetrics(cfg.Registerer)}
	g.base, g.stop = context.WithCancelCause(context.Background())
	return g
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// SetSnapshot replaces what the gateway knows of keys and routes.
func (g *Gateway) SetSnapshot(s *Snapshot) { g.snapshot.Store(s) }

// Snapshot is what the gateway knows now; nil before the first SetSnapshot.
func (g *Gateway) Snapshot() *Snapshot { return g.snapshot.Load() }

// StopAdmitting refuses calls from now on. Those that run go on.
func (g *Gateway) StopAdmitting() { g.draining.Store(true) }

// Abort ends all upstream calls: those that still run break off, and are
// recorded as far as they came.
func (g *Gateway) Abort() { g.stop(errStopping) }

var errStopping = &domain.Error{Code: domain.CodeUnavailable, Message: "manti is shutting down. Please try again."}

func (g *Gateway) dialect(n dialect.Name) dialect.Dialect {
	if n == dialect.Anthropic {
		return g.anthropic
	}
	return g.openai
}
