package openai

import (
	"bytes"

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
	key, ok := w.element()
	if !ok || len(key) < 2 || key[0] != '"' {
		return nil, nil, false
	}
	w.at = space(w.in, w.at)
	if w.at >= len(w.in) || w.in[w.at] != ':' {
		return nil, nil, false
	}
	w.at++
	value, ok = w.element()
	if bytes.IndexByte(key, '\\') >= 0 {
		name, _ = scan.AppendDecoded(nil, key)
		return name, value, ok
	}
	return key[1 : len(key)-1], value, ok
}

// element is the next element of an array.
func (w *walker) element() (value []byte, ok bool) {
	from := w.start()
	if from >= len(w.in) || w.in[from] == ']' || w.in[from] == '}' {
		return nil, false
	}
	to := skip(w.in, from)
	if to <= from {
		return nil, false
	}
	w.at = to
	return w.in[from:to:to], true
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
	for at := from + 1; at < len(b); {
		quote := bytes.IndexByte(b[at:], '"')
		if quote < 0 {
			return -1
		}
		at += quote
		slashes := 0
		for b[at-1-slashes] == '\\' {
			slashes++ // ends at the opening quote
		}
		at++
		if slashes%2 == 0 {
			return at
		}
	}
	return -1
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

// textBytes is the length of the text in a raw string, 0 for anything else.
func textBytes(raw []byte) int {
	if !isKind(raw, '"') || len(raw) < 2 {
		return 0
	}
	inner := raw[1 : len(raw)-1]
	n := len(inner)
	for at := bytes.IndexByte(inner, '\\'); at >= 0 && at+1 < len(inner); {
		saved, step := 1, 2
		if inner[at+1] == 'u' {
			saved, step = 3, 6 // most such characters take 2 or 3 bytes
		}
		n -= saved
		inner = inner[min(at+step, len(inner)):]
		at = bytes.IndexByte(inner, '\\')
	}
	return max(n, 0)
}
