package domain

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// fastReader reads JSON whose fields come in a known order. After the first
// surprise it is bad and gives nothing more.
type fastReader struct {
	rest  string
	first bool // nothing of the current object has been read
	bad   bool
}

// done reports whether everything was read without a surprise.
func (r *fastReader) done() bool { return !r.bad && r.rest == "" }

// has reads the text if it comes next.
func (r *fastReader) has(text string) bool {
	if r.bad || !strings.HasPrefix(r.rest, text) {
		return false
	}
	r.rest = r.rest[len(text):]
	return true
}

func (r *fastReader) literal(text string) {
	if !r.has(text) {
		r.bad = true
	}
}

func (r *fastReader) open()  { r.literal(`{`); r.first = true }
func (r *fastReader) close() { r.literal(`}`); r.first = false }

// comma reads what separates two fields.
func (r *fastReader) comma() {
	if !r.first {
		r.literal(`,`)
	}
	r.first = false
}

// field reads the field's name, if it comes next.
func (r *fastReader) field(name string) bool {
	at := 0
	if !r.first {
		at = 1
	}
	end := at + len(name) + 3
	s := r.rest
	if r.bad || len(s) < end || s[at] != '"' || s[at+1:end-2] != name || s[end-2] != '"' || s[end-1] != ':' || at == 1 && s[0] != ',' {
		return false
	}
	r.rest = s[end:]
	r.first = false
	return true
}

func (r *fastReader) need(name string) {
	if !r.field(name) {
		r.bad = true
	}
}

func (r *fastReader) needStr(name string) string {
	r.need(name)
	return r.str()
}

func (r *fastReader) optStr(name string) string {
	if !r.field(name) {
		return ""
	}
	return r.str()
}

// str reads a string. One with an escape or beyond ASCII is left to the library.
func (r *fastReader) str() string {
	if r.bad || len(r.rest) < 2 || r.rest[0] != '"' {
		r.bad = true
		return ""
	}
	plain := true
	for i := 1; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '"':
			literal := r.rest[:i+1]
			r.rest = r.rest[i+1:]
			if plain {
				return literal[1:i]
			}
			return r.unquote(literal)
		case c == '\\':
			plain = false
			i++
		case c < ' ' || c >= utf8.RuneSelf:
			plain = false
		}
	}
	r.bad = true
	return ""
}

// plain reads a string without an escape.
func (r *fastReader) plain() string {
	before := len(r.rest)
	s := r.str()
	if before-len(r.rest) != len(s)+2 {
		r.bad = true
	}
	return s
}

func (r *fastReader) unquote(literal string) string {
	var s string
	if err := json.Unmarshal([]byte(literal), &s); err != nil {
		r.bad = true
	}
	return s
}

func (r *fastReader) boolean() bool {
	if r.has(`true`) {
		return true
	}
	r.literal(`false`)
	return false
}

func (r *fastReader) optInt(name string) int {
	if !r.field(name) {
		return 0
	}
	return int(r.integer())
}

// integer reads a number from 0 to 10^18 - 1.
func (r *fastReader) integer() int64 {
	n, digits := int64(0), 0
	for digits < len(r.rest) && r.rest[digits]-'0' <= 9 {
		n = n*10 + int64(r.rest[digits]-'0')
		digits++
		if digits > 18 {
			r.bad = true
			return 0
		}
	}
	if r.bad || digits == 0 || digits > 1 && r.rest[0] == '0' {
		r.bad = true
		return 0
	}
	r.rest = r.rest[digits:]
	return n
}

func (r *fastReader) needID(name string, id *[16]byte) {
	r.need(name)
	r.id(id)
}

func (r *fastReader) optID(name string, id *[16]byte) {
	if r.field(name) {
		r.id(id)
	}
}

// id reads a UUID in its lower-case form.
func (r *fastReader) id(id *[16]byte) {
	const length = 38 // with its quotes
	s := r.rest
	if r.bad || len(s) < length || s[0] != '"' || s[9] != '-' || s[14] != '-' || s[19] != '-' || s[24] != '-' || s[37] != '"' {
		r.bad = true
		return
	}
	at := 1
	for i := range id {
		if s[at] == '-' {
			at++
		}
		high, low := hexDigit(s[at]), hexDigit(s[at+1])
		if high|low > 15 {
			r.bad = true
			return
		}
		id[i] = high<<4 | low
		at += 2
	}
	r.rest = s[length:]
}

// hexDigit is the value of a lower-case digit, 255 if it is none.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// maxDepth is how deeply values that aren't ours may be nested here.
const maxDepth = 32

// value reads any value without white space, to know that it is one.
func (r *fastReader) value(depth int) {
	if r.bad || r.rest == "" || depth == 0 {
		r.bad = true
		return
	}
	switch r.rest[0] {
	case '{':
		r.members('}', func(r *fastReader) { r.skipString(); r.literal(`:`); r.value(depth - 1) })
	case '[':
		r.members(']', func(r *fastReader) { r.value(depth - 1) })
	case '"':
		r.skipString()
	case 't':
		r.literal(`true`)
	case 'f':
		r.literal(`false`)
	case 'n':
		r.literal(`null`)
	default:
		r.integer()
	}
}

// members reads what is between the bracket that comes next and this one.
func (r *fastReader) members(end byte, member func(*fastReader)) {
	r.rest = r.rest[1:]
	if r.rest != "" && r.rest[0] == end {
		r.rest = r.rest[1:]
		return
	}
	for !r.bad {
		member(r)
		if r.rest != "" && r.rest[0] == end {
			r.rest = r.rest[1:]
			return
		}
		r.literal(`,`)
	}
}

// skipString reads a string without an escape.
func (r *fastReader) skipString() {
	if r.bad || r.rest == "" || r.rest[0] != '"' {
		r.bad = true
		return
	}
	for i := 1; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '"':
			r.rest = r.rest[i+1:]
			return
		case c == '\\' || c < ' ':
			r.bad = true
			return
		}
	}
	r.bad = true
}
