package openai

import (
	"encoding/json"
	"strconv"

	"manti/domain"
	"manti/proxy/llm/scan"
)

// A reader reads the parts of one request and keeps the first error.
type reader struct{ err *domain.Error }

// object is one JSON object of a request. Members are taken one by one; what
// is left is what nobody knows.
type object struct {
	r       *reader
	path    string // "messages[2]", "" for the request itself
	members []member
}

type member struct {
	name  string
	value []byte
	taken bool
}

// object reads raw as an object.
func (r *reader) object(path string, raw []byte) *object {
	o := &object{r: r, path: path}
	if !isKind(raw, '{') {
		r.fail(path, "it must be an object")
		return o
	}
	o.members = make([]member, 0, 8)
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		o.members = append(o.members, member{name: string(key), value: value})
	}
	return o
}

// list calls each for the elements of the array raw.
func (r *reader) list(path string, raw []byte, each func(path string, raw []byte)) {
	if raw == nil {
		return
	}
	if !isKind(raw, '[') {
		r.fail(path, "it must be an array")
		return
	}
	w := walk(raw)
	for i := 0; ; i++ {
		value, ok := w.element()
		if !ok {
			return
		}
		each(path+"["+strconv.Itoa(i)+"]", value)
	}
}

func (r *reader) fail(path, why string) {
	if r.err == nil {
		r.err = domain.Invalid(path, "Invalid '"+path+"': "+why+".")
	}
}

// name is the path of a member.
func (o *object) name(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

func (o *object) fail(key, why string) { o.r.fail(o.name(key), why) }

// take is a member's raw value, nil if it is absent or null. If it stands
// twice the last one holds, as in most readers.
func (o *object) take(key string) []byte {
	var value []byte
	for i := range o.members {
		if m := &o.members[i]; m.name == key {
			value, m.taken = m.value, true
		}
	}
	return notNull(value)
}

// leave undoes take: the member stays in the rest.
func (o *object) leave(key string) {
	for i := range o.members {
		if m := &o.members[i]; m.name == key {
			m.taken = false
		}
	}
}

// rest are the members that nobody took, nil if there are none.
func (o *object) rest() map[string]json.RawMessage {
	var rest map[string]json.RawMessage
	for _, m := range o.members {
		if m.taken || scan.IsNull(m.value) {
			continue
		}
		if rest == nil {
			rest = make(map[string]json.RawMessage)
		}
		rest[m.name] = m.value
	}
	return rest
}

func (o *object) text(key string) string {
	raw := o.take(key)
	s, ok := scan.String(raw)
	if raw != nil && !ok {
		o.fail(key, "it must be a string")
	}
	return s
}

// must is text that may not be absent.
func (o *object) must(key string) string {
	raw := o.take(key)
	s, ok := scan.String(raw)
	if !ok {
		o.fail(key, "it must be a string")
	}
	return s
}

// flag is a boolean; nil if absent or the API's default.
func (o *object) flag(key string, byDefault bool) *bool {
	raw := o.take(key)
	if raw == nil {
		return nil
	}
	b, ok := scan.Bool(raw)
	if !ok {
		o.fail(key, "it must be true or false")
	}
	if b == byDefault {
		return nil
	}
	return &b
}

// strict is a boolean of which all three states differ.
func (o *object) strict(key string) *bool {
	raw := o.take(key)
	if raw == nil {
		return nil
	}
	b, ok := scan.Bool(raw)
	if !ok {
		o.fail(key, "it must be true or false")
	}
	return &b
}

// whole is a whole number; nil if absent.
func (o *object) whole(key string) *int64 {
	raw := o.take(key)
	if raw == nil {
		return nil
	}
	n, ok := scan.Int64(raw)
	if !ok || n < 0 {
		o.fail(key, "it must be a whole number that isn't negative")
	}
	return &n
}

// number is any number, as it is written; "" if absent or the API's default.
func (o *object) number(key string, byDefault int64) json.Number {
	raw := o.take(key)
	if raw == nil {
		return ""
	}
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		o.fail(key, "it must be a number")
		return ""
	}
	if n, ok := scan.Int64(raw); ok && n == byDefault {
		return ""
	}
	return json.Number(raw)
}

// hash is a raw object; nil if absent or empty.
func (o *object) hash(key string) json.RawMessage {
	raw := o.take(key)
	if raw != nil && !isKind(raw, '{') {
		o.fail(key, "it must be an object")
		return nil
	}
	if w := walk(raw); w.start() < len(raw) && raw[w.start()] == '}' {
		return nil
	}
	return raw
}
