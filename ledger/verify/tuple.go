package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A tuple is a row in the binary format of COPY: a count of fields, then each
// with its length. It is valid until the next row is read.
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
type tuple []byte

// postgresEpoch is 2000-01-01 in µs since 1970.
const postgresEpoch = 946_684_800_000_000

var errTuple = errors.New("the database's COPY is not in the binary format")

// fields checks the count of fields and returns what is behind it.
func (t tuple) fields(want int) (tuple, error) {
	if len(t) < 2 || int(binary.BigEndian.Uint16(t)) != want {
		return nil, fmt.Errorf("%w: not %d fields", errTuple, want)
	}
	return t[2:], nil
}

// next takes the first field off; nil is NULL.
func (t *tuple) next() ([]byte, error) {
	if len(*t) < 4 {
		return nil, errTuple
	}
	n := int(int32(binary.BigEndian.Uint32(*t)))
	rest := (*t)[4:]
	if n < 0 {
		*t = rest
		return nil, nil
	}
	if n > len(rest) {
		return nil, errTuple
	}
	*t = rest[n:]
	return rest[:n:n], nil
}

// split fills fields with those of t, which must be as many.
func (t tuple) split(fields [][]byte) (err error) {
	for i := range fields {
		if fields[i], err = t.next(); err != nil {
			return err
		}
	}
	if len(t) > 0 {
		return errTuple
	}
	return nil
}

// int64Of reads an index; one that is NULL or no bigint is NoIndex.
func int64Of(field []byte) int64 {
	if len(field) != 8 {
		return NoIndex
	}
	return int64(binary.BigEndian.Uint64(field))
}

// timeOf reads a timestamptz, zero if it is none.
func timeOf(field []byte) time.Time {
	if len(field) != 8 {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(field)) + postgresEpoch).UTC()
}

// uuidOf reads a uuid, zero if it is none.
func uuidOf(field []byte) (id [16]byte) {
	if len(field) == len(id) {
		copy(id[:], field)
	}
	return id
}

// copyHeader begins the binary format; flags and the length of an extension
// follow.
var copyHeader = []byte("PGCOPY\n\xff\r\n\x00")

const copyHeaderLen = 11 + 4 + 4

// A copySink takes the messages of a COPY TO STDOUT: the server sends a row in
// each, the first behind the header.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
type copySink struct {
	row     func(tuple) error
	begun   bool
	stopped error
}

// Write takes a message. It never fails, which would cost the connection: after
// an error of row the rest is passed over.
func (s *copySink) Write(message []byte) (int, error) {
	if s.stopped == nil {
		s.stopped = s.take(message)
	}
	return len(message), nil
}

func (s *copySink) take(message []byte) error {
	if !s.begun {
		if len(message) < copyHeaderLen || !bytes.HasPrefix(message, copyHeader) {
			return errTuple
		}
		s.begun, message = true, message[copyHeaderLen:]
	}
	if len(message) == 0 || (len(message) == 2 && message[0] == 0xff && message[1] == 0xff) {
		return nil
	}
	return s.row(message)
}

// copyTo runs a COPY of this query and gives each row to take.
func copyTo(ctx context.Context, conn *pgconn.PgConn, query string, take func(tuple) error) error {
	sink := &copySink{row: take}
	if _, err := conn.CopyTo(ctx, sink, "COPY ("+query+") TO STDOUT (FORMAT binary)"); err != nil {
		return err
	}
	return sink.stopped
}
