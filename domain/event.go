package domain

import (
	"time"

	"github.com/shopspring/decimal"
)

// Kind says what an event means. A new meaning is a new kind; a kind is never
// given another one.
type Kind string

// The kinds.
const (
	KindRequestCompleted Kind = "RequestCompleted"
	KindOrgCreated       Kind = "OrgCreated"
	KindProjectCreated   Kind = "ProjectCreated"
	KindKeyIssued        Kind = "KeyIssued"
	KindKeyRevoked       Kind = "KeyRevoked"
	KindPricesPublished  Kind = "PricesPublished"
	// KindUsageCorrected is a call too: whoever folds calls folds both.
	KindUsageCorrected    Kind = "UsageCorrected"
	KindRejectionAnswered Kind = "RejectionAnswered"
	KindPersonForgotten   Kind = "PersonForgotten"
	KindOriginStarted     Kind = "OriginStarted"
)

// controlKinds are the kinds that commands decide by. They are few, and found
// by an index of their own, so that a backlog of usage costs a command
// nothing.
var controlKinds = map[Kind]bool{
	KindOrgCreated: true, KindProjectCreated: true, KindKeyIssued: true, KindKeyRevoked: true, KindPricesPublished: true,
	KindRejectionAnswered: true, KindPersonForgotten: true, KindOriginStarted: true,
}

// IsControl reports whether events of the kind configure manti, rather than
// record usage or money.
func (k Kind) IsControl() bool { return controlKinds[k] }

// IsCall reports whether events of the kind say what a call used and costs.
func (k Kind) IsCall() bool { return k == KindRequestCompleted || k == KindUsageCorrected }

// An Event is one immutable fact. Its Body says which kind it is of.
type Event struct {
	ID EventID
	// At is when it happened, in UTC and whole microseconds: for a call, when
	// it was admitted.
	At time.Time
	// Author is who did it: "user:<id>", "key:<id>", "system:<what>",
	// "operator:<login>" for the command line. Empty for calls, whose key says
	// it.
	Author string
	Body   Body
}

// Body is what an event says. It has three parts, each encoded and hashed by
// itself: the public part, which a receipt shows; the private part, for the
// operator; and the erasable part, with every string that a caller or provider
// made and people's data, which can be erased without breaking a proof.
type Body interface {
	// Kind is the event's kind.
	Kind() Kind
	// parts are the values whose JSON forms the parts; nil for an absent one.
	parts() (public, private, erasable any)
}

// Outcome says how a call ended.
type Outcome string

// The outcomes. What each costs stands in design.md §3 and is computed by
// Settle.
const (
	// Completed: the provider's whole answer reached the caller.
	Completed Outcome = "completed"
	// ProviderError: the provider answered with an error.
	ProviderError Outcome = "provider_error"
	// UpstreamFailed: no answer came: refused, reset, timed out or garbage.
	UpstreamFailed Outcome = "upstream_failed"
	// Broken: the answer broke off in its middle.
	Broken Outcome = "broken"
	// CallerGone: the caller hung up; the answer was drained or cancelled.
	CallerGone Outcome = "caller_gone"
	// Failed: manti itself failed after admission.
	Failed Outcome = "failed"
	// Unknown: the gateway died before the end was durable.
	Unknown Outcome = "unknown"
)

// RequestCompleted is one admitted call, from its admission to its end. For
// each there is exactly one, unless a later one supersedes it.
type RequestCompleted struct {
	RequestPublic
	Private  RequestPrivate
	Erasable RequestErasable
}

// RequestPublic is what a receipt shows of a call.
type RequestPublic struct {
	// Request is the request's id if this event isn't the first about it,
	// else zero: then it is the event's own id.
	Request EventID `json:"request,omitzero"`
	// Supersedes is the one event that this one replaces, if any.
	Supersedes EventID `json:"supersedes,omitzero"`

	Org     OrgID     `json:"org"`
	Project ProjectID `json:"project"`
	Key     KeyID     `json:"key,omitzero"`
	User    UserID    `json:"user,omitzero"`
	Service ServiceID `json:"service,omitzero"`

	Dialect  string `json:"dialect"`
	Endpoint string `json:"endpoint"`
	Stream   bool   `json:"stream"`
	// AskedModel is the name that the caller used, Model the one that served
	// and was priced, both as the catalogue writes them.
	AskedModel string `json:"asked_model"`
	Model      string `json:"model"`
	// Tier is the service tier that the provider says it used, "" if none.
	Tier string `json:"tier,omitempty"`

	// FirstByte is when the upstream's first byte came, FirstToken the
	// answer's first piece of content, Ended the end. Zero if never.
	FirstByte  time.Time `json:"first_byte,omitzero"`
	FirstToken time.Time `json:"first_token,omitzero"`
	Ended      time.Time `json:"ended,omitzero"`

	Outcome Outcome `json:"outcome"`
	// Status is the HTTP status that the caller got, 0 if none.
	Status int `json:"status,omitempty"`
	// Error is the class of the error, "" if none.
	Error Code `json:"error,omitempty"`

	Usage      Metered    `json:"usage"`
	Provenance Provenance `json:"provenance"`
	// Estimator is the version of the estimator, if it was used.
	Estimator string `json:"estimator,omitempty"`

	Charge Price `json:"charge"`
	// Held is the reservation of a call whose outcome is unknown, in the
	// charge's currency: pending in budgets, never on an invoice.
	Held decimal.Decimal `json:"held,omitzero"`
}

// RequestPrivate is what only the operator sees of a call.
type RequestPrivate struct {
	Provider   string       `json:"provider"`
	Host       string       `json:"host,omitempty"`
	Region     string       `json:"region,omitempty"`
	Credential CredentialID `json:"credential,omitzero"`
	Cost       Price        `json:"cost"`
	Attempts   []Attempt    `json:"attempts,omitempty"`
	// RawUsage is the provider's usage object as it came, compacted; nil if
	// none came or it was larger than MaxRawUsage.
	RawUsage RawJSON `json:"raw_usage,omitempty"`
	// RouteVersion and ConfigVersion name what the call was served under.
	RouteVersion  string `json:"route_version,omitempty"`
	ConfigVersion string `json:"config_version,omitempty"`
	// Replica is the name of the gateway process, Spool and Epoch where the
	// call was recorded first.
	Replica string  `json:"replica,omitempty"`
	Spool   SpoolID `json:"spool,omitzero"`
	Epoch   uint64  `json:"epoch,omitempty"`
	// PaidFrom are the leases that hold the call's money; empty without
	// budgets.
	PaidFrom []Lease `json:"paid_from,omitempty"`
	// Flags mark what an operator must look at: FlagUnpriced and the like.
	Flags []string `json:"flags,omitempty"`
}

// Flags of RequestPrivate.
const (
	// FlagUnpriced: a meter was used for which the price has no rate; it is
	// counted but adds nothing to cost or charge.
	FlagUnpriced = "unpriced"
	// FlagTierUnpriced: the provider named a service tier, speed or region for which there
	// is no price; the standard rates were used.
	FlagTierUnpriced = "tier_unpriced"
	// FlagModelUnpriced: the model that served isn't in the price book; the
	// asked one's price was used.
	FlagModelUnpriced = "model_unpriced"
	// FlagRawDropped: the provider's usage object was too large to keep.
	FlagRawDropped = "raw_dropped"
	// FlagOverHold: the call cost more than its reservation.
	FlagOverHold = "over_hold"
	// FlagRepaired: something of the call didn't fit the encoding and was left
	// out or set to 0.
	FlagRepaired = "repaired"
)

// RequestErasable is every string of a call that its caller or provider made.
// Each is cut to its limit, at a character's edge, before it is encoded.
type RequestErasable struct {
	EndUser string            `json:"end_user,omitempty"` // ≤ 256 bytes
	Session string            `json:"session,omitempty"`  // ≤ 256 bytes
	Client  string            `json:"client,omitempty"`   // ≤ 256 bytes
	Trace   string            `json:"trace,omitempty"`    // W3C trace id, 32 hex digits
	Tags    map[string]string `json:"tags,omitempty"`     // ≤ 10, 64 and 256 bytes each
	// ServedModel is the model as the provider named it, if the catalogue
	// doesn't have that name.
	ServedModel string `json:"served_model,omitempty"` // ≤ 256 bytes
	ErrorText   string `json:"error_text,omitempty"`   // ≤ 1024 bytes
}

// Price is an amount with its currency and the price version that it was
// computed from.
type Price struct {
	Amount   decimal.Decimal `json:"amount"`
	Currency Currency        `json:"currency"`
	Version  EventID         `json:"price,omitzero"`
}

// Attempt is one try at a provider.
type Attempt struct {
	Provider   string       `json:"provider"`
	Host       string       `json:"host,omitempty"`
	Model      string       `json:"model"`
	Credential CredentialID `json:"credential,omitzero"`
	// RequestID is the provider's own id of the call, ≤ 128 bytes.
	RequestID string          `json:"request_id,omitempty"`
	Started   time.Time       `json:"started"`
	FirstByte time.Time       `json:"first_byte,omitzero"`
	Ended     time.Time       `json:"ended,omitzero"`
	Status    int             `json:"status,omitempty"`
	Error     Code            `json:"error,omitempty"`
	Usage     Metered         `json:"usage,omitzero"`
	Cost      decimal.Decimal `json:"cost"`
}

// Lease names a slice of a budget that pays for a call.
type Lease struct {
	Budget EventID         `json:"budget"`
	Window time.Time       `json:"window"`
	Lease  EventID         `json:"lease"`
	Hold   decimal.Decimal `json:"hold"`
}

// Kind is KindRequestCompleted.
func (*RequestCompleted) Kind() Kind { return KindRequestCompleted }

func (r *RequestCompleted) parts() (public, private, erasable any) {
	return &r.RequestPublic, &r.Private, r.Erasable.orNil()
}

func (e *RequestErasable) orNil() any {
	if e.EndUser == "" && e.Session == "" && e.Client == "" && e.Trace == "" && len(e.Tags) == 0 && e.ServedModel == "" && e.ErrorText == "" {
		return nil
	}
	return e
}

// RequestID is the id of the request that the event with this id is about.
func (r *RequestCompleted) RequestID(event EventID) EventID {
	if r.Request.IsZero() {
		return event
	}
	return r.Request
}
