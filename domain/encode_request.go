package domain

import (
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"
)

// The parts of a call's event are written by hand: there is one for each call,
// and encoding/json would take most of the time that a call may cost. What is
// written is to the byte what encoding/json makes of the structs' tags,
// nothing escaped for HTML; a test holds them together.

// object appends a JSON object's members in the order in which they are named.
type object struct {
	b     []byte
	first bool
}

func openObject(b []byte) object { return object{append(b, '{'), true} }

func (o *object) comma() {
	if !o.first {
		o.b = append(o.b, ',')
	}
	o.first = false
}

func (o *object) name(n string) {
	o.comma()
	o.b = append(o.b, '"')
	o.b = append(o.b, n...)
	o.b = append(o.b, '"', ':')
}

func (o *object) string(n, v string) {
	o.name(n)
	o.b = appendString(o.b, v)
}

func (o *object) stringIf(n, v string) {
	if v != "" {
		o.string(n, v)
	}
}

func (o *object) int(n string, v int64) {
	o.name(n)
	o.b = strconv.AppendInt(o.b, v, 10)
}

func (o *object) intIf(n string, v int64) {
	if v != 0 {
		o.int(n, v)
	}
}

func (o *object) uintIf(n string, v uint64) {
	if v != 0 {
		o.name(n)
		o.b = strconv.AppendUint(o.b, v, 10)
	}
}

func (o *object) bool(n string, v bool) {
	o.name(n)
	o.b = strconv.AppendBool(o.b, v)
}

func (o *object) time(n string, v time.Time) {
	o.name(n)
	o.b = append(o.b, '"')
	o.b = v.AppendFormat(o.b, time.RFC3339Nano)
	o.b = append(o.b, '"')
}

func (o *object) timeIf(n string, v time.Time) {
	if !v.IsZero() {
		o.time(n, v)
	}
}

func (o *object) amount(n string, v decimal.Decimal) {
	o.name(n)
	o.b = append(o.b, '"')
	o.b = append(o.b, v.String()...)
	o.b = append(o.b, '"')
}

func (o *object) usage(n string, v Metered) {
	o.name(n)
	o.b = v.appendJSON(o.b)
}

func (o *object) price(n string, v Price) {
	o.name(n)
	p := openObject(o.b)
	p.amount("amount", v.Amount)
	p.string("currency", string(v.Currency))
	appendIDIf(&p, "price", v.Version)
	o.b = p.close()
}

func (o *object) close() []byte { return append(o.b, '}') }

func appendID[K any](o *object, n string, v ID[K]) {
	o.name(n)
	o.b = append(o.b, '"')
	o.b = v.AppendText(o.b)
	o.b = append(o.b, '"')
}

func appendIDIf[K any](o *object, n string, v ID[K]) {
	if !v.IsZero() {
		appendID(o, n, v)
	}
}

func appendList[T any](o *object, n string, items []T, one func([]byte, T) []byte) {
	if len(items) == 0 {
		return
	}
	o.name(n)
	o.b = append(o.b, '[')
	for i, item := range items {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = one(o.b, item)
	}
	o.b = append(o.b, ']')
}

func (r *RequestPublic) appendJSON(b []byte) []byte {
	o := openObject(b)
	r.appendMembers(&o)
	return o.close()
}

func (r *RequestPublic) appendMembers(o *object) {
	appendIDIf(o, "request", r.Request)
	appendIDIf(o, "supersedes", r.Supersedes)
	appendID(o, "org", r.Org)
	appendID(o, "project", r.Project)
	appendIDIf(o, "key", r.Key)
	appendIDIf(o, "user", r.User)
	appendIDIf(o, "service", r.Service)
	o.string("dialect", r.Dialect)
	o.string("endpoint", r.Endpoint)
	o.bool("stream", r.Stream)
	o.string("asked_model", r.AskedModel)
	o.string("model", r.Model)
	o.stringIf("tier", r.Tier)
	o.timeIf("first_byte", r.FirstByte)
	o.timeIf("first_token", r.FirstToken)
	o.timeIf("ended", r.Ended)
	o.string("outcome", string(r.Outcome))
	o.intIf("status", int64(r.Status))
	o.stringIf("error", string(r.Error))
	o.usage("usage", r.Usage)
	o.string("provenance", string(r.Provenance))
	o.stringIf("estimator", r.Estimator)
	o.price("charge", r.Charge)
	if !r.Held.IsZero() {
		o.amount("held", r.Held)
	}
}

func (r *RequestPrivate) appendJSON(b []byte) []byte {
	o := openObject(b)
	r.appendMembers(&o)
	return o.close()
}

func (r *RequestPrivate) appendMembers(o *object) {
	o.string("provider", r.Provider)
	o.stringIf("host", r.Host)
	o.stringIf("region", r.Region)
	appendIDIf(o, "credential", r.Credential)
	o.price("cost", r.Cost)
	appendList(o, "attempts", r.Attempts, func(b []byte, a Attempt) []byte { return a.appendJSON(b) })
	if len(r.RawUsage) > 0 {
		o.name("raw_usage")
		o.b = append(o.b, r.RawUsage...)
	}
	o.stringIf("route_version", r.RouteVersion)
	o.stringIf("config_version", r.ConfigVersion)
	o.stringIf("replica", r.Replica)
	appendIDIf(o, "spool", r.Spool)
	o.uintIf("epoch", r.Epoch)
	appendList(o, "paid_from", r.PaidFrom, func(b []byte, l Lease) []byte { return l.appendJSON(b) })
	appendList(o, "flags", r.Flags, appendString)
}

func (e *RequestErasable) appendJSON(b []byte) []byte {
	o := openObject(b)
	o.stringIf("end_user", e.EndUser)
	o.stringIf("session", e.Session)
	o.stringIf("client", e.Client)
	o.stringIf("trace", e.Trace)
	if len(e.Tags) > 0 {
		o.name("tags")
		tags := openObject(o.b)
		for _, k := range slices.Sorted(maps.Keys(e.Tags)) {
			tags.comma()
			tags.b = append(appendString(tags.b, k), ':')
			tags.b = appendString(tags.b, e.Tags[k])
		}
		o.b = tags.close()
	}
	o.stringIf("served_model", e.ServedModel)
	o.stringIf("error_text", e.ErrorText)
	return o.close()
}

func (a *Attempt) appendJSON(b []byte) []byte {
	o := openObject(b)
	o.string("provider", a.Provider)
	o.stringIf("host", a.Host)
	o.string("model", a.Model)
	appendIDIf(&o, "credential", a.Credential)
	o.stringIf("request_id", a.RequestID)
	o.time("started", a.Started)
	o.timeIf("first_byte", a.FirstByte)
	o.timeIf("ended", a.Ended)
	o.intIf("status", int64(a.Status))
	o.stringIf("error", string(a.Error))
	if !a.Usage.IsZero() {
		o.usage("usage", a.Usage)
	}
	o.amount("cost", a.Cost)
	return o.close()
}

func (l *Lease) appendJSON(b []byte) []byte {
	o := openObject(b)
	appendID(&o, "budget", l.Budget)
	o.time("window", l.Window)
	appendID(&o, "lease", l.Lease)
	o.amount("hold", l.Hold)
	return o.close()
}

// appendEnvelope appends the public part around a body that appends itself.
func appendEnvelope(b []byte, e Event, body func([]byte) []byte) []byte {
	o := openObject(b)
	o.int("v", EncodingVersion)
	o.string("kind", string(e.Body.Kind()))
	appendID(&o, "id", e.ID)
	o.time("at", e.At)
	o.stringIf("author", e.Author)
	o.name("body")
	o.b = body(o.b)
	return o.close()
}

// appendString appends a JSON string as encoding/json does.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\b':
				b = append(b, '\\', 'b')
			case '\f':
				b = append(b, '\\', 'f')
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[from:i]...), `\ufffd`...)
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[from:i]...), '\\', 'u', '2', '0', '2', hex[r&15])
		default:
			i += size
			continue
		}
		i += size
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
