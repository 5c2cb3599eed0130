package anthropic

import (
	"encoding/json"
	"strconv"

	"manti/domain"
	"manti/proxy/llm/scan"
)

// reader remembers the first thing wrong with a document, so that reading can
// go on without asking after each field.
type reader struct{ err *domain.Error }

// fail notes that field isn't what it must be.
func (r *reader) fail(field, want string) {
	if r.err == nil {
		r.err = wrongType(field, want)
	}
}

// object is a JSON object whose members are taken out one by one; what is left
// over is what nobody knows.
type object struct {
	r    *reader
	path string // "messages.0.content.1", "" for the document
	raw  json.RawMessage
	m    map[string]json.RawMessage
}

// object reads raw. If it is no object, that is noted and the result is empty.
func (r *reader) object(path string, raw json.RawMessage) object {
	o := object{r: r, path: path, raw: raw}
	if err := json.Unmarshal(raw, &o.m); err != nil || o.m == nil {
		r.fail(path, "an object")
	}
	return o
}

// array reads raw, an array, and gives its elements their paths.
func (r *reader) array(path string, raw json.RawMessage) []json.RawMessage {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		r.fail(path, "an array")
	}
	return elements
}

// at is the path of an element.
func at(path string, i int) string { return path + "." + strconv.Itoa(i) }

// name is the path of a member.
func (o object) name(member string) string {
	if o.path == "" {
		return member
	}
	return o.path + "." + member
}

// take removes a member; nil if it is absent or null.
func (o object) take(member string) json.RawMessage {
	raw := o.m[member]
	delete(o.m, member)
	if scan.IsNull(raw) {
		return nil
	}
	return raw
}

// str takes a string; "" if it is absent.
func (o object) str(member string) string {
	raw := o.take(member)
	if raw == nil {
		return ""
	}
	s, ok := scan.String(raw)
	if !ok {
		o.r.fail(o.name(member), "a string")
	}
	return s
}

// need takes a string that must be there, empty or not.
func (o object) need(member string) string {
	if scan.IsNull(o.m[member]) && o.r.err == nil {
		o.r.err = missing(o.name(member), nil, "")
	}
	return o.str(member)
}

// integer takes a whole number; nil if it is absent.
func (o object) integer(member string) *int64 {
	raw := o.take(member)
	if raw == nil {
		return nil
	}
	n, ok := scan.Int64(raw)
	if !ok {
		o.r.fail(o.name(member), "a whole number")
	}
	return &n
}

// number takes any number, as it is written; "" if it is absent.
func (o object) number(member string) json.Number {
	raw := o.take(member)
	if raw == nil {
		return ""
	}
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		o.r.fail(o.name(member), "a number")
	}
	return json.Number(raw)
}

// boolean takes true or false; nil if it is absent.
func (o object) boolean(member string) *bool {
	raw := o.take(member)
	if raw == nil {
		return nil
	}
	v, ok := scan.Bool(raw)
	if !ok {
		o.r.fail(o.name(member), "true or false")
	}
	return &v
}

// child takes an object; ok is false if it is absent.
func (o object) child(member string) (child object, ok bool) {
	raw := o.take(member)
	if raw == nil {
		return object{}, false
	}
	return o.r.object(o.name(member), raw), true
}

// list takes an array; nil if it is absent.
func (o object) list(member string) []json.RawMessage {
	raw := o.take(member)
	if raw == nil {
		return nil
	}
	return o.r.array(o.name(member), raw)
}

// rest is what is left over, nil if nothing is.
func (o object) rest() map[string]json.RawMessage {
	for name, raw := range o.m {
		if scan.IsNull(raw) {
			delete(o.m, name)
		}
	}
	if len(o.m) == 0 {
		return nil
	}
	return o.m
}

// restInto adds what is left over to extra, by its path.
func (o object) restInto(extra map[string]json.RawMessage) {
	for name, raw := range o.rest() {
		extra[o.name(name)] = raw
	}
}
