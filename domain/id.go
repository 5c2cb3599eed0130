package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// An ID is a UUID (RFC 9562) of a noun of kind K. IDs of different nouns are
// different types, so that a project's can't be passed for an organisation's.
// The zero ID means "none".
type ID[K any] [16]byte

// The ids.
type (
	// EventID is an event's identity and idempotency key, for ever. For
	// RequestCompleted it is also the id of the request.
	EventID = ID[eventKind]
	// OrgID, ProjectID, KeyID, UserID and ServiceID identify who calls.
	OrgID     = ID[orgKind]
	ProjectID = ID[projectKind]
	KeyID     = ID[keyKind]
	UserID    = ID[userKind]
	ServiceID = ID[serviceKind]
	// CredentialID identifies one of manti's own credentials at a provider.
	CredentialID = ID[credentialKind]
	// SpoolID identifies a spool directory.
	SpoolID = ID[spoolKind]
)

type (
	eventKind      struct{}
	orgKind        struct{}
	projectKind    struct{}
	keyKind        struct{}
	userKind       struct{}
	serviceKind    struct{}
	credentialKind struct{}
	spoolKind      struct{}
)

// NewID makes a UUIDv7 (RFC 9562 §5.7) from the time, in milliseconds, and
// random bytes, of which it uses 74 bits. Times before 1970 or after the year
// 10889 wrap.
func NewID[I ~[16]byte](t time.Time, random [10]byte) I {
	ms := uint64(t.UnixMilli())
	var id I
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	copy(id[6:], random[:])
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// DerivedID makes a UUIDv8 (RFC 9562 §5.8) for an event whose identity follows
// from its subject: 48 bits of the subject's own time in milliseconds, the
// rest from the SHA-256 of kind and subject, each preceded by its length.
// Whoever derives the same event again gets the same id.
func DerivedID[I ~[16]byte](t time.Time, kind string, subject ...string) I {
	h := sha256.New()
	for _, s := range append([]string{kind}, subject...) {
		var n [8]byte
		for i := range 8 {
			n[i] = byte(uint64(len(s)) >> (56 - 8*i))
		}
		h.Write(n[:])
		h.Write([]byte(s))
	}
	var random [10]byte
	copy(random[:], h.Sum(nil))
	id := NewID[I](t, random)
	id[6] = 0x80 | id[6]&0x0f
	return id
}

// IsZero reports whether the id is none.
func (id ID[K]) IsZero() bool { return id == ID[K]{} }

// Time is the millisecond that a UUIDv7 or UUIDv8 of ours carries.
func (id ID[K]) Time() time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

// idText is the length of the String form.
const idText = 36

// String is the lower-case 8-4-4-4-12 form.
func (id ID[K]) String() string {
	t := id.text()
	return string(t[:])
}

// AppendText appends the String form.
func (id ID[K]) AppendText(b []byte) []byte {
	t := id.text()
	return append(b, t[:]...)
}

func (id ID[K]) text() (t [idText]byte) {
	hex.Encode(t[0:8], id[0:4])
	hex.Encode(t[9:13], id[4:6])
	hex.Encode(t[14:18], id[6:8])
	hex.Encode(t[19:23], id[8:10])
	hex.Encode(t[24:36], id[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return t
}

// MarshalText is String's bytes.
func (id ID[K]) MarshalText() ([]byte, error) { return id.AppendText(nil), nil }

// UnmarshalText parses the String form.
func (id *ID[K]) UnmarshalText(text []byte) error {
	parsed, err := ParseID[ID[K]](string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// ErrID is returned for text that is no UUID.
var ErrID = errors.New("domain: not a UUID of the form 8-4-4-4-12")

// ParseID reads the String form, in either case of letters.
func ParseID[I ~[16]byte](s string) (I, error) {
	var id I
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, ErrID
	}
	packed := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(packed)); err != nil {
		return I{}, ErrID
	}
	return id, nil
}
