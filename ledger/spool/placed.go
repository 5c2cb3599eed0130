package spool

import (
	"encoding/binary"
	"errors"
	"time"
)

// A Place says where the ledger has a record that was shipped.
type Place struct {
	ID [16]byte
	// Index is the place; negative if the ledger couldn't take the record and set it aside.
	Index int64
	// At is when the ledger took it, in whole microseconds; zero if it was set aside.
	At time.Time
}

// Head is how long a ledger was at a moment.
type Head struct {
	Size int64     // number of entries: the last one's index + 1; 0 if nothing is known
	At   time.Time // when the last one was recorded
	Leaf [32]byte  // the last one's hash
}

// Places is the payload of a Placed record: what became of a batch, in the order in which it was shipped.
type Places struct {
	Places []Place
	// Leaf is the hash of the entry with the highest index; zero if all were set aside.
	Leaf [32]byte
}

// Head is what the ledger had at least; false if all were set aside.
func (p Places) Head() (h Head, ok bool) {
	for _, place := range p.Places {
		if place.Index >= 0 && (!ok || place.Index >= h.Size) {
			h, ok = Head{Size: place.Index + 1, At: place.At, Leaf: p.Leaf}, true
		}
	}
	return h, ok
}

// see raises the head to what a Placed record says. One that can't be read says nothing.
func (h *Head) see(payload []byte) {
	p, err := ParsePlaces(payload)
	if err != nil {
		return
	}
	if seen, ok := p.Head(); ok && seen.Size > h.Size {
		*h = seen
	}
}

// payloadVersion is the first byte of both kinds' payloads.
const payloadVersion = 1

var errPayload = errors.New("spool: the record's payload is malformed")

// Append encodes p behind b; FORMAT.md has the bytes.
func (p Places) Append(b []byte) []byte {
	b = append(b, payloadVersion)
	b = append(b, p.Leaf[:]...)
	for rest := p.Places; len(rest) > 0; {
		n := sameTime(rest)
		at, last := int64(0), int64(-1)
		if rest[0].Index >= 0 {
			at = rest[0].At.UnixMicro()
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(at))
		b = binary.AppendUvarint(b, uint64(n))
		for _, place := range rest[:n] {
			b = append(b, place.ID[:]...)
			if at != 0 {
				b = binary.AppendVarint(b, place.Index-last-1)
				last = place.Index
			}
		}
		rest = rest[n:]
	}
	return b
}

// sameTime is how many of the first places were recorded at once, or set aside.
func sameTime(places []Place) int {
	first := places[0]
	for i, p := range places {
		if (p.Index < 0) != (first.Index < 0) || first.Index >= 0 && !p.At.Equal(first.At) {
			return i
		}
	}
	return len(places)
}

// ParsePlaces reads what Append wrote.
func ParsePlaces(b []byte) (Places, error) {
	var p Places
	r := payloadReader{rest: b}
	if v := r.take(1); r.bad || v[0] != payloadVersion {
		return Places{}, errPayload
	}
	copy(p.Leaf[:], r.take(32))
	for len(r.rest) > 0 && !r.bad {
		at, n, last := int64(r.uint64()), r.uvarint(), int64(-1)
		if n == 0 || n > uint64(len(r.rest)/16) {
			return Places{}, errPayload
		}
		for range n {
			place := Place{Index: -1}
			copy(place.ID[:], r.take(16))
			if at != 0 {
				last += r.varint() + 1
				place.Index, place.At = last, time.UnixMicro(at).UTC()
			}
			if at != 0 && last < 0 {
				return Places{}, errPayload
			}
			p.Places = append(p.Places, place)
		}
	}
	if r.bad {
		return Places{}, errPayload
	}
	return p, nil
}

// Committed is the payload of an Entry record: one that the ledger has from a command or a job. Its parts are as the
// ledger stores them, so that erasing one breaks nothing.
type Committed struct {
	Index     int64
	At        time.Time // when the ledger recorded it, in whole microseconds
	Kind      string
	Canonical []byte
	// Private and Erasable are nil if the entry has none, or not any more.
	Private, Erasable         []byte
	PrivateSalt, ErasableSalt [16]byte
}

// Append encodes c behind b; FORMAT.md has the bytes.
func (c Committed) Append(b []byte) []byte {
	b = append(b, payloadVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Index))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.At.UnixMicro()))
	b = binary.AppendUvarint(b, uint64(len(c.Kind)))
	b = append(b, c.Kind...)
	b = binary.AppendUvarint(b, uint64(len(c.Canonical)))
	b = append(b, c.Canonical...)
	b = appendSalted(b, c.PrivateSalt, c.Private)
	return appendSalted(b, c.ErasableSalt, c.Erasable)
}

func appendSalted(b []byte, salt [16]byte, part []byte) []byte {
	if part == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(part))+1)
	b = append(b, salt[:]...)
	return append(b, part...)
}

// ParseCommitted reads what Append wrote. The parts are slices of b.
func ParseCommitted(b []byte) (Committed, error) {
	r := payloadReader{rest: b}
	if v := r.take(1); r.bad || v[0] != payloadVersion {
		return Committed{}, errPayload
	}
	var c Committed
	c.Index = int64(r.uint64())
	c.At = time.UnixMicro(int64(r.uint64())).UTC()
	c.Kind = string(r.take(r.uvarint()))
	c.Canonical = r.take(r.uvarint())
	c.Private, c.PrivateSalt = r.salted()
	c.Erasable, c.ErasableSalt = r.salted()
	if r.bad || len(r.rest) > 0 || c.Index < 0 {
		return Committed{}, errPayload
	}
	return c, nil
}

// payloadReader takes a payload apart; after the first lack of bytes it is bad and gives nothing more.
type payloadReader struct {
	rest []byte
	bad  bool
}

func (r *payloadReader) take(n uint64) []byte {
	if r.bad || uint64(len(r.rest)) < n {
		r.bad = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *payloadReader) uint64() uint64 {
	if b := r.take(8); !r.bad {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *payloadReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	return number(r, n, size)
}

func (r *payloadReader) varint() int64 {
	n, size := binary.Varint(r.rest)
	return number(r, n, size)
}

// number takes the bytes of a varint that was read off the front.
func number[N uint64 | int64](r *payloadReader, n N, size int) N {
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *payloadReader) salted() (part []byte, salt [16]byte) {
	n := r.uvarint()
	if n == 0 {
		return nil, salt
	}
	copy(salt[:], r.take(16))
	return r.take(n - 1), salt
}
