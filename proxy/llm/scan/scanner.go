package scan

import (
	"encoding/binary"
	"math/bits"
)

// scanner walks a document. Its methods take the offset where something begins
// and return the offset after it, or -1 once err is set.
type scanner struct {
	doc []byte
	err *Error
}

// fail notes the first error.
func (s *scanner) fail(at int, reason string) int {
	if s.err == nil {
		s.err = &Error{Offset: at, Reason: reason}
	}
	return -1
}

// failEnd is fail for a document that ends too early.
func (s *scanner) failEnd() int { return s.fail(len(s.doc), "unexpected end") }

// space skips white space.
func (s *scanner) space(i int) int {
	for i < len(s.doc) {
		switch s.doc[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// value skips one value; depth counts the containers around and including it.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.doc) {
		return s.failEnd()
	}
	switch c := s.doc[i]; c {
	case '"':
		return s.str(i)
	case '{':
		return s.object(i, depth, nil)
	case '[':
		return s.array(i, depth)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		if c == '-' || isDigit(c) {
			return s.number(i)
		}
		return s.fail(i, "expected a value")
	}
}

// object skips the object that begins at i and notes the members wanted.
func (s *scanner) object(i, depth int, want []Member) int {
	if depth > MaxDepth {
		return s.fail(i, "nested too deep")
	}
	i = s.space(i + 1)
	if i < len(s.doc) && s.doc[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(s.doc) {
			return s.failEnd()
		}
		if s.doc[i] != '"' {
			return s.fail(i, "expected a member's name")
		}
		keyFrom := i
		if i = s.str(i); i < 0 {
			return -1
		}
		keyTo := i
		if i = s.space(i); i >= len(s.doc) {
			return s.failEnd()
		}
		if s.doc[i] != ':' {
			return s.fail(i, "expected a colon")
		}
		from := s.space(i + 1)
		if i = s.value(from, depth+1); i < 0 {
			return -1
		}
		if m := wanted(want, s.doc[keyFrom:keyTo]); m != nil {
			if m.Value.Found() {
				s.err = &Error{Offset: keyFrom, Key: m.Key, Reason: "duplicate member"}
				return -1
			}
			m.Value = Span{from, i}
		}
		next, more := s.separator(i, '}')
		if !more {
			return next
		}
		i = next
	}
}

// array skips the array that begins at i.
func (s *scanner) array(i, depth int) int {
	if depth > MaxDepth {
		return s.fail(i, "nested too deep")
	}
	i = s.space(i + 1)
	if i < len(s.doc) && s.doc[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth+1); i < 0 {
			return -1
		}
		next, more := s.separator(i, ']')
		if !more {
			return next
		}
		i = next
	}
}

// separator skips what stands after a member or element: a comma, and then
// more is true, or the closing mark.
func (s *scanner) separator(i int, closing byte) (next int, more bool) {
	if i = s.space(i); i >= len(s.doc) {
		return s.failEnd(), false
	}
	switch s.doc[i] {
	case ',':
		return s.space(i + 1), true
	case closing:
		return i + 1, false
	}
	return s.fail(i, "expected a comma or the end"), false
}

// literal skips true, false or null.
func (s *scanner) literal(i int, word string) int {
	if len(s.doc)-i < len(word) || string(s.doc[i:i+len(word)]) != word {
		return s.fail(i, "expected a value")
	}
	return i + len(word)
}

// number skips a number by the grammar of RFC 8259 §6.
func (s *scanner) number(i int) int {
	if s.doc[i] == '-' {
		i++
	}
	if i < len(s.doc) && s.doc[i] == '0' {
		i++
	} else if i = s.digits(i); i < 0 {
		return -1
	}
	if i < len(s.doc) && s.doc[i] == '.' {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(s.doc) && (s.doc[i] == 'e' || s.doc[i] == 'E') {
		if i++; i < len(s.doc) && (s.doc[i] == '+' || s.doc[i] == '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits skips at least one digit.
func (s *scanner) digits(i int) int {
	from := i
	for i < len(s.doc) && isDigit(s.doc[i]) {
		i++
	}
	if i == from {
		if i >= len(s.doc) {
			return s.failEnd()
		}
		return s.fail(i, "expected a digit")
	}
	return i
}

// str skips the string whose opening quote is at i.
func (s *scanner) str(i int) int {
	for i++; ; {
		i = plain(s.doc, i)
		if i >= len(s.doc) {
			return s.failEnd()
		}
		switch s.doc[i] {
		case '"':
			return i + 1
		case '\\':
			for i < len(s.doc) && s.doc[i] == '\\' { // they often come in rows
				if i = s.escape(i); i < 0 {
					return -1
				}
			}
		default:
			return s.fail(i, "control character in a string")
		}
	}
}

// escape skips the escape whose backslash is at i.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.doc) {
		return s.failEnd()
	}
	switch s.doc[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for k := i + 2; k < i+6; k++ {
			if k >= len(s.doc) {
				return s.failEnd()
			}
			if !isHex(s.doc[k]) {
				return s.fail(k, "expected a hexadecimal digit")
			}
		}
		return i + 6
	}
	return s.fail(i+1, "unknown escape")
}

// The lanes of a word of eight bytes.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, by its highest bit, each byte of w that ends a run of plain
// string bytes: a quote, a backslash or a control character. Marks above the
// lowest one may be false: a borrow runs upwards.
//
// Flipping bit 1 swaps '"' (0x22) with ' ' (0x20) and leaves the control
// characters among themselves, so one comparison with 0x21 finds both.
func special(w uint64) uint64 {
	low := (w ^ 0x02*ones) - 0x21*ones
	slash := (w ^ '\\'*ones) - ones
	return (low | slash) &^ w & highs
}

// plain is the offset of the first byte from i on that ends a run of plain
// string bytes, or len(doc). Most strings are short: the first words are
// looked at one by one, the rest in fours.
func plain(doc []byte, i int) int {
	for end := i + 16; i < end && len(doc)-i >= 8; i += 8 {
		if m := special(binary.LittleEndian.Uint64(doc[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; len(doc)-i >= 32; i += 32 {
		b := doc[i : i+32 : i+32]
		m0 := special(binary.LittleEndian.Uint64(b))
		m1 := special(binary.LittleEndian.Uint64(b[8:]))
		m2 := special(binary.LittleEndian.Uint64(b[16:]))
		m3 := special(binary.LittleEndian.Uint64(b[24:]))
		if m0|m1|m2|m3 != 0 {
			break
		}
	}
	for ; len(doc)-i >= 8; i += 8 {
		if m := special(binary.LittleEndian.Uint64(doc[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(doc); i++ {
		if c := doc[i]; c == '"' || c == '\\' || c < 0x20 {
			return i
		}
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
