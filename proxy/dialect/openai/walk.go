package openai

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"manti/proxy/llm/scan"
)

// A walker steps through the members of a JSON object or the elements of an
// array, without copying and without validating: that is done once for a
// whole document, by scan. On malformed input it ends early; it never reads
// outside the input.
type walker struct {
	in []byte
	at int
}

// walk begins in the container raw; anything else has nothing in it.
func walk(raw []byte) walker {
	at := space(raw, 0)
	if at < len(raw) && (raw[at] == '{' || raw[at] == '[') {
		return walker{in: raw, at: at + 1}
	}
	return walker{in: raw, at: len(raw)}
}

// member is the next member of an object: its name and its raw value.
func (w *walker) member() (name, value []byte, ok bool) {
	if name, ok = w.key(); !ok {
		return nil, nil, false
	}
	value = w.value()
	return name, value, value != nil
}

// element is the next element of an array.
func (w *walker) element() (value []byte, ok bool) {
	if !w.more() {
		return nil, false
	}
	value = w.value()
	return value, value != nil
}

// key is the name of the next member. Then value, or enter and leave, must
// follow: what is entered isn't walked twice.
func (w *walker) key() (name []byte, ok bool) {
	if !w.more() || w.in[w.at] != '"' {
		return nil, false
	}
	raw := w.value()
	w.at = space(w.in, w.at)
	if raw == nil || w.at >= len(w.in) || w.in[w.at] != ':' {
		return nil, false
	}
	if w.at = space(w.in, w.at+1); w.at >= len(w.in) {
		return nil, false
	}
	if bytes.IndexByte(raw, '\\') >= 0 {
		name, _ = scan.AppendDecoded(nil, raw)
		return name, true
	}
	return raw[1 : len(raw)-1], true
}

// more reports whether there is another element, and stands before it.
func (w *walker) more() bool {
	w.at = w.start()
	return w.at < len(w.in) && w.in[w.at] != ']' && w.in[w.at] != '}'
}

// value takes the value that the walker stands before, nil if it has no end.
func (w *walker) value() []byte {
	from := w.at
	to := skip(w.in, from)
	if to <= from {
		w.at = len(w.in)
		return nil
	}
	w.at = to
	return w.in[from:to:to]
}

// enter walks into the object or array that the walker stands before; of
// anything else ok is false. The child must be walked to its end before leave.
func (w *walker) enter() (child walker, ok bool) {
	if c := w.in[w.at]; c != '{' && c != '[' {
		return walker{}, false
	}
	return walker{in: w.in, at: w.at + 1}, true
}

// leave goes on after what child walked through.
func (w *walker) leave(child walker) {
	if w.at = child.start(); w.at < len(w.in) {
		w.at++ // the closing mark
	}
}

// start is where the next value begins.
func (w *walker) start() int {
	at := space(w.in, w.at)
	if at < len(w.in) && w.in[at] == ',' {
		at = space(w.in, at+1)
	}
	return at
}

func space(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\n' || b[at] == '\r' || b[at] == '\t') {
		at++
	}
	return at
}

// skip is the offset after the value at from, -1 if it has no end.
func skip(b []byte, from int) int {
	switch b[from] {
	case '"':
		return skipString(b, from)
	case '{', '[':
		return skipContainer(b, from)
	}
	at := from
	for at < len(b) {
		switch b[at] {
		case ',', ']', '}', ':', ' ', '\n', '\r', '\t':
			return at
		}
		at++
	}
	return at
}

func skipContainer(b []byte, at int) int {
	for depth := 0; at < len(b); at++ {
		switch b[at] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		case '"':
			end := skipString(b, at)
			if end < 0 {
				return -1
			}
			at = end - 1
		}
	}
	return -1
}

func skipString(b []byte, from int) int {
	at := from + 1
	for {
		for len(b)-at >= 8 {
			mark := quoteOrSlash(binary.LittleEndian.Uint64(b[at:]))
			if mark != 0 {
				at += bits.TrailingZeros64(mark) / 8
				break
			}
			at += 8
		}
		if at >= len(b) {
			return -1
		}
		switch b[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
		at++
	}
}

// quoteOrSlash marks, by its highest bit, each of the eight bytes of w that is
// a quote or a backslash. Only the lowest mark is certain.
func quoteOrSlash(w uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^'"'*ones, w^'\\'*ones
	return ((quote-ones)&^quote | (slash-ones)&^slash) & highs
}

// get is the raw value of one member, nil if it isn't there or is null.
func get(raw []byte, name string) []byte {
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		if string(key) == name {
			return notNull(value)
		}
	}
	return nil
}

// getString is the string in a member, "" if there is none.
func getString(raw []byte, name string) string {
	s, _ := scan.String(get(raw, name))
	return s
}

// notNull is raw, but nil for null.
func notNull(raw []byte) []byte {
	if scan.IsNull(raw) {
		return nil
	}
	return raw
}

// isKind reports whether raw begins like the kind of value whose first byte is
// kind: '{', '[' or '"'.
func isKind(raw []byte, kind byte) bool { return len(raw) > 0 && raw[0] == kind }
