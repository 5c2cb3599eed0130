package row

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"manti/db"
)

// tuple is a row in the making, in the binary format of COPY, written by hand:
// with some sixty columns, finding out how each value is encoded would cost more
// than everything else that the client does for a batch. Nil, zero ids, zero
// times and empty texts become NULL.
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
type tuple []byte

// postgresEpoch is 2000-01-01 in µs since 1970.
const postgresEpoch = 946_684_800_000_000

func (t *tuple) null() { *t = append(*t, 0xff, 0xff, 0xff, 0xff) }

func (t *tuple) length(n int) { *t = binary.BigEndian.AppendUint32(*t, uint32(n)) }

// begin leaves room for the length of a field, which end fills.
func (t *tuple) begin() (field int) {
	t.length(0)
	return len(*t)
}

func (t *tuple) end(field int) { binary.BigEndian.PutUint32((*t)[field-4:], uint32(len(*t)-field)) }

func (t *tuple) int16(n int, some bool) {
	if !some {
		t.null()
		return
	}
	t.length(2)
	*t = binary.BigEndian.AppendUint16(*t, uint16(n))
}

func (t *tuple) int64(n int64) {
	t.length(8)
	*t = binary.BigEndian.AppendUint64(*t, uint64(n))
}

func (t *tuple) positive(n int64) {
	if n == 0 {
		t.null()
		return
	}
	t.int64(n)
}

func (t *tuple) boolean(b, some bool) {
	if !some {
		t.null()
		return
	}
	t.length(1)
	if b {
		*t = append(*t, 1)
		return
	}
	*t = append(*t, 0)
}

func (t *tuple) time(at time.Time) {
	if at.IsZero() {
		t.null()
		return
	}
	t.int64(at.UnixMicro() - postgresEpoch)
}

func (t *tuple) uuid(id [16]byte) {
	if id == [16]byte{} {
		t.null()
		return
	}
	t.length(16)
	*t = append(*t, id[:]...)
}

// text replaces U+0000, which Postgres can't hold, by U+FFFD.
func (t *tuple) text(s string) {
	if s == "" {
		t.null()
		return
	}
	s = withoutNUL(s)
	t.length(len(s))
	*t = append(*t, s...)
}

func (t *tuple) bytes(b []byte) {
	if b == nil {
		t.null()
		return
	}
	t.length(len(b))
	*t = append(*t, b...)
}

func (t *tuple) amount(d decimal.Decimal, some bool) (err error) {
	if !some {
		t.null()
		return nil
	}
	field := t.begin()
	*t, err = db.AppendNumeric(*t, d)
	t.end(field)
	return err
}

// texts is an array of one dimension.
func (t *tuple) texts(all []string) {
	if len(all) == 0 {
		t.null()
		return
	}
	const textOID = 25
	field := t.begin()
	for _, n := range [...]int{1, 0, textOID, len(all), 1} { // dimensions, has NULLs, of type, length, first index
		t.length(n)
	}
	for _, s := range all {
		s = withoutNUL(s)
		t.length(len(s))
		*t = append(*t, s...)
	}
	t.end(field)
}

// tags is a jsonb object behind the version of its format, in the form that
// Postgres gives it: shorter keys first, a space behind each colon and comma.
func (t *tuple) tags(tags map[string]string) {
	if len(tags) == 0 {
		t.null()
		return
	}
	clean := make(map[string]string, len(tags))
	for k, v := range tags {
		clean[withoutNUL(k)] = withoutNUL(v)
	}
	keys := slices.SortedFunc(maps.Keys(clean), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	field := t.begin()
	*t = append(*t, 1, '{')
	for i, k := range keys {
		if i > 0 {
			*t = append(*t, ", "...)
		}
		t.quoted(k)
		*t = append(*t, ": "...)
		t.quoted(clean[k])
	}
	*t = append(*t, '}')
	t.end(field)
}

// quoted is a JSON string, with escapes where Postgres writes them.
func (t *tuple) quoted(s string) {
	*t = append(*t, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			*t = append(*t, '\\', c)
		case c >= ' ':
			*t = append(*t, c)
		case strings.IndexByte("\b\f\n\r\t", c) >= 0:
			*t = append(*t, '\\', "bfnrt"[strings.IndexByte("\b\f\n\r\t", c)])
		default:
			*t = fmt.Appendf(*t, `\u%04x`, c)
		}
	}
	*t = append(*t, '"')
}

func withoutNUL(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", string(utf8.RuneError))
}
