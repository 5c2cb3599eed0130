package domain

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Started is what is written of a call before the upstream is called: enough
// to make its RequestCompleted with outcome Unknown if the gateway dies before
// the end. It lives in the spool only.
type Started struct {
	V  int       `json:"v"`
	ID EventID   `json:"id"`
	At time.Time `json:"at"`

	Org     OrgID     `json:"org"`
	Project ProjectID `json:"project"`
	Key     KeyID     `json:"key,omitzero"`
	User    UserID    `json:"user,omitzero"`
	Service ServiceID `json:"service,omitzero"`

	Dialect    string `json:"dialect"`
	Endpoint   string `json:"endpoint"`
	Stream     bool   `json:"stream,omitempty"`
	AskedModel string `json:"asked_model"`

	// The target of the attempt that begins.
	Provider   string       `json:"provider"`
	Host       string       `json:"host,omitempty"`
	Model      string       `json:"model"`
	Credential CredentialID `json:"credential,omitzero"`
	Attempt    int          `json:"attempt,omitempty"` // from 0

	// Held is the most that the call can cost, in Currency.
	Held     decimal.Decimal `json:"held"`
	Currency Currency        `json:"currency"`
	Version  EventID         `json:"price,omitzero"`
	PaidFrom []Lease         `json:"paid_from,omitempty"`

	RouteVersion  string          `json:"route_version,omitempty"`
	ConfigVersion string          `json:"config_version,omitempty"`
	Replica       string          `json:"replica,omitempty"`
	Spool         SpoolID         `json:"spool,omitzero"`
	Epoch         uint64          `json:"epoch,omitempty"`
	Erasable      RequestErasable `json:"erasable,omitzero"`
}

// startedVersion is the version that EncodeStarted writes.
const startedVersion = 1

// EncodeStarted writes s for the spool. An error says that a time is beyond
// what RFC 3339 can express.
func EncodeStarted(s Started) ([]byte, error) {
	if !inRFC3339(s.At) || slices.ContainsFunc(s.PaidFrom, func(l Lease) bool { return !inRFC3339(l.Window) }) {
		return nil, fmt.Errorf("encode start of %s: a time is beyond the year 9999", s.ID)
	}
	s.V = startedVersion
	return s.appendJSON(make([]byte, 0, startedBytes)), nil
}

func inRFC3339(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

// startedBytes is room for a usual start.
const startedBytes = 1024

// appendJSON appends s to the byte as encoding/json would, nothing escaped for
// HTML: see object.
func (s *Started) appendJSON(b []byte) []byte {
	o := openObject(b)
	o.int("v", int64(s.V))
	appendID(&o, "id", s.ID)
	o.time("at", s.At)
	appendID(&o, "org", s.Org)
	appendID(&o, "project", s.Project)
	appendIDIf(&o, "key", s.Key)
	appendIDIf(&o, "user", s.User)
	appendIDIf(&o, "service", s.Service)
	o.string("dialect", s.Dialect)
	o.string("endpoint", s.Endpoint)
	if s.Stream {
		o.bool("stream", true)
	}
	o.string("asked_model", s.AskedModel)
	o.string("provider", s.Provider)
	o.stringIf("host", s.Host)
	o.string("model", s.Model)
	appendIDIf(&o, "credential", s.Credential)
	o.intIf("attempt", int64(s.Attempt))
	o.amount("held", s.Held)
	o.string("currency", string(s.Currency))
	appendIDIf(&o, "price", s.Version)
	appendList(&o, "paid_from", s.PaidFrom, func(b []byte, l Lease) []byte { return l.appendJSON(b) })
	o.stringIf("route_version", s.RouteVersion)
	o.stringIf("config_version", s.ConfigVersion)
	o.stringIf("replica", s.Replica)
	appendIDIf(&o, "spool", s.Spool)
	o.uintIf("epoch", s.Epoch)
	if s.Erasable.orNil() != nil {
		o.name("erasable")
		o.b = s.Erasable.appendJSON(o.b)
	}
	return o.close()
}

// DecodeStarted reads what EncodeStarted wrote.
func DecodeStarted(b []byte) (Started, error) {
	var s Started
	if err := json.Unmarshal(b, &s); err != nil {
		return Started{}, fmt.Errorf("%w: start: %w", ErrEncoding, err)
	}
	if s.V > startedVersion {
		return Started{}, fmt.Errorf("%w (start version %d)", ErrVersion, s.V)
	}
	if s.ID.IsZero() {
		return Started{}, fmt.Errorf("%w: start without an id", ErrEncoding)
	}
	return s, nil
}

// Unknown is the completion of a call whose gateway died: it costs and charges
// nothing until a correction settles it, and holds what it could have cost.
func (s Started) Unknown() Event {
	body := &RequestCompleted{
		RequestPublic: RequestPublic{
			Org: s.Org, Project: s.Project, Key: s.Key, User: s.User, Service: s.Service,
			Dialect: s.Dialect, Endpoint: s.Endpoint, Stream: s.Stream,
			AskedModel: s.AskedModel, Model: s.Model,
			Outcome: Unknown, Provenance: NoUsage,
			Charge: Price{Currency: s.Currency, Version: s.Version},
			Held:   s.Held,
		},
		Private: RequestPrivate{
			Provider: s.Provider, Host: s.Host, Credential: s.Credential,
			Cost:         Price{Currency: s.Currency, Version: s.Version},
			Attempts:     []Attempt{{Provider: s.Provider, Host: s.Host, Model: s.Model, Credential: s.Credential, Started: s.At}},
			RouteVersion: s.RouteVersion, ConfigVersion: s.ConfigVersion,
			Replica: s.Replica, Spool: s.Spool, Epoch: s.Epoch, PaidFrom: s.PaidFrom,
		},
		Erasable: s.Erasable,
	}
	return Event{ID: s.ID, At: s.At, Body: body}
}

// check refuses amounts that the ledger can't hold.
func (r *RequestCompleted) check() error {
	for _, d := range []decimal.Decimal{r.Charge.Amount, r.Private.Cost.Amount, r.Held} {
		if err := CheckScale(d, MaxScale); err != nil {
			return err
		}
		if d.IsNegative() {
			return fmt.Errorf("amount %s is negative", d)
		}
	}
	for _, p := range []Price{r.Charge, r.Private.Cost} {
		if _, err := ParseCurrency(string(p.Currency)); err != nil {
			return err
		}
	}
	if len(r.Private.Attempts) > MaxAttempts {
		return errors.New("too many attempts")
	}
	if !r.Supersedes.IsZero() && r.Request.IsZero() {
		return errors.New("it supersedes an event but names no request")
	}
	if r.Status < 0 || r.Status > 999 {
		return fmt.Errorf("%d is no HTTP status", r.Status)
	}
	for _, usage := range r.usages() {
		for m, n := range usage {
			if n < 0 {
				return fmt.Errorf("%w: %s %d", ErrMeter, Meter(m), n)
			}
		}
	}
	return r.checkClean()
}

// usages are the call's and its attempts'.
func (r *RequestCompleted) usages() []Metered {
	all := make([]Metered, 0, 1+len(r.Private.Attempts))
	all = append(all, r.Usage)
	for i := range r.Private.Attempts {
		all = append(all, r.Private.Attempts[i].Usage)
	}
	return all
}
