package domain

import (
	"encoding/binary"
	"fmt"
)

// recordVersion is the first byte of a record.
const recordVersion = 1

// AppendRecord appends the event as one record, the form in which the spool
// keeps it:
//
//	byte     1, the record's version
//	byte     length of kind, then kind
//	16 bytes id
//	uvarint  length of the public part, then the part
//	uvarint  0 if there is no private part, else its length + 1, then 16 bytes of salt, then the part
//	uvarint  the same for the erasable part
func (e Encoded) AppendRecord(b []byte) []byte {
	b = append(b, recordVersion, byte(len(e.Kind)))
	b = append(b, e.Kind...)
	b = append(b, e.ID[:]...)
	b = binary.AppendUvarint(b, uint64(len(e.Public)))
	b = append(b, e.Public...)
	b = appendSalted(b, e.PrivateSalt, e.Private)
	return appendSalted(b, e.ErasableSalt, e.Erasable)
}

func appendSalted(b []byte, salt Salt, part []byte) []byte {
	if part == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(part))+1)
	b = append(b, salt[:]...)
	return append(b, part...)
}

// ParseRecord reads what AppendRecord wrote. The parts are slices of b.
func ParseRecord(b []byte) (Encoded, error) {
	r := recordReader{rest: b}
	if v := r.take(1); r.bad || v[0] != recordVersion {
		return Encoded{}, fmt.Errorf("%w: unknown record version", ErrEncoding)
	}
	var e Encoded
	if n := r.take(1); !r.bad {
		e.Kind = Kind(r.take(uint64(n[0])))
	}
	copy(e.ID[:], r.take(16))
	e.Public = r.take(r.uvarint())
	e.Private, e.PrivateSalt = r.salted()
	e.Erasable, e.ErasableSalt = r.salted()
	if r.bad || len(r.rest) > 0 {
		return Encoded{}, fmt.Errorf("%w: record of %d bytes", ErrEncoding, len(b))
	}
	return e, nil
}

// recordReader takes a record apart; after the first lack of bytes it is bad
// and gives nothing more.
type recordReader struct {
	rest []byte
	bad  bool
}

func (r *recordReader) take(n uint64) []byte {
	if r.bad || uint64(len(r.rest)) < n {
		r.bad = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *recordReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *recordReader) salted() ([]byte, Salt) {
	var salt Salt
	n := r.uvarint()
	if n == 0 {
		return nil, salt
	}
	copy(salt[:], r.take(16))
	return r.take(n - 1), salt
}
