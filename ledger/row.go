package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/shopspring/decimal"

	"manti/domain"
)

// A row is an event made ready before the head is locked: all that its columns
// hold but for the place that it gets.
type row struct {
	enc        domain.Encoded
	canonical  []byte
	supersedes domain.EventID
	spool      domain.SpoolID
	epoch      uint64
	event      []byte // fields of ledger.events after index, recorded_at and leaf
	erasable   []byte // fields of ledger.erasable after index; nil if there are none
}

var errMislabelled = errors.New("id or kind of the record is not that of the event in it")

// An arena is the memory of rows. It is used again when they are written.
type arena struct{ events, erasable tuple }

func (a *arena) reset() { a.events, a.erasable = a.events[:0], a.erasable[:0] }

// newRow decodes the event, for its columns and to be sure that whoever reads
// it later can. An error is about this event alone.
func (l *Ledger) newRow(enc domain.Encoded, mem *arena) (row, error) {
	r := row{enc: enc}
	event, err := domain.DecodeFast(enc)
	if err != nil {
		return r, err
	}
	if event.ID != enc.ID || event.ID.IsZero() || event.Body.Kind() != enc.Kind {
		return r, errMislabelled
	}
	c := columnsOf(event)
	r.supersedes, r.spool, r.epoch = c.call.Supersedes, c.call.Private.Spool, c.call.Private.Epoch
	if !smallint(c.call.Status) {
		return r, fmt.Errorf("status %d", c.call.Status)
	}
	if err := l.encodeEvent(&r, &c, &mem.events); err != nil {
		return r, err
	}
	if enc.Erasable != nil {
		return r, encodeErasable(&r, &c, &mem.erasable)
	}
	return r, nil
}

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
	if b, ok := e.Body.(*domain.RequestCompleted); ok {
		c.call, c.isCall, c.request = b, true, b.RequestID(e.ID)
		c.org, c.project, c.key, c.user, c.service = b.Org, b.Project, b.Key, b.User, b.Service
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
	case *domain.PricesPublished:
	}
	return c
}

// eventColumns are the columns after index, recorded_at and leaf, in the order
// in which encodeEvent writes them.
const eventColumns = `id, kind, v, control, at, author, canonical, private_salt, private, request_id, supersedes,
	org_id, project_id, key_id, user_id, service_id, dialect, endpoint, stream, asked_model, model, tier,
	first_byte_at, first_token_at, ended_at, outcome, status, error, provenance, estimator,
	input, input_audio, input_image, cache_read, cache_write_5m, cache_write_1h,
	output, reasoning, output_audio, output_image, web_search, file_search,
	charge, charge_currency, charge_price, held, cost, cost_currency, cost_price,
	provider, host, region, credential_id, provider_request_id, attempts, route_version, config_version, replica, spool_id, spool_epoch, flags`

// eventFields is the number of all columns that are written.
const eventFields = 64

func (l *Ledger) encodeEvent(r *row, c *columns, t *tuple) error {
	from := len(*t)
	call, private := c.call, &c.call.Private
	t.uuid(c.ID)
	t.text(string(c.Body.Kind()))
	t.int16(domain.EncodingVersion)
	t.boolean(c.Body.Kind().IsControl())
	t.time(c.At)
	t.text(c.Author)
	canonical := t.canonical(r.enc)
	if r.enc.Private == nil {
		t.null()
	} else {
		t.bytes(r.enc.PrivateSalt[:])
	}
	t.bytes(r.enc.Private)
	for _, id := range [][16]byte{c.request, call.Supersedes, c.org, c.project, c.key, c.user, c.service} {
		t.uuid(id)
	}
	t.text(call.Dialect)
	t.text(call.Endpoint)
	if c.isCall {
		t.boolean(call.Stream)
	} else {
		t.null()
	}
	t.text(call.AskedModel)
	t.text(call.Model)
	t.text(call.Tier)
	t.time(call.FirstByte)
	t.time(call.FirstToken)
	t.time(call.Ended)
	t.text(string(call.Outcome))
	if call.Status == 0 {
		t.null()
	} else {
		t.int16(call.Status)
	}
	t.text(string(call.Error))
	t.text(string(call.Provenance))
	t.text(call.Estimator)
	for _, n := range call.Usage {
		t.positive(n)
	}
	err := l.price(t, c.isCall, call.Charge)
	err = errors.Join(err, l.amount(t, call.Held, !call.Held.IsZero()))
	err = errors.Join(err, l.price(t, c.isCall, private.Cost))
	t.text(private.Provider)
	t.text(private.Host)
	t.text(private.Region)
	t.uuid(private.Credential)
	t.text(lastRequestID(private.Attempts))
	if c.isCall {
		t.int16(len(private.Attempts))
	} else {
		t.null()
	}
	t.text(private.RouteVersion)
	t.text(private.ConfigVersion)
	t.text(private.Replica)
	t.uuid(private.Spool)
	t.positive(int64(private.Epoch))
	t.texts(private.Flags)
	r.event = (*t)[from:len(*t):len(*t)]
	r.canonical = r.event[canonical-from:][:len(r.enc.Public)+2*domain.HashSize]
	return err
}

// lastRequestID is the provider's own id of the try that came last.
func lastRequestID(attempts []domain.Attempt) string {
	if len(attempts) == 0 {
		return ""
	}
	return attempts[len(attempts)-1].RequestID
}

// price writes amount, currency and price version; all are NULL but for calls.
func (l *Ledger) price(t *tuple, isCall bool, p domain.Price) error {
	err := l.amount(t, p.Amount, isCall)
	t.text(string(p.Currency))
	t.uuid(p.Version)
	return err
}

func (l *Ledger) amount(t *tuple, d decimal.Decimal, some bool) error {
	if !some {
		t.null()
		return nil
	}
	at := len(*t)
	t.length(0)
	b, err := l.numeric.Encode(d, *t)
	if err != nil {
		return err
	}
	*t = b
	t.fixLength(at)
	return nil
}

// erasableColumns are the columns after index, in the order in which
// encodeErasable writes them.
const erasableColumns = `id, salt, data, end_user, session, client, trace, tags, served_model, error_text, name`

const erasableFields = 12

func encodeErasable(r *row, c *columns, t *tuple) error {
	e := &c.call.Erasable
	var tags []byte
	if len(e.Tags) > 0 {
		var err error
		if tags, err = encodeTags(e.Tags); err != nil {
			return err
		}
	}
	from := len(*t)
	t.uuid(c.ID)
	t.bytes(r.enc.ErasableSalt[:])
	t.bytes(r.enc.Erasable)
	t.text(e.EndUser)
	t.text(e.Session)
	t.text(e.Client)
	t.text(e.Trace)
	t.jsonb(tags)
	t.text(e.ServedModel)
	t.text(e.ErrorText)
	t.text(c.name)
	r.erasable = (*t)[from:len(*t):len(*t)]
	return nil
}

func encodeTags(tags map[string]string) ([]byte, error) {
	clean := make(map[string]string, len(tags))
	for k, v := range tags {
		clean[withoutNUL(k)] = withoutNUL(v)
	}
	b, err := json.Marshal(clean)
	if err != nil {
		return nil, fmt.Errorf("encode tags: %w", err)
	}
	return b, nil
}

func withoutNUL(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

// sameEvent reports whether both rows are one event, sent twice.
func (r *row) sameEvent(canonical []byte) bool { return bytes.Equal(r.canonical, canonical) }
