package verify

import (
	"time"

	"manti/domain"
)

// A scanner reads JSON as domain.Encode writes it: members in their order, no
// white space, strings of plain ASCII. After the first surprise it is bad and
// what it gives means nothing; bad says nothing about the JSON but that it must be
// read by others. What isn't bad, domain.Decode reads too, to the same effect.
type scanner struct {
	rest  []byte
	first bool // nothing of the current object has been read
	bad   bool

	// minute is the begin of the last time that was read, up to its seconds, and
	// minuteAt what it means, in µs since 2000: times of a call are close together.
	minute   [minuteLen]byte
	minuteAt int64
}

// has reads the text if it comes next.
func (s *scanner) has(text string) bool {
	if s.bad || len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

func (s *scanner) literal(text string) {
	if !s.has(text) {
		s.bad = true
	}
}

func (s *scanner) open()  { s.literal(`{`); s.first = true }
func (s *scanner) close() { s.literal(`}`); s.first = false }

// member reads the member's name, if it comes next.
func (s *scanner) member(name string) bool {
	at := 1
	if s.first {
		at = 0
	}
	end, rest := at+len(name)+3, s.rest
	if s.bad || len(rest) < end || rest[at] != '"' || rest[end-2] != '"' || rest[end-1] != ':' || at == 1 && rest[0] != ',' || string(rest[at+1:end-2]) != name {
		return false
	}
	s.rest, s.first = rest[end:], false
	return true
}

func (s *scanner) need(name string) {
	if !s.member(name) {
		s.bad = true
	}
}

// str reads a string of plain ASCII.
func (s *scanner) str() []byte {
	if s.bad || len(s.rest) < 2 || s.rest[0] != '"' {
		s.bad = true
		return nil
	}
	text := s.rest[1:]
	for i, c := range text {
		switch {
		case c == '"':
			s.rest = text[i+1:]
			return text[:i]
		case c == '\\' || c-' ' > '~'-' ':
			s.bad = true
			return nil
		}
	}
	s.bad = true
	return nil
}

// integer reads a number from 0 to 10^18 - 1.
func (s *scanner) integer() int64 {
	n, digits := int64(0), 0
	for digits < len(s.rest) && s.rest[digits]-'0' <= 9 && digits <= 18 {
		n = n*10 + int64(s.rest[digits]-'0')
		digits++
	}
	if s.bad || digits == 0 || digits > 18 || digits > 1 && s.rest[0] == '0' {
		s.bad = true
		return 0
	}
	s.rest = s.rest[digits:]
	return n
}

// amount reads an exact number of up to 15 digits in a string: n / 10^scale.
func (s *scanner) amount() (n uint64, scale int) {
	const most = 15
	text := s.str()
	point := len(text) - 1
	for i, c := range text {
		switch {
		case c-'0' <= 9:
			n = n*10 + uint64(c-'0')
		case c == '.' && point == len(text)-1 && i > 0 && i < len(text)-1:
			point = i
		default:
			s.bad = true
		}
	}
	if len(text) == 0 || len(text) > most {
		s.bad = true
	}
	return n, len(text) - 1 - point
}

// id reads a UUID in its lower-case form; zero is a surprise.
func (s *scanner) id() (id [16]byte) {
	const length = 38 // with its quotes
	t := s.rest
	if s.bad || len(t) < length || t[0] != '"' || t[9] != '-' || t[14] != '-' || t[19] != '-' || t[24] != '-' || t[37] != '"' {
		s.bad = true
		return id
	}
	at, wrong := 1, byte(0)
	for i := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			at++
		}
		high, low := hexValue(t[at]), hexValue(t[at+1])
		id[i] = high<<4 | low
		wrong |= (t[at] ^ hexDigits[high]) | (t[at+1] ^ hexDigits[low])
		at += 2
	}
	s.bad = wrong != 0 || id == [16]byte{}
	s.rest = t[length:]
	return id
}

const hexDigits = "0123456789abcdef"

// hexValue is the value of a lower-case digit, and of other bytes that of some
// digit: without a branch, which would be a guess at every digit of an id.
func hexValue(c byte) byte { return (c&15 + c>>6*9) & 15 }

// minuteLen is the length of 2006-01-02T15:04: before the seconds of a time.
const minuteLen = 17

// time reads a time in UTC, in whole microseconds, and returns it in µs since 2000.
func (s *scanner) time() int64 {
	const whole, longest = len("2006-01-02T15:04:05Z"), len("2006-01-02T15:04:05.999999Z")
	t := s.str()
	if len(t) < whole || len(t) > longest || t[len(t)-1] != 'Z' {
		s.bad = true
		return 0
	}
	if string(t[:minuteLen]) != string(s.minute[:]) && !s.newMinute(t) {
		s.bad = true
		return 0
	}
	high, low := t[minuteLen]-'0', t[minuteLen+1]-'0'
	if high > 5 || low > 9 {
		s.bad = true
	}
	at := s.minuteAt + (int64(high)*10+int64(low))*1_000_000
	if len(t) == whole {
		return at
	}
	if t[whole-1] != '.' || len(t) == whole+1 {
		s.bad = true
	}
	unit := int64(100_000)
	for _, c := range t[whole : len(t)-1] {
		if c-'0' > 9 {
			s.bad = true
		}
		at += int64(c-'0') * unit
		unit /= 10
	}
	return at
}

// newMinute reads the begin of a time; year 1 is a surprise.
func (s *scanner) newMinute(t []byte) bool {
	parsed, err := time.Parse(time.RFC3339, string(t[:minuteLen])+"00Z")
	if err != nil || t[minuteLen-4] != ':' || t[minuteLen-1] != ':' || parsed.Year() <= 1 {
		return false
	}
	copy(s.minute[:], t)
	s.minuteAt = parsed.UnixMicro() - postgresEpoch
	return true
}

func (s *scanner) boolean() bool {
	if s.has(`true`) {
		return true
	}
	s.literal(`false`)
	return false
}

// list reads an array of at least one element.
func (s *scanner) list(element func()) {
	s.literal(`[`)
	for !s.bad {
		element()
		if s.has(`]`) {
			return
		}
		s.literal(`,`)
	}
}

func (s *scanner) skipText(name string) {
	if s.member(name) {
		s.str()
	}
}

func (s *scanner) skipID(name string) {
	if s.member(name) {
		s.id()
	}
}

func (s *scanner) skipTime(name string) {
	if s.member(name) {
		s.time()
	}
}

// usage reads meters in their order.
func (s *scanner) usage() {
	s.open()
	for meter := range domain.Meter(domain.MeterCount) {
		if s.member(meter.String()) {
			s.integer()
		}
	}
	s.close()
}

// maxDepth is how deeply values that aren't ours may be nested here.
const maxDepth = 16

// object reads an object of anything.
func (s *scanner) object() {
	if len(s.rest) == 0 || s.rest[0] != '{' {
		s.bad = true
	}
	s.value(maxDepth)
}

// value reads any value of whole numbers, words and strings, to know that it is
// one.
func (s *scanner) value(depth int) {
	if s.bad || len(s.rest) == 0 || depth == 0 {
		s.bad = true
		return
	}
	switch s.rest[0] {
	case '{':
		s.values(depth, '}')
	case '[':
		s.values(depth, ']')
	case '"':
		s.str()
	case 't':
		s.literal(`true`)
	case 'f':
		s.literal(`false`)
	case 'n':
		s.literal(`null`)
	default:
		s.integer()
	}
}

// values reads the object or array that ends with this bracket.
func (s *scanner) values(depth int, end byte) {
	s.rest = s.rest[1:]
	for first := true; !s.bad; first = false {
		if len(s.rest) > 0 && s.rest[0] == end && first {
			break
		}
		if end == '}' {
			s.str()
			s.literal(`:`)
		}
		s.value(depth - 1)
		if len(s.rest) > 0 && s.rest[0] == end {
			break
		}
		s.literal(`,`)
	}
	if !s.bad {
		s.rest = s.rest[1:]
	}
}
