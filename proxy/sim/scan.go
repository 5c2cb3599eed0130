package sim

import (
	"bytes"
	"errors"
)

// errJSON is returned for a body that is no JSON object.
var errJSON = errors.New("sim: the body is not a JSON object")

// members calls yield with the name and the value of each member of the JSON
// object, both as they stand there (names without their quotes). It checks the
// object's structure, not every scalar: it must be cheap for a megabyte.
func members(body []byte, yield func(name, value []byte)) error {
	at := skipSpace(body, 0)
	if at >= len(body) || body[at] != '{' {
		return errJSON
	}
	at = skipSpace(body, at+1)
	if at < len(body) && body[at] == '}' {
		return onlySpace(body, at+1)
	}
	for {
		nameEnd := skipString(body, at)
		if nameEnd < 0 {
			return errJSON
		}
		colon := skipSpace(body, nameEnd)
		if colon >= len(body) || body[colon] != ':' {
			return errJSON
		}
		from := skipSpace(body, colon+1)
		to := skipValue(body, from)
		if to < 0 {
			return errJSON
		}
		yield(body[at+1:nameEnd-1], body[from:to])
		at = skipSpace(body, to)
		switch {
		case at < len(body) && body[at] == ',':
			at = skipSpace(body, at+1)
		case at < len(body) && body[at] == '}':
			return onlySpace(body, at+1)
		default:
			return errJSON
		}
	}
}

func skipSpace(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\n' || b[at] == '\r' || b[at] == '\t') {
		at++
	}
	return at
}

func onlySpace(b []byte, at int) error {
	if skipSpace(b, at) != len(b) {
		return errJSON
	}
	return nil
}

// skipString returns the index behind the string that begins at at, or -1.
func skipString(b []byte, at int) int {
	if at >= len(b) || b[at] != '"' {
		return -1
	}
	for at++; at < len(b); {
		quote := bytes.IndexByte(b[at:], '"')
		if quote < 0 {
			return -1
		}
		slashes := 0
		for i := at + quote - 1; i >= at && b[i] == '\\'; i-- {
			slashes++
		}
		at += quote + 1
		if slashes%2 == 0 {
			return at
		}
	}
	return -1
}

// skipValue returns the index behind the value that begins at at, or -1.
func skipValue(b []byte, at int) int {
	if at >= len(b) {
		return -1
	}
	switch b[at] {
	case '"':
		return skipString(b, at)
	case '{', '[':
		return skipNested(b, at)
	}
	from := at
	for at < len(b) && isScalar(b[at]) {
		at++
	}
	if at == from {
		return -1
	}
	return at
}

func isScalar(c byte) bool {
	return c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// skipNested returns the index behind the object or array that begins at at,
// by counting brackets of either kind.
func skipNested(b []byte, at int) int {
	depth := 0
	for at < len(b) {
		switch b[at] {
		case '"':
			if at = skipString(b, at); at < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return at + 1
			}
		}
		at++
	}
	return -1
}
