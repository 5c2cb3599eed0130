// Package row turns an event into the rows that SQL sees: the fields of
// ledger.events and ledger.erasable in the binary format of COPY.
//
// Append writes them, verify compares them with what is stored. It promises that
//   - an event has one row: the same event gives the same bytes, always;
//   - COPY … TO STDOUT (FORMAT binary) of a stored row gives these bytes back, so
//     that whoever compares them compares every column;
//   - an event that can't be read back is refused here, before it is written.
//
// It does no I/O and keeps nothing: there is nothing that a crash could leave.
package row

import (
	"errors"
	"fmt"
	"math"
	"time"

	"manti/domain"
)

// ErrMislabelled: the id or kind of a record isn't that of the event in it.
var ErrMislabelled = errors.New("id or kind of the record is not that of the event in it")

// A Row is an event with all that its columns hold but for the place that it
// gets. It is valid until its Arena is reset.
type Row struct {
	Encoded domain.Encoded
	// Canonical is what the leaf is made of.
	Canonical []byte
	// Supersedes, Spool and Epoch are the event's, zero if it has none.
	Supersedes domain.EventID
	Spool      domain.SpoolID
	Epoch      uint64
	// Nth is the caller's own number for it.
	Nth int

	event    []byte // fields of ledger.events after index, recorded_at and leaf
	erasable []byte // fields of ledger.erasable after index; nil if there are none
}

// An Arena is the memory of rows. Its zero value is ready.
type Arena struct{ events, erasable tuple }

// Reset takes the memory of all its rows back.
func (a *Arena) Reset() { a.events, a.erasable = a.events[:0], a.erasable[:0] }

// New decodes the event, for its columns and to be sure that whoever reads it
// later can. An error is about this event alone; the row then has its Encoded
// and what else could be read.
func New(enc domain.Encoded, mem *Arena) (Row, error) { return build(Row{Encoded: enc}, mem) }

// Stored is New for an event that is in the ledger already, with its canonical
// bytes as they are stored. Parts that enc lacks, because they were erased or
// may not be seen, leave their columns NULL. It doesn't compare the bytes with
// the parts.
func Stored(enc domain.Encoded, canonical []byte, mem *Arena) (Row, error) {
	return build(Row{Encoded: enc, Canonical: canonical}, mem)
}

func build(r Row, mem *Arena) (Row, error) {
	event, err := domain.DecodeFast(r.Encoded)
	if err != nil {
		return r, err
	}
	if event.ID != r.Encoded.ID || event.ID.IsZero() || event.Body.Kind() != r.Encoded.Kind {
		return r, ErrMislabelled
	}
	c := columnsOf(event)
	r.Supersedes, r.Spool, r.Epoch = c.call.Supersedes, c.call.Private.Spool, c.call.Private.Epoch
	if c.call.Status < math.MinInt16 || c.call.Status > math.MaxInt16 {
		return r, fmt.Errorf("status %d", c.call.Status)
	}
	if err := encodeEvent(&r, &c, &mem.events); err != nil {
		return r, err
	}
	if r.Encoded.Erasable != nil {
		encodeErasable(&r, &c, &mem.erasable)
	}
	return r, nil
}

// HasErasable reports whether the event has a row in ledger.erasable.
func (r *Row) HasErasable() bool { return r.erasable != nil }

// AppendEvent appends the fields of EventColumns, each with its length, without
// the count of fields that begins a row of COPY.
func (r *Row) AppendEvent(b []byte, index int64, recordedAt time.Time) []byte {
	return append(appendEventPlace(b, index, recordedAt, r.Canonical), r.event...)
}

// AppendErasable appends the fields of ErasableColumns like AppendEvent; nothing
// if the event has none.
func (r *Row) AppendErasable(b []byte, index int64) []byte {
	if r.erasable == nil {
		return b
	}
	t := tuple(b)
	t.int64(index)
	return append(t, r.erasable...)
}

// appendEventPlace appends the first fields of ledger.events, those that follow
// from the place.
func appendEventPlace(b []byte, index int64, recordedAt time.Time, canonical []byte) []byte {
	leaf := domain.LeafHash(recordedAt, canonical)
	t := tuple(b)
	t.int64(index)
	t.time(recordedAt)
	t.bytes(leaf[:])
	return t
}
