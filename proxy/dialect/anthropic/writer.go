package anthropic

import (
	"bytes"
	"encoding/json"
	"strconv"

	"manti/proxy/llm/scan"
)

// writer appends JSON and puts commas where they belong by looking at the last
// byte. What stands before its first value must thus end in a space or a
// newline, if anything does.
type writer []byte

// next writes the comma before a value or key that follows another.
func (w *writer) next() {
	if n := len(*w); n > 0 {
		switch (*w)[n-1] {
		case '{', '[', ':', ',', ' ', '\n':
		default:
			*w = append(*w, ',')
		}
	}
}

func (w *writer) open(bracket byte) {
	w.next()
	*w = append(*w, bracket)
}

func (w *writer) close(bracket byte) { *w = append(*w, bracket) }

// key writes a member's name, which needs no escaping.
func (w *writer) key(name string) {
	w.next()
	*w = append(*w, '"')
	*w = append(*w, name...)
	*w = append(*w, '"', ':')
}

func (w *writer) str(s string) {
	w.next()
	*w = scan.AppendString(*w, s)
}

func (w *writer) raw(v json.RawMessage) {
	w.next()
	*w = append(*w, bytes.TrimSpace(v)...)
}

func (w *writer) appendInt(n int64) { *w = strconv.AppendInt(*w, n, 10) }

func (w *writer) strField(name, s string) {
	w.key(name)
	w.str(s)
}

// nullableField writes s, or null if it is empty.
func (w *writer) nullableField(name, s string) {
	w.key(name)
	if s == "" {
		*w = append(*w, "null"...)
		return
	}
	w.str(s)
}

func (w *writer) intField(name string, n int64) {
	w.key(name)
	w.appendInt(n)
}

func (w *writer) boolField(name string, v bool) {
	w.key(name)
	*w = strconv.AppendBool(*w, v)
}

func (w *writer) rawField(name string, v json.RawMessage) {
	w.key(name)
	w.raw(v)
}
