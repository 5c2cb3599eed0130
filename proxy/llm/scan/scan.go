// Package scan reads a few members out of a JSON object without building its
// tree: a relay must know a request's model and whether it streams, and a
// request may be megabytes long.
//
// It promises that a document it accepts is JSON by RFC 8259 from its first to
// its last byte, nested at most MaxDepth deep, and that no member asked for
// stands in it twice: another reader of the same bytes can't see a different
// value. Like encoding/json it accepts bytes inside strings that aren't UTF-8;
// decoding replaces them by U+FFFD. Nothing here panics on any input, keeps
// state or allocates, but for decoded strings and errors.
package scan

import (
	"bytes"
	"strconv"
)

// MaxDepth is how deep objects and arrays may nest. Providers accept far less;
// the limit keeps the stack of the scanner small.
const MaxDepth = 512

// Span is the bytes [From,To) of a document. The zero Span stands for a member
// that is absent: nothing inside an object begins at 0.
type Span struct{ From, To int }

// Found reports whether the member is there.
func (s Span) Found() bool { return s.To > 0 }

// Of is the span's bytes in doc, nil if the member is absent.
func (s Span) Of(doc []byte) []byte {
	if !s.Found() {
		return nil
	}
	return doc[s.From:s.To:s.To]
}

// Member is a member to look for, and where its value was found.
type Member struct {
	Key string
	// Value spans the raw value: quotes, braces or brackets included.
	Value Span
}

// Shape is what else Object says of a document.
type Shape struct {
	// Open is the offset just after the object's opening brace: where a member
	// can be inserted, followed by a comma unless Empty.
	Open int
	// Empty says that the object has no member.
	Empty bool
}

// Error is why a document was refused. It quotes nothing of the document but
// the name of a wanted member.
type Error struct {
	// Offset is the byte at fault.
	Offset int
	// Key is the wanted member that stands twice, "" for any other reason.
	Key string
	// Reason is for the caller, as in "expected a value".
	Reason string
}

// Error says what is wrong and where.
func (e *Error) Error() string {
	if e.Key != "" {
		return "the member " + strconv.Quote(e.Key) + " stands twice, again at byte " + strconv.Itoa(e.Offset)
	}
	return "invalid JSON at byte " + strconv.Itoa(e.Offset) + ": " + e.Reason
}

// Object reads doc, which must be one JSON object, to its end, and fills in the
// Value of each wanted member (the zero Span if absent). Keys are compared
// after unescaping, byte by byte. Only the outermost object is searched. The
// error is an *Error; then the values found mean nothing.
func Object(doc []byte, want []Member) (Shape, error) {
	for i := range want {
		want[i].Value = Span{}
	}
	s := scanner{doc: doc}
	start := s.space(0)
	if start == len(doc) || doc[start] != '{' {
		return Shape{}, &Error{Offset: start, Reason: "expected an object"}
	}
	end := s.object(start, 1, want)
	if end >= 0 {
		if end = s.space(end); end < len(doc) {
			end = s.fail(end, "unexpected bytes after the document")
		}
	}
	if end < 0 {
		return Shape{}, s.err
	}
	first := s.space(start + 1)
	return Shape{Open: start + 1, Empty: doc[first] == '}'}, nil
}

// Valid reports whether doc is one JSON value, of any kind, and nothing else
// but space; nil means that it is. The error is an *Error.
func Valid(doc []byte) error {
	s := scanner{doc: doc}
	end := s.value(s.space(0), 1)
	if end >= 0 {
		if end = s.space(end); end < len(doc) {
			end = s.fail(end, "unexpected bytes after the document")
		}
	}
	if end < 0 {
		return s.err
	}
	return nil
}

// Get is the raw value of one member of the object doc, nil if it is absent,
// if it stands twice, or if doc isn't a JSON object.
func Get(doc []byte, key string) []byte {
	want := [1]Member{{Key: key}}
	if _, err := Object(doc, want[:]); err != nil {
		return nil
	}
	return want[0].Value.Of(doc)
}

// wanted finds the member that raw, a key with its quotes, names.
func wanted(want []Member, raw []byte) *Member {
	if len(want) == 0 {
		return nil
	}
	key := raw[1 : len(raw)-1]
	if bytes.IndexByte(key, '\\') >= 0 {
		return wantedEscaped(want, raw)
	}
	for i := range want {
		if want[i].Key == string(key) {
			return &want[i]
		}
	}
	return nil
}

// wantedEscaped is wanted for a key with escapes in it.
func wantedEscaped(want []Member, raw []byte) *Member {
	key, _ := String(raw) // a scanned string always decodes
	for i := range want {
		if want[i].Key == key {
			return &want[i]
		}
	}
	return nil
}
