package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// complete makes the call's one event and returns once it is durable. An error
// means that the caller must not see a good end.
func (c *call) complete() error {
	c.ended = true
	c.event = domain.Event{ID: c.id, At: c.begun, Body: c.completion()}
	err := c.g.cfg.Recorder.End(c.event)
	if err != nil {
		c.g.cfg.Log.Error("a completion could not be made durable", "request", c.id, "err", err)
	}
	c.g.metrics.settled(c, c.event.Body.(*domain.RequestCompleted))
	return err
}

// completion is what the event says.
func (c *call) completion() *domain.RequestCompleted {
	if c.outcome == domain.Completed && (c.gone || c.r.Context().Err() != nil) {
		c.outcome = domain.CallerGone
	}
	body := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Org: c.who.Org, Project: c.who.Project, Key: c.who.Key, User: c.who.User, Service: c.who.Service,
			Dialect: string(c.caller.Name()), Endpoint: string(c.endpoint), Stream: c.head.Stream,
			AskedModel: c.head.Model, Model: c.target.Model.Name,
			Outcome: c.outcome, Status: c.status, Provenance: domain.NoUsage,
			FirstToken: c.firstToken, Ended: now(),
		},
		Private: domain.RequestPrivate{
			Provider: c.target.Host.Provider, Host: c.target.Host.Name(), Credential: c.target.Host.Credential,
			Attempts:     c.attempts,
			RouteVersion: c.snapshot.Routes.Version, ConfigVersion: c.g.cfg.ConfigVersion,
			Replica: c.g.cfg.Replica, Spool: c.g.cfg.Spool, Epoch: c.g.cfg.Epoch,
		},
		Erasable: c.said,
	}
	if c.err != nil {
		body.Error = c.err.Code
		body.Erasable.ErrorText = c.err.Message
	}
	c.bill(body)
	c.closeAttempt(body)
	body.Clean()
	return body
}

// closeAttempt tells the last attempt how it ended.
func (c *call) closeAttempt(body *domain.RequestCompleted) {
	if len(c.attempts) == 0 {
		return
	}
	a := c.attempt()
	a.Ended, a.Error, a.Usage, a.Cost = body.Ended, body.Error, body.Usage, body.Private.Cost.Amount
	body.FirstByte = a.FirstByte
}

// bill fills in usage, cost and charge. What is billed when, see design.md §3:
// always what the provider reported; an estimate only for an answer of which
// something came.
func (c *call) bill(body *domain.RequestCompleted) {
	r := c.meter.Reading()
	usage := c.measure(body, r)
	card, known := c.snapshot.Routes.Price(c.target.Model, r.Model)
	body.Model = card.Name
	if !known {
		body.Private.Flags = append(body.Private.Flags, domain.FlagModelUnpriced)
		body.Erasable.ServedModel = r.Model
	} else if r.Model != card.Name {
		body.Erasable.ServedModel = r.Model
	}
	body.Tier, body.Private.Region = r.Tier, r.Region
	served := domain.ServedAs(r.Tier, r.Speed, r.Region)
	cost, charge := c.price(body, card, usage, served)
	for _, apart := range r.Apart {
		other, ok := c.snapshot.Routes.Price(c.target.Model, apart.Model)
		if !ok {
			body.Private.Flags = append(body.Private.Flags, domain.FlagModelUnpriced)
		}
		otherCost, otherCharge := c.price(body, other, apart.Usage, served)
		cost, charge = cost.Add(otherCost), charge.Add(otherCharge)
		usage = usage.Add(apart.Usage)
	}
	body.Usage = domain.Metered(usage)
	body.Private.Cost.Amount, body.Charge.Amount = cost, charge
	if charge.GreaterThan(c.held) {
		body.Private.Flags = append(body.Private.Flags, domain.FlagOverHold)
		c.g.cfg.Log.Error("a call was charged more than its bound: the table of prices or limits is wrong", "request", c.id, "model", card.Name, "charge", charge, "bound", c.held)
	}
}

// price adds what a usage costs and is charged at admission.
func (c *call) price(body *domain.RequestCompleted, card *domain.ModelCard, u domain.Usage, s domain.Served) (cost, charge decimal.Decimal) {
	bill := domain.BillFor(card, c.target.Model, c.begun, u, s)
	version := c.snapshot.Routes.Book.Version
	body.Private.Cost.Currency, body.Private.Cost.Version = bill.Cost.Currency, version
	body.Charge.Currency, body.Charge.Version = bill.Charge.Currency, version
	for _, f := range bill.Flags {
		if !slices.Contains(body.Private.Flags, f) {
			body.Private.Flags = append(body.Private.Flags, f)
		}
	}
	return bill.Cost.Amount, bill.Charge.Amount
}

// measure says how much was used and how that is known.
func (c *call) measure(body *domain.RequestCompleted, r llm.Reading) domain.Usage {
	if r.Found {
		body.Provenance = domain.Reported
		body.Private.RawUsage = r.Raw
		if c.whole() {
			return r.Usage
		}
		return c.partial(body, r)
	}
	if !c.estimable(r) {
		return domain.Usage{}
	}
	body.Provenance, body.Estimator = domain.Estimated, llm.EstimatorVersion
	return domain.Usage{domain.InputTokens: c.promptTokens(), domain.OutputTokens: max(r.Text.Tokens(), c.fragment.Tokens())}
}

// whole reports whether the provider's answer came to its end.
func (c *call) whole() bool {
	return c.outcome == domain.Completed || c.outcome == domain.CallerGone || c.outcome == domain.ProviderError
}

// partial is the usage of an answer that broke off: what was reported until
// then, and the output at least as much as came.
func (c *call) partial(body *domain.RequestCompleted, r llm.Reading) domain.Usage {
	body.Provenance = domain.Partial
	if came := r.Text.Tokens(); came > r.Usage.CompletionTokens() {
		body.Estimator = llm.EstimatorVersion
		r.Usage[domain.OutputTokens] += came - r.Usage.CompletionTokens()
	}
	return r.Usage
}

// estimable reports whether a call without reported usage used something all
// the same: something of the answer came, or all of it.
func (c *call) estimable(r llm.Reading) bool {
	if c.endpoint == dialect.CountTokens { // free
		return false
	}
	switch c.outcome {
	case domain.Completed, domain.CallerGone:
		return true
	case domain.Broken:
		return r.Text.Tokens() > 0 || c.fragment.Tokens() > 0
	}
	return false
}

// promptTokens estimates the request's size in tokens.
func (c *call) promptTokens() int64 {
	var e llm.Estimate
	if c.endpoint == dialect.ChatCompletions || c.endpoint == dialect.Messages {
		if req, err := c.caller.ParseRequest(c.body); err == nil {
			addRequest(&e, req)
			return e.Tokens()
		}
	}
	e.AddJSON(c.body)
	return e.Tokens()
}

func addRequest(e *llm.Estimate, req *llm.Request) {
	for _, t := range req.Tools {
		e.Add([]byte(t.Name))
		e.Add([]byte(t.Description))
		e.Add(t.Schema)
		e.Add(t.Raw)
	}
	for _, m := range req.Messages {
		addParts(e, m.Parts)
	}
}

func addParts(e *llm.Estimate, parts []llm.Part) {
	for _, p := range parts {
		e.Add([]byte(p.Text))
		e.Add([]byte(p.Args))
		addParts(e, p.Result)
	}
}

// strings are what the caller said of itself.
func (c *call) strings() domain.RequestErasable {
	h := c.r.Header
	e := domain.RequestErasable{
		EndUser: domain.CleanText(c.head.EndUser, domain.MaxName),
		Session: domain.CleanText(session(c.head.Session, h), domain.MaxName),
		Client:  domain.CleanText(h.Get("User-Agent"), domain.MaxName),
		Trace:   trace(h.Get("Traceparent")),
		Tags:    tags(h.Get("Manti-Tags")),
	}
	return e
}

// session is the caller's id of the conversation that the call belongs to.
func session(inBody string, h http.Header) string {
	for _, name := range [...]string{"X-Claude-Code-Session-Id", "Session_id", "Session-Id", "X-Session-Id"} {
		if v := h[name]; len(v) > 0 && v[0] != "" {
			return v[0]
		}
	}
	return inBody
}

// tags are what a caller wants the call to be told apart by: "team=red, env=prod".
// What isn't of that form is left out.
func tags(header string) map[string]string {
	if header == "" {
		return nil
	}
	found := map[string]string{}
	for pair := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); ok && name != "" && len(found) < domain.MaxTags {
			found[domain.CleanText(name, domain.MaxTagKey)] = domain.CleanText(strings.TrimSpace(value), domain.MaxName)
		}
	}
	return found
}

// trace is the trace id of a W3C traceparent header, "" if there is none
// (https://www.w3.org/TR/trace-context/#traceparent-header).
func trace(parent string) string {
	if parent == "" {
		return ""
	}
	parts := strings.Split(parent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}
	return parts[1]
}
