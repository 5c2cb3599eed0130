package verify

import (
	"bytes"
	"encoding/binary"
)

// A matcher holds the columns of a row against the JSON that they were made from,
// as it is read and without an event in between. It is bad if anything is in the
// way; a match is one only if every column was asked for.
type matcher struct {
	scanner
	fields [][]byte // the row's, at most 64
	seen   uint64   // bit n: fields[n] was asked for
}

// start begins with a row and the JSON of one of its parts.
func (m *matcher) start(fields [][]byte) { m.fields, m.seen, m.bad = fields, 0, false }

// part begins with the JSON of another part.
func (m *matcher) part(json []byte) { m.rest, m.first = json, false }

// partEnds sees to it that nothing is left of it.
func (m *matcher) partEnds() {
	if len(m.rest) > 0 {
		m.bad = true
	}
}

// all reports whether every column is what it must be.
func (m *matcher) all() bool { return !m.bad && m.seen == 1<<len(m.fields)-1 }

func (m *matcher) column(c int) []byte {
	m.seen |= 1 << c
	return m.fields[c]
}

func (m *matcher) is(c int, value []byte) {
	if field := m.column(c); field == nil || !bytes.Equal(field, value) {
		m.bad = true
	}
}

func (m *matcher) null(c int) {
	if m.column(c) != nil {
		m.bad = true
	}
}

func (m *matcher) isInt64(c int, n int64) {
	if field := m.column(c); len(field) != 8 || int64(binary.BigEndian.Uint64(field)) != n {
		m.bad = true
	}
}

func (m *matcher) isInt16(c int, n int64) {
	if field := m.column(c); len(field) != 2 || int64(int16(binary.BigEndian.Uint16(field))) != n {
		m.bad = true
	}
}

func (m *matcher) isBool(c int, b bool) {
	if field := m.column(c); len(field) != 1 || field[0] > 1 || (field[0] == 1) != b {
		m.bad = true
	}
}

// isText takes a text as columns hold it: NULL if it is empty.
func (m *matcher) isText(c int, text []byte) {
	if len(text) == 0 {
		m.null(c)
		return
	}
	m.is(c, text)
}

// text reads a string that may be absent.
func (m *matcher) text(c int, name string) {
	if !m.member(name) {
		m.null(c)
		return
	}
	m.isText(c, m.str())
}

func (m *matcher) needText(c int, name string) {
	m.need(name)
	m.isText(c, m.str())
}

func (m *matcher) uuid(c int, name string) {
	if !m.member(name) {
		m.null(c)
		return
	}
	id := m.id()
	m.is(c, id[:])
}

func (m *matcher) needUUID(c int, name string) {
	m.need(name)
	id := m.id()
	m.is(c, id[:])
}

func (m *matcher) when(c int, name string) {
	if !m.member(name) {
		m.null(c)
		return
	}
	m.isInt64(c, m.time())
}

// positive reads a number that is absent if it is 0.
func (m *matcher) positive(c int, name string) {
	if !m.member(name) {
		m.null(c)
		return
	}
	n := m.integer()
	if n == 0 {
		m.bad = true
	}
	m.isInt64(c, n)
}

// numericLen is the length of a numeric of up to 15 digits at most: four words
// and five digits of base 10000.
const numericLen = 2 * (4 + 5)

// decimal reads an amount and compares it in the wire format of numeric; see
// db.AppendNumeric. It returns the amount's digits.
func (m *matcher) decimal(c int) uint64 {
	const base = 10_000
	all, scale := m.amount()
	n, shown := all, scale
	for ; scale%4 != 0; scale++ {
		n *= 10
	}
	var digits [5]uint16 // least first
	count, skipped := 0, 0
	for ; n > 0; n /= base {
		if digit := uint16(n % base); digit == 0 && count == 0 {
			skipped++
		} else {
			digits[count] = digit
			count++
		}
	}
	weight := 0
	if count > 0 {
		weight = count + skipped - 1 - scale/4
	}
	wire := make([]byte, 0, numericLen)
	for _, word := range [...]int{count, weight, 0, shown} {
		wire = binary.BigEndian.AppendUint16(wire, uint16(word))
	}
	for i := count - 1; i >= 0; i-- {
		wire = binary.BigEndian.AppendUint16(wire, digits[i])
	}
	m.is(c, wire)
	return all
}

// price reads an amount with its currency and version, in three columns that
// follow each other.
func (m *matcher) price(c int, name string) {
	m.need(name)
	m.open()
	m.need("amount")
	m.decimal(c)
	m.needText(c+1, "currency")
	m.uuid(c+2, "price")
	m.close()
}

// texts reads a list of strings that is absent if it is empty, and compares it
// with an array.
func (m *matcher) texts(c int, name string) {
	if !m.member(name) {
		m.null(c)
		return
	}
	const head = 5 * 4 // dimensions, has NULLs, of type, length, first index
	field := tuple(m.column(c))
	if m.literal(`[`); m.bad || len(field) < head {
		m.bad = true
		return
	}
	rest, count := field[head:], uint32(0)
	for !m.bad {
		text, err := rest.next()
		if err != nil || text == nil || !bytes.Equal(text, m.str()) {
			m.bad = true
		}
		if count++; m.has(`]`) {
			break
		}
		m.literal(`,`)
	}
	const textOID = 25
	for i, word := range [...]uint32{1, 0, textOID, count, 1} {
		if binary.BigEndian.Uint32(field[4*i:]) != word {
			m.bad = true
		}
	}
	if len(rest) > 0 {
		m.bad = true
	}
}
