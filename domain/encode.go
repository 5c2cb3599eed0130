package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// EncodingVersion is the version of the encoding that Encode writes, the "v"
// of each public part. Decoders of older versions stay for ever.
const EncodingVersion = 1

// Salt hides a part of an event behind its hash: without it, a short string
// could be guessed from the hash alone.
type Salt [16]byte

// Encoded is an event in the one form in which it is stored, hashed and
// verified. It is made once, where the event arises, and never re-encoded.
type Encoded struct {
	ID   EventID
	Kind Kind
	// Public is a JSON object: {"v":1,"kind":…,"id":…,"at":…,"author":…,"body":…}.
	Public []byte
	// Private and Erasable are JSON objects, each with a salt of its own: who
	// has one part can guess nothing of another. Nil means absent.
	Private      []byte
	PrivateSalt  Salt
	Erasable     []byte
	ErasableSalt Salt
}

// HashSize is the length of SHA-256.
const HashSize = sha256.Size

// envelope is the public part's frame.
type envelope struct {
	V      int             `json:"v"`
	Kind   Kind            `json:"kind"`
	ID     EventID         `json:"id"`
	At     time.Time       `json:"at"`
	Author string          `json:"author,omitempty"`
	Body   json.RawMessage `json:"body"`
}

// Errors of the encoding.
var (
	ErrEncoding = errors.New("domain: not an event's encoding")
	ErrVersion  = errors.New("domain: event was written by a newer manti: update this one")
	ErrTooLarge = errors.New("domain: event is larger than a record may be")
)

// Encode writes an event in its canonical form. The salts must be fresh random
// bytes. It refuses what no ledger should hold: a zero id, a time that isn't
// UTC in whole microseconds, an amount beyond the scale.
func Encode(e Event, private, erasable Salt) (Encoded, error) {
	if err := check(e); err != nil {
		return Encoded{}, fmt.Errorf("encode %s %s: %w", e.Body.Kind(), e.ID, err)
	}
	switch b := e.Body.(type) {
	case *RequestCompleted:
		return encodeRequest(e, b, private, erasable), nil
	case *UsageCorrected:
		return encodeCorrection(e, b, private, erasable), nil
	}
	pub, priv, eras := e.Body.parts()
	out := Encoded{ID: e.ID, Kind: e.Body.Kind()}
	body, err := marshal(pub)
	if err == nil {
		out.Public = appendEnvelope(nil, e, func(b []byte) []byte { return append(b, body...) })
	}
	if err == nil && priv != nil {
		out.PrivateSalt = private
		out.Private, err = marshal(priv)
	}
	if err == nil && eras != nil {
		out.ErasableSalt = erasable
		out.Erasable, err = marshal(eras)
	}
	if err != nil {
		return Encoded{}, fmt.Errorf("encode %s %s: %w", out.Kind, e.ID, err)
	}
	return out, nil
}

func encodeRequest(e Event, r *RequestCompleted, private, erasable Salt) Encoded {
	out := Encoded{ID: e.ID, Kind: KindRequestCompleted, PrivateSalt: private}
	out.Public = appendEnvelope(make([]byte, 0, 1024), e, r.RequestPublic.appendJSON)
	out.Private = r.Private.appendJSON(make([]byte, 0, 1024))
	if r.Erasable.orNil() != nil {
		out.ErasableSalt = erasable
		out.Erasable = r.Erasable.appendJSON(make([]byte, 0, 256))
	}
	return out
}

func encodeCorrection(e Event, u *UsageCorrected, private, erasable Salt) Encoded {
	out := Encoded{ID: e.ID, Kind: KindUsageCorrected, PrivateSalt: private}
	out.Public = appendEnvelope(make([]byte, 0, 1024), e, u.appendPublic)
	out.Private = u.appendPrivate(make([]byte, 0, 1024))
	if u.Call.Erasable.orNil() != nil {
		out.ErasableSalt = erasable
		out.Erasable = u.Call.Erasable.appendJSON(make([]byte, 0, 256))
	}
	return out
}

// marshal is compact JSON with the fields in the order of their declaration and
// nothing escaped that needn't be.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// check refuses what a constraint of the ledger would refuse.
func check(e Event) error {
	if e.ID.IsZero() {
		return errors.New("the id is zero")
	}
	if e.At.Location() != time.UTC || !e.At.Equal(e.At.Truncate(time.Microsecond)) || e.At.IsZero() {
		return fmt.Errorf("time %v is not UTC in whole microseconds", e.At)
	}
	if c, ok := e.Body.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

// Canonical is public part ‖ SHA-256(salt ‖ private part) ‖ SHA-256(salt ‖
// erasable part). An absent part's hash is 32 zero bytes.
func (e Encoded) Canonical() []byte {
	b := make([]byte, 0, len(e.Public)+2*HashSize)
	b = append(b, e.Public...)
	b = appendPartHash(b, e.PrivateSalt, e.Private)
	return appendPartHash(b, e.ErasableSalt, e.Erasable)
}

func appendPartHash(b []byte, salt Salt, part []byte) []byte {
	if part == nil {
		return append(b, make([]byte, HashSize)...)
	}
	h := PartHash(salt, part)
	return append(b, h[:]...)
}

// PartHash is SHA-256(salt ‖ part).
func PartHash(salt Salt, part []byte) [HashSize]byte {
	h := sha256.New()
	h.Write(salt[:])
	h.Write(part)
	var sum [HashSize]byte
	h.Sum(sum[:0])
	return sum
}

// SplitCanonical takes canonical bytes apart.
func SplitCanonical(canonical []byte) (public []byte, private, erasable [HashSize]byte, err error) {
	n := len(canonical) - 2*HashSize
	if n < 2 {
		return nil, private, erasable, fmt.Errorf("%w: %d bytes", ErrEncoding, len(canonical))
	}
	copy(private[:], canonical[n:])
	copy(erasable[:], canonical[n+HashSize:])
	return canonical[:n], private, erasable, nil
}

// LogEntry is what the ledger's Merkle tree holds: 8 bytes recorded_at in
// microseconds since 1970, big endian ‖ canonical bytes.
func LogEntry(recordedAt time.Time, canonical []byte) []byte {
	b := make([]byte, 8, 8+len(canonical))
	binary.BigEndian.PutUint64(b, uint64(recordedAt.UnixMicro()))
	return append(b, canonical...)
}

// LeafHash is the RFC 6962 §2.1 hash of the log entry: SHA-256(0x00 ‖ entry).
func LeafHash(recordedAt time.Time, canonical []byte) [HashSize]byte {
	var head [9]byte
	binary.BigEndian.PutUint64(head[1:], uint64(recordedAt.UnixMicro()))
	h := sha256.New()
	h.Write(head[:])
	h.Write(canonical)
	var sum [HashSize]byte
	h.Sum(sum[:0])
	return sum
}

// Decode reads an event back. Parts that are nil leave their fields zero: an
// erased event decodes, without its strings.
func Decode(e Encoded) (Event, error) {
	var env envelope
	if err := json.Unmarshal(e.Public, &env); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	if env.V > EncodingVersion {
		return Event{}, fmt.Errorf("%w (encoding %d)", ErrVersion, env.V)
	}
	body := newBody(env.Kind)
	if body == nil {
		return Event{}, fmt.Errorf("%w (kind %q)", ErrVersion, env.Kind)
	}
	pub, priv, eras := body.slots()
	if err := decodePart(env.Body, pub); err != nil {
		return Event{}, fmt.Errorf("%w: public part of %s: %w", ErrEncoding, env.ID, err)
	}
	if err := decodePart(e.Private, priv); err != nil {
		return Event{}, fmt.Errorf("%w: private part of %s: %w", ErrEncoding, env.ID, err)
	}
	if err := decodePart(e.Erasable, eras); err != nil {
		return Event{}, fmt.Errorf("%w: erasable part of %s: %w", ErrEncoding, env.ID, err)
	}
	return Event{ID: env.ID, At: env.At, Author: env.Author, Body: body}, nil
}

func decodePart(data []byte, into any) error {
	if data == nil {
		return nil
	}
	if into == nil {
		return errors.New("there must be none")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// slotted is a Body that can be decoded into.
type slotted interface {
	Body
	slots() (public, private, erasable any)
}

func newBody(k Kind) slotted {
	switch k {
	case KindRequestCompleted:
		return &RequestCompleted{}
	case KindOrgCreated:
		return &OrgCreated{}
	case KindProjectCreated:
		return &ProjectCreated{}
	case KindKeyIssued:
		return &KeyIssued{}
	case KindKeyRevoked:
		return &KeyRevoked{}
	case KindPricesPublished:
		return &PricesPublished{}
	case KindUsageCorrected:
		return &UsageCorrected{}
	case KindRejectionAnswered:
		return &RejectionAnswered{}
	case KindPersonForgotten:
		return &PersonForgotten{}
	case KindOriginStarted:
		return &OriginStarted{}
	}
	return nil
}

func (r *RequestCompleted) slots() (public, private, erasable any) {
	return &r.RequestPublic, &r.Private, &r.Erasable
}
func (o *OrgCreated) slots() (public, private, erasable any)     { return o, nil, &o.Erasable }
func (p *ProjectCreated) slots() (public, private, erasable any) { return p, nil, &p.Erasable }
func (k *KeyIssued) slots() (public, private, erasable any)      { return k, &k.Private, &k.Erasable }
func (k *KeyRevoked) slots() (public, private, erasable any)     { return k, nil, nil }
func (p *PricesPublished) slots() (public, private, erasable any) {
	p.Private = &PriceBook{}
	return p, p.Private, nil
}
