package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// The binary format of COPY, written by hand: with some sixty columns, finding
// out how each value is encoded would cost more than everything else that the
// client does for a batch.
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4

const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// copyTrailer ends the data.
var copyTrailer = []byte{0xff, 0xff}

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

// copyIn sends rows in the binary format.
func copyIn(ctx context.Context, tx pgx.Tx, statement string, rows []byte) error {
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(rows), statement); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}
