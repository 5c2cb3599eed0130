package scan

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The decoders take a raw value as Object finds it. They don't validate again
// what was scanned, but are safe on anything.

// IsNull reports whether raw is null or absent (empty).
func IsNull(raw []byte) bool { return len(raw) == 0 || string(raw) == "null" }

// Bool is the value of true or false; ok is false for anything else.
func Bool(raw []byte) (value, ok bool) {
	switch string(raw) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// String decodes a JSON string, quotes included, into valid UTF-8: bytes that
// aren't UTF-8 and lone surrogates become U+FFFD. ok is false if raw isn't a
// string.
func String(raw []byte) (value string, ok bool) {
	n := len(raw)
	if n < 2 || raw[0] != '"' || raw[n-1] != '"' {
		return "", false
	}
	inner := raw[1 : n-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), true
	}
	out, ok := AppendDecoded(nil, raw)
	return string(out), ok
}

// AppendDecoded appends the decoded string raw to dst, as String does. If raw
// isn't a string, dst comes back with nothing certain appended and ok false.
func AppendDecoded(dst, raw []byte) (out []byte, ok bool) {
	n := len(raw)
	if n < 2 || raw[0] != '"' || raw[n-1] != '"' {
		return dst, false
	}
	for in := raw[1 : n-1]; len(in) > 0; {
		switch c := in[0]; {
		case c == '\\':
			size := 0
			if dst, size = appendEscape(dst, in); size == 0 {
				return dst, false
			}
			in = in[size:]
		case c < utf8.RuneSelf:
			dst, in = append(dst, c), in[1:]
		default:
			r, size := utf8.DecodeRune(in)
			dst, in = utf8.AppendRune(dst, r), in[size:]
		}
	}
	return dst, true
}

// appendEscape appends what the escape at the beginning of in stands for and
// says how many bytes of in it took, 0 if it is none.
func appendEscape(dst, in []byte) (out []byte, size int) {
	if len(in) < 2 {
		return dst, 0
	}
	switch c := in[1]; c {
	case '"', '\\', '/':
		return append(dst, c), 2
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	}
	r, ok := unicodeEscape(in)
	if !ok {
		return dst, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := unicodeEscape(in[6:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return utf8.AppendRune(dst, pair), 12
			}
		}
		r = utf8.RuneError
	}
	return utf8.AppendRune(dst, r), 6
}

// unicodeEscape reads \uXXXX at the beginning of in.
func unicodeEscape(in []byte) (r rune, ok bool) {
	if len(in) < 6 || in[0] != '\\' || in[1] != 'u' {
		return 0, false
	}
	for _, c := range in[2:6] {
		r <<= 4
		switch {
		case isDigit(c):
			r |= rune(c - '0')
		case 'a' <= c && c <= 'f':
			r |= rune(c-'a') + 10
		case 'A' <= c && c <= 'F':
			r |= rune(c-'A') + 10
		default:
			return 0, false
		}
	}
	return r, true
}

// Int64 is the value of a JSON number that is a whole number in the range of
// int64, however it is written: 28, 28.0, 2.8e1. ok is false for anything else.
func Int64(raw []byte) (value int64, ok bool) {
	if len(raw) == 0 || raw[len(raw)-1] < '0' || raw[len(raw)-1] > '9' || raw[0] == '+' {
		return 0, false
	}
	if v, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return v, true
	}
	return wholeDecimal(raw)
}

// maxDigits is more digits than any int64 has.
const maxDigits = 19

// wholeDecimal is Int64 for numbers with a point or an exponent.
func wholeDecimal(raw []byte) (value int64, ok bool) {
	mantissa, exponent := raw, 0
	if e := bytes.IndexAny(raw, "eE"); e >= 0 {
		var err error
		if exponent, err = strconv.Atoi(string(raw[e+1:])); err != nil {
			return 0, false
		}
		mantissa = raw[:e]
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	fraction = bytes.TrimRight(fraction, "0")
	digits := append(append(make([]byte, 0, len(raw)+maxDigits), whole...), fraction...)
	zeros := exponent - len(fraction)
	for ; zeros < 0 && len(digits) > 1 && digits[len(digits)-1] == '0'; zeros++ {
		digits = digits[:len(digits)-1]
	}
	if string(digits) == "0" || string(digits) == "-0" {
		return 0, true
	}
	if zeros < 0 || zeros > maxDigits {
		return 0, false
	}
	for range zeros {
		digits = append(digits, '0')
	}
	v, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil { // out of range: v is the nearest bound
		return 0, false
	}
	return v, true
}
