package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/proxy/admit"
	"manti/proxy/auth"
	"manti/proxy/dialect"
	"manti/proxy/host"
	"manti/proxy/llm"
	"manti/proxy/route"
)

// call is one call on its way: it walks through the stages, is filled as it
// goes, and becomes one event and one log line.
type call struct {
	g        *Gateway
	w        http.ResponseWriter
	out      *http.ResponseController
	r        *http.Request
	endpoint dialect.Endpoint
	caller   dialect.Dialect

	id       domain.EventID
	begun    time.Time // when it came in; from admission on, the time of the event
	snapshot *Snapshot
	who      *auth.Principal
	body     []byte
	answer   []byte // of a call that isn't streamed
	head     dialect.Head
	target   route.Target
	upstream dialect.Dialect // the target's
	request  *llm.Request    // the hub's form, if it is translated
	dropped  string          // manti-dropped

	said     domain.RequestErasable // what the caller said of itself
	ticket   uint64
	held     decimal.Decimal // the most that it may be charged
	admitted bool
	ended    bool

	cancel     context.CancelCauseFunc // of the upstream call, if it is a stream
	meter      dialect.Meter
	attempts   []domain.Attempt
	fragment   llm.Estimate // of a plain answer that broke off
	firstToken time.Time
	outcome    domain.Outcome
	status     int // sent to the caller
	err        *domain.Error
	committed  bool // the head of the answer is out
	gone       bool // the caller is
	deadline   time.Time
	event      domain.Event
}

// serve is the handler of one endpoint.
func (g *Gateway) serve(endpoint dialect.Endpoint, caller dialect.Dialect) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.metrics.inFlight.Inc()
		c := &call{g: g, w: w, out: http.NewResponseController(w), r: r, endpoint: endpoint, caller: caller, begun: now()}
		c.id = newEventID(c.begun)
		c.showID()
		defer c.giveBack()
		defer c.finish()
		if err := c.run(); err != nil {
			c.fail(err)
		}
	}
}

// now is the time in the form of events: UTC, whole microseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func newEventID(t time.Time) domain.EventID {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return domain.NewID[domain.EventID](t, random)
}

// run takes the call from its head to its end. An error is one for the caller,
// unless the answer has begun.
func (c *call) run() error {
	if err := c.authenticate(); err != nil {
		return err
	}
	if err := c.readBody(); err != nil {
		return err
	}
	var err error
	if c.head, err = c.caller.Head(c.endpoint, c.body); err != nil {
		return err
	}
	plan, err := c.snapshot.Routes.Plan(c.head.Model, c.endpoint, c.caller.Name())
	if err != nil {
		return err
	}
	body, err := c.aim(plan[0])
	if err != nil {
		return err
	}
	if err := c.admit(); err != nil {
		return err
	}
	return c.send(body)
}

// authenticate finds out who calls.
func (c *call) authenticate() error {
	if c.g.draining.Load() {
		c.w.Header().Set("Connection", "close")
		return errStopping
	}
	c.snapshot = c.g.snapshot.Load()
	if c.snapshot == nil {
		return &domain.Error{Code: domain.CodeUnavailable, Message: "manti is starting. Please try again.", RetryAfter: time.Second}
	}
	key := auth.FromRequest(c.r.Header)
	if key == "" {
		return &domain.Error{Code: domain.CodeUnauthenticated, Message: "There is no API key. Send one as `Authorization: Bearer <key>` or `x-api-key: <key>`."}
	}
	who, ok := c.snapshot.Keys.Find(c.g.cfg.Pepper.Hash(key), c.begun)
	if !ok {
		return &domain.Error{Code: domain.CodeUnauthenticated, Message: "The API key isn't known, has expired or was revoked. `manti key create` makes one."}
	}
	if age := c.begun.Sub(c.snapshot.At); age > c.g.cfg.MaxStale {
		return &domain.Error{Code: domain.CodeUnavailable, RetryAfter: 5 * time.Second,
			Message: fmt.Sprintf("manti has not heard from its database for %s, so it can't tell whether the key still holds.", age.Round(time.Second))}
	}
	c.who = who
	return nil
}

// aim makes the upstream's body for a target.
func (c *call) aim(t route.Target) ([][]byte, error) {
	c.target, c.upstream = t, c.g.dialect(t.Host.Dialect)
	c.meter = c.upstream.Meter(c.upstreamEndpoint())
	if !c.translated() {
		return c.head.Splice(c.body, t.Model.Name, c.head.Stream), nil
	}
	return c.translateRequest()
}

// translated reports whether caller and target speak different dialects.
func (c *call) translated() bool { return c.upstream.Name() != c.caller.Name() }

// upstreamEndpoint is the endpoint in the target's dialect.
func (c *call) upstreamEndpoint() dialect.Endpoint {
	switch {
	case !c.translated():
		return c.endpoint
	case c.upstream.Name() == dialect.Anthropic:
		return dialect.Messages
	}
	return dialect.ChatCompletions
}

// admit writes the call's start. From here on there will be exactly one event.
func (c *call) admit() error {
	c.said = c.strings()
	c.held = admit.Bound(&c.head, c.body, c.target.Dearest)
	ticket, err := c.g.cfg.Recorder.Start(domain.Started{
		ID: c.id, At: c.begun,
		Org: c.who.Org, Project: c.who.Project, Key: c.who.Key, User: c.who.User, Service: c.who.Service,
		Dialect: string(c.caller.Name()), Endpoint: string(c.endpoint), Stream: c.head.Stream, AskedModel: c.head.Model,
		Provider: c.target.Host.Provider, Host: c.target.Host.Name(), Model: c.target.Model.Name, Credential: c.target.Host.Credential,
		Held: c.held, Currency: c.target.Dearest.Currency, Version: c.snapshot.Routes.Book.Version,
		RouteVersion: c.snapshot.Routes.Version, ConfigVersion: c.g.cfg.ConfigVersion,
		Replica: c.g.cfg.Replica, Spool: c.g.cfg.Spool, Epoch: c.g.cfg.Epoch,
		Erasable: c.said,
	})
	if err != nil {
		if _, ok := errors.AsType[*domain.Error](err); ok {
			return err
		}
		return &domain.Error{Code: domain.CodeUnavailable, Message: "manti can't record the call now, so it doesn't make it.", RetryAfter: time.Second, Cause: err}
	}
	c.ticket, c.admitted = ticket, true
	if c.head.Stream {
		c.g.cfg.Recorder.Kick(ticket)
	}
	return nil
}

// send calls the provider and carries its answer back.
func (c *call) send(body [][]byte) error {
	ctx, release := c.upstreamContext()
	defer release()
	out := &host.Call{Endpoint: c.upstreamEndpoint(), Stream: c.head.Stream, ID: c.id, Body: body}
	if !c.translated() {
		out.Header = c.r.Header
	}
	c.attempts = append(c.attempts, domain.Attempt{
		Provider: c.target.Host.Provider, Host: c.target.Host.Name(), Model: c.target.Model.Name, Credential: c.target.Host.Credential, Started: now(),
	})
	resp, err := c.target.Host.Do(ctx, out)
	if err != nil {
		c.outcome = domain.UpstreamFailed
		return upstreamError(err)
	}
	defer func() { _ = resp.Body.Close() }() // what it returns says nothing new
	c.noteAnswer(resp)
	switch {
	case resp.Status >= 400:
		return c.relayError(resp)
	case c.head.Stream && isEventStream(resp.Header):
		return c.stream(resp)
	}
	return c.plain(resp)
}

// upstreamContext outlives the caller, unless the policy is to cancel.
func (c *call) upstreamContext() (ctx context.Context, release func()) {
	if !c.head.Stream && c.g.cfg.CallerGone != Cancel {
		return c.g.base, func() {}
	}
	ctx, c.cancel = context.WithCancelCause(c.g.base)
	stop := func() bool { return true }
	if c.g.cfg.CallerGone == Cancel {
		stop = context.AfterFunc(c.r.Context(), func() { c.cancel(errCallerGone) })
	}
	return ctx, func() { stop(); c.cancel(nil) }
}

var errCallerGone = errors.New("the caller hung up")

// attempt is the try that is under way.
func (c *call) attempt() *domain.Attempt { return &c.attempts[len(c.attempts)-1] }

// finish runs last, whatever happened: it sees to it that an admitted call has
// its event, and writes the log line.
func (c *call) finish() {
	p := recover()
	if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value that net/http documents
		c.g.cfg.Log.Error("a call panicked", "request", c.id, "panic", p, "stack", string(debug.Stack()))
		c.err = &domain.Error{Code: domain.CodeInternal, Message: "Internal error."}
	}
	if c.admitted && !c.ended {
		if c.outcome == "" {
			c.outcome = domain.Failed
		}
		_ = c.complete() // logged there
	}
	c.log()
	c.g.metrics.inFlight.Dec()
	switch {
	case p == nil:
	case c.committed || p == http.ErrAbortHandler: //nolint:errorlint // as above
		panic(http.ErrAbortHandler)
	default:
		c.sendError(c.err)
	}
}

// giveBack returns the memory of bodies, when nothing reads them any more: the
// upstream call is over, the event is written.
func (c *call) giveBack() {
	c.g.memory.free(c.body)
	c.g.memory.free(c.answer)
}

// abort ends the connection without an end mark: the caller sees a broken
// answer, not a complete one.
func (c *call) abort() { panic(http.ErrAbortHandler) }
