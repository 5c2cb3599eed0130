package row

import (
	"errors"
	"strings"

	"manti/domain"
)

// The columns in the order of the fields, as a statement names them.
const (
	// EventColumns are those of ledger.events: all of them.
	EventColumns = eventPlace + `, id, kind, v, control, at, author, canonical, private_salt, private, request_id, supersedes, ` +
		`org_id, project_id, key_id, user_id, service_id, dialect, endpoint, stream, asked_model, model, tier, ` +
		`first_byte_at, first_token_at, ended_at, outcome, status, error, provenance, estimator, ` +
		`input, input_audio, input_image, cache_read, cache_write_5m, cache_write_1h, ` +
		`output, reasoning, output_audio, output_image, web_search, file_search, ` +
		`charge, charge_currency, charge_price, held, cost, cost_currency, cost_price, ` +
		`provider, host, region, credential_id, provider_request_id, attempts, route_version, config_version, replica, spool_id, spool_epoch, flags`
	// ErasableColumns are those of ledger.erasable: all of them.
	ErasableColumns = `index, id, salt, data, end_user, session, client, trace, tags, served_model, error_text, name`
	// IDColumns are those of ledger.ids.
	IDColumns = `id, index`

	// eventPlace depends on the place that the event gets.
	eventPlace = `index, recorded_at, leaf`

	eventFields, erasableFields, idFields = 64, 12, 2
)

// Names are the names in a list of columns.
func Names(columns string) []string { return strings.Split(columns, ", ") }

// columns is what an event says in SQL.
type columns struct {
	domain.Event
	// call is empty for other kinds, and isCall false.
	call   *domain.RequestCompleted
	isCall bool

	request                          domain.EventID
	org, project, key, user, service [16]byte
	name                             string
}

func columnsOf(e domain.Event) columns {
	c := columns{Event: e}
	if call, ok := domain.CallOf(e.Body); ok {
		c.call, c.isCall, c.request = call, true, call.RequestID(e.ID)
		c.org, c.project, c.key, c.user, c.service = call.Org, call.Project, call.Key, call.User, call.Service
		return c
	}
	c.call = new(domain.RequestCompleted)
	switch b := e.Body.(type) {
	case *domain.OrgCreated:
		c.org, c.name = b.Org, b.Erasable.Name
	case *domain.ProjectCreated:
		c.org, c.project, c.name = b.Org, b.Project, b.Erasable.Name
	case *domain.KeyIssued:
		c.org, c.project, c.key, c.user, c.service = b.Org, b.Project, b.Key, b.User, b.Service
		c.name = b.Erasable.Name
	case *domain.KeyRevoked:
		c.org, c.project, c.key = b.Org, b.Project, b.Key
	case *domain.PersonForgotten:
		c.user = b.User
	case *domain.PricesPublished, *domain.RejectionAnswered, *domain.OriginStarted:
	}
	return c
}

// encodeEvent writes the fields of EventColumns after eventPlace.
func encodeEvent(r *Row, c *columns, t *tuple) error {
	from := len(*t)
	call, private := c.call, &c.call.Private
	canonical := t.head(r, c)
	for _, id := range [...][16]byte{c.request, call.Supersedes, c.org, c.project, c.key, c.user, c.service} {
		t.uuid(id)
	}
	t.text(call.Dialect)
	t.text(call.Endpoint)
	t.boolean(call.Stream, c.isCall)
	t.text(call.AskedModel)
	t.text(call.Model)
	t.text(call.Tier)
	t.time(call.FirstByte)
	t.time(call.FirstToken)
	t.time(call.Ended)
	t.text(string(call.Outcome))
	t.int16(call.Status, call.Status != 0)
	t.text(string(call.Error))
	t.text(string(call.Provenance))
	t.text(call.Estimator)
	for _, n := range call.Usage {
		t.positive(n)
	}
	err := t.price(c.isCall, call.Charge)
	err = errors.Join(err, t.amount(call.Held, !call.Held.IsZero()))
	err = errors.Join(err, t.price(c.isCall, private.Cost))
	t.text(private.Provider)
	t.text(private.Host)
	t.text(private.Region)
	t.uuid(private.Credential)
	t.text(lastRequestID(private.Attempts))
	t.int16(len(private.Attempts), c.isCall)
	t.text(private.RouteVersion)
	t.text(private.ConfigVersion)
	t.text(private.Replica)
	t.uuid(private.Spool)
	t.positive(int64(private.Epoch))
	t.texts(private.Flags)
	r.event = (*t)[from:len(*t):len(*t)]
	r.Canonical = r.event[canonical.begin-from : canonical.end-from : canonical.end-from]
	return err
}

// span is where something stands in a tuple.
type span struct{ begin, end int }

// head writes what every event has, and returns where its canonical bytes are.
func (t *tuple) head(r *Row, c *columns) (canonical span) {
	t.uuid(c.ID)
	t.text(string(c.Body.Kind()))
	t.int16(domain.EncodingVersion, true)
	t.boolean(c.Body.Kind().IsControl(), true)
	t.time(c.At)
	t.text(c.Author)
	canonical = t.canonical(r)
	if r.Encoded.Private == nil {
		t.null()
	} else {
		t.bytes(r.Encoded.PrivateSalt[:])
	}
	t.bytes(r.Encoded.Private)
	return canonical
}

// canonical writes the canonical bytes: those that are stored, or the event's.
func (t *tuple) canonical(r *Row) (at span) {
	field := t.begin()
	at.begin = len(*t)
	if r.Canonical != nil {
		*t = append(*t, r.Canonical...)
	} else {
		*t = r.Encoded.AppendCanonical(*t)
	}
	t.end(field)
	at.end = len(*t)
	return at
}

// lastRequestID is the provider's own id of the try that came last.
func lastRequestID(attempts []domain.Attempt) string {
	if len(attempts) == 0 {
		return ""
	}
	return attempts[len(attempts)-1].RequestID
}

// price writes amount, currency and price version; all are NULL but for calls.
func (t *tuple) price(isCall bool, p domain.Price) error {
	err := t.amount(p.Amount, isCall)
	t.text(string(p.Currency))
	t.uuid(p.Version)
	return err
}

// encodeErasable writes the fields of ErasableColumns after the index.
func encodeErasable(r *Row, c *columns, t *tuple) {
	e := &c.call.Erasable
	from := len(*t)
	t.uuid(c.ID)
	t.bytes(r.Encoded.ErasableSalt[:])
	t.bytes(r.Encoded.Erasable)
	t.text(e.EndUser)
	t.text(e.Session)
	t.text(e.Client)
	t.text(e.Trace)
	t.tags(e.Tags)
	t.text(e.ServedModel)
	t.text(e.ErrorText)
	t.text(c.name)
	r.erasable = (*t)[from:len(*t):len(*t)]
}
