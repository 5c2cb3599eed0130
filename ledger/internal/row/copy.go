package row

import (
	"encoding/binary"
	"io"
	"slices"
	"time"
)

// Statements that take what the readers of this package give.
const (
	CopyIDs      = `COPY ledger.ids (` + IDColumns + `) FROM STDIN (FORMAT binary)`
	CopyEvents   = `COPY ledger.events (` + EventColumns + `) FROM STDIN (FORMAT binary)`
	CopyErasable = `COPY ledger.erasable (` + ErasableColumns + `) FROM STDIN (FORMAT binary)`
)

// IDs is the data of CopyIDs for rows whose first gets this index.
func IDs(rows []Row, first int64) io.Reader {
	i := -1
	return newReader(idFields, func(t tuple) (tuple, []byte, bool) {
		if i++; i == len(rows) {
			return nil, nil, false
		}
		t.uuid(rows[i].Encoded.ID)
		t.int64(first + int64(i))
		return t, nil, true
	})
}

// Events is the data of CopyEvents for rows of which the first gets this index
// and all are recorded at once.
func Events(rows []Row, first int64, recordedAt time.Time) io.Reader {
	i := -1
	return newReader(eventFields, func(t tuple) (tuple, []byte, bool) {
		if i++; i == len(rows) {
			return nil, nil, false
		}
		return appendEventPlace(t, first+int64(i), recordedAt, rows[i].Canonical), rows[i].event, true
	})
}

// Erasable is the data of CopyErasable for rows whose first gets this index;
// nil if none of them has any.
func Erasable(rows []Row, first int64) io.Reader {
	if !slices.ContainsFunc(rows, func(r Row) bool { return r.erasable != nil }) {
		return nil
	}
	i := -1
	return newReader(erasableFields, func(t tuple) (tuple, []byte, bool) {
		for i++; i < len(rows) && rows[i].erasable == nil; i++ {
		}
		if i == len(rows) {
			return nil, nil, false
		}
		t.int64(first + int64(i))
		return t, rows[i].erasable, true
	})
}

const (
	// copyHeader is the signature, flags and the length of an extension.
	copyHeader  = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	copyTrailer = "\xff\xff"
)

// A reader is the data of a COPY: rows of which the last fields are ready and
// the first depend on the place that the row gets.
type reader struct {
	fields int // per row
	// next appends the first fields of the next row to t and returns them with
	// the last; false after the last row.
	next func(t tuple) (first tuple, last []byte, ok bool)

	first, rest tuple // of the row that is being read
	last        []byte
	ended       bool
}

func newReader(fields int, next func(tuple) (tuple, []byte, bool)) *reader {
	return &reader{fields: fields, next: next, rest: tuple(copyHeader)}
}

// Read fills p as far as there is data: each Read is a message to the server.
func (c *reader) Read(p []byte) (n int, err error) {
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
func (c *reader) advance() bool {
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
