package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
)

// The binary format of COPY, written by hand: with some sixty columns, finding
// out how each value is encoded would cost more than everything else that the
// client does for a batch.
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4

const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// copyTrailer ends the data.
const copyTrailer = "\xff\xff"

// postgresEpoch is 2000-01-01 in µs since 1970.
const postgresEpoch = 946_684_800_000_000

// tuple is a row in the making. Its fields are in the order of the statement's
// columns; nil, zero ids, zero times and empty texts become NULL.
type tuple []byte

func (t *tuple) null() { *t = append(*t, 0xff, 0xff, 0xff, 0xff) }

func (t *tuple) length(n int) { *t = binary.BigEndian.AppendUint32(*t, uint32(n)) }

func (t *tuple) int16(n int) {
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

func (t *tuple) boolean(b bool) {
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

// texts is an array of one dimension.
func (t *tuple) texts(all []string) {
	if len(all) == 0 {
		t.null()
		return
	}
	const textOID = 25
	at := len(*t)
	t.length(0)
	for _, n := range [5]int{1, 0, textOID, len(all), 1} { // dimensions, has NULLs, of type, length, first index
		t.length(n)
	}
	for _, s := range all {
		s = withoutNUL(s)
		t.length(len(s))
		*t = append(*t, s...)
	}
	t.fixLength(at)
}

// fixLength writes the length of the field that began at this place.
func (t *tuple) fixLength(at int) { binary.BigEndian.PutUint32((*t)[at:], uint32(len(*t)-at-4)) }

// jsonb is a JSON text, behind the version of its format.
func (t *tuple) jsonb(json []byte) {
	if json == nil {
		t.null()
		return
	}
	t.length(len(json) + 1)
	*t = append(*t, 1)
	*t = append(*t, json...)
}

// smallint reports whether n fits.
func smallint(n int) bool { return n >= math.MinInt16 && n <= math.MaxInt16 }

// canonical writes the event's canonical bytes and returns where they begin.
func (t *tuple) canonical(enc domain.Encoded) int {
	t.length(len(enc.Public) + 2*domain.HashSize)
	begin := len(*t)
	*t = enc.AppendCanonical(*t)
	return begin
}

// A copyReader is the data of a COPY: rows of which the last fields are ready and
// the first depend on the place that the row gets.
type copyReader struct {
	fields int // per row
	// next appends the first fields of the next row to t and returns them with
	// the last; false after the last row.
	next func(t tuple) (first tuple, last []byte, ok bool)

	first, rest tuple // of the row that is being read
	last        []byte
	ended       bool
}

func newCopyReader(fields int, next func(tuple) (tuple, []byte, bool)) *copyReader {
	return &copyReader{fields: fields, next: next, rest: tuple(copyHeader)}
}

// Read fills p as far as there is data: each Read is a message to the server.
func (c *copyReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(c.rest) == 0 {
			c.rest, c.last = c.last, nil
		}
		if len(c.rest) == 0 && !c.advance() {
			break
		}
		moved := copy(p[n:], c.rest)
		n, c.rest = n+moved, c.rest[moved:]
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// advance goes to the next row, or to the trailer behind the last.
func (c *copyReader) advance() bool {
	if c.ended {
		return false
	}
	first, last, ok := c.next(binary.BigEndian.AppendUint16(c.first[:0], uint16(c.fields)))
	if !ok {
		c.ended, c.rest = true, tuple(copyTrailer)
		return true
	}
	c.first, c.rest, c.last = first, first, last
	return true
}

// copyIn sends rows in the binary format.
func copyIn(ctx context.Context, tx pgx.Tx, statement string, rows *copyReader) error {
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, rows, statement); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}
