package openai

import (
	"strconv"

	"manti/proxy/llm/scan"
)

// A writer builds JSON by appending. It sets the commas.
type writer struct{ out []byte }

// comma separates what comes from what stands before it.
func (w *writer) comma() {
	if n := len(w.out); n > 0 {
		switch w.out[n-1] {
		case '{', '[', ':', ' ':
		default:
			w.out = append(w.out, ',')
		}
	}
}

// open begins an object ('{') or array ('[').
func (w *writer) open(mark byte) {
	w.comma()
	w.out = append(w.out, mark)
}

// close ends it.
func (w *writer) close(mark byte) { w.out = append(w.out, mark) }

// key writes a member's name; its value must follow.
func (w *writer) key(name string) {
	w.comma()
	w.out = append(scan.AppendString(w.out, name), ':')
}

// str writes a string value.
func (w *writer) str(s string) {
	w.comma()
	w.out = scan.AppendString(w.out, s)
}

// raw writes a value that is JSON already.
func (w *writer) raw(value []byte) {
	w.comma()
	w.out = append(w.out, value...)
}

// text writes a string member.
func (w *writer) text(name, s string) {
	w.key(name)
	w.out = scan.AppendString(w.out, s)
}

// optional writes a string member, null for "".
func (w *writer) optional(name, s string) {
	w.key(name)
	if s == "" {
		w.out = append(w.out, "null"...)
		return
	}
	w.out = scan.AppendString(w.out, s)
}

// said writes a string member unless it is "".
func (w *writer) said(name, s string) {
	if s != "" {
		w.text(name, s)
	}
}

// json writes a member whose value is JSON already, unless there is none.
func (w *writer) json(name string, value []byte) {
	if len(value) > 0 {
		w.key(name)
		w.out = append(w.out, value...)
	}
}

// number writes a whole number as a member.
func (w *writer) number(name string, n int64) {
	w.key(name)
	w.out = strconv.AppendInt(w.out, n, 10)
}

// count writes a whole number as a member unless it is nil.
func (w *writer) count(name string, n *int64) {
	if n != nil {
		w.number(name, *n)
	}
}

// flag writes a boolean as a member unless it is nil.
func (w *writer) flag(name string, b *bool) {
	if b != nil {
		w.key(name)
		w.out = strconv.AppendBool(w.out, *b)
	}
}
