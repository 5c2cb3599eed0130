package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"manti/domain"
)

// The text forms of keys are those of https://c2sp.org/signed-note and
// golang.org/x/mod/sumdb/note:
//
//	signer    PRIVATE+KEY+<name>+<8 hex digits>+base64(0x01 ‖ 32 bytes of seed)
//	verifier  <name>+<8 hex digits>+base64(0x01 ‖ 32 bytes of Ed25519 public key)
const (
	signerPrefix = "PRIVATE+KEY+"
	algEd25519   = 1
)

// A Signer signs checkpoints with an Ed25519 key under a name, which is the
// origin of what it signs.
type Signer struct {
	name string
	seed domain.Secret // 32 bytes
	key  note.Signer
}

// NewKey makes a signer key for an origin, in its text form.
func NewKey(origin string) (domain.Secret, error) {
	if err := CheckOrigin(origin); err != nil {
		return "", err
	}
	text, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return "", fmt.Errorf("make a signer key: %w", err)
	}
	return domain.Secret(text), nil
}

// CheckOrigin refuses what can't name a ledger: c2sp.org/signed-note wants key
// names without white space and "+", and a line is a line.
func CheckOrigin(origin string) error {
	if origin == "" || len(origin) > domain.MaxOrigin || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) {
		return fmt.Errorf("%w: an origin is like example.com/ledger: 1 to 256 printable ASCII characters, no space, no plus", ErrMalformed)
	}
	return nil
}

// ParseSigner reads a signer key. No error quotes it.
func ParseSigner(text domain.Secret) (*Signer, error) {
	skey := strings.TrimSpace(text.Reveal())
	key, err := note.NewSigner(skey)
	if err != nil {
		return nil, fmt.Errorf("%w: not a signer key; `manti seal keygen` makes one", ErrMalformed)
	}
	if err := CheckOrigin(key.Name()); err != nil {
		return nil, fmt.Errorf("the name of the signer key: %w", err)
	}
	fields := strings.SplitN(skey, "+", 5) // the name has no plus, base64 may
	seed, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize || seed[0] != algEd25519 {
		return nil, fmt.Errorf("%w: not an Ed25519 signer key", ErrMalformed)
	}
	return &Signer{name: key.Name(), seed: domain.Secret(seed[1:]), key: key}, nil
}

// Name is the origin that it signs for.
func (s *Signer) Name() string { return s.name }

// As is the same key under another name, for a ledger that has begun a new
// origin.
func (s *Signer) As(origin string) (*Signer, error) {
	if origin == s.name {
		return s, nil
	}
	if err := CheckOrigin(origin); err != nil {
		return nil, err
	}
	data := append([]byte{algEd25519}, s.public()...)
	sum := sha256.Sum256(append([]byte(origin+"\n"), data...))
	seed := append([]byte{algEd25519}, s.seed.Reveal()...)
	return ParseSigner(domain.Secret(fmt.Sprintf("%s%s+%08x+%s", signerPrefix, origin, binary.BigEndian.Uint32(sum[:4]), base64.StdEncoding.EncodeToString(seed))))
}

func (s *Signer) public() ed25519.PublicKey {
	key, _ := ed25519.NewKeyFromSeed([]byte(s.seed.Reveal())).Public().(ed25519.PublicKey) // documented to be one
	return key
}

// VerifierKey is what to hand out: whoever has it can check what s signed.
func (s *Signer) VerifierKey() string {
	text, err := note.NewEd25519VerifierKey(s.name, s.public())
	if err != nil {
		panic("seal: verifier key: " + err.Error()) // only for keys of a wrong length
	}
	return text
}

// Sign makes the signed checkpoint. The same one gives the same bytes.
func (s *Signer) Sign(c Checkpoint) (Checkpoint, error) {
	if c.Origin != s.name {
		return Checkpoint{}, fmt.Errorf("sign %s with a key of %s: %w", c, s.name, ErrUnknownKey)
	}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, s.key)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign %s: %w", c, err)
	}
	c.Note = string(signed)
	return c, nil
}

// Keys are verifier keys: after a rotation, the new one and the old ones. The
// zero value knows none.
type Keys struct {
	list  []note.Verifier
	texts []string
}

var _ note.Verifiers = Keys{}

// ParseKeys reads verifier keys, separated by commas or white space.
func ParseKeys(text string) (Keys, error) {
	var keys Keys
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r <= ' ' }) {
		if strings.HasPrefix(field, signerPrefix) {
			return Keys{}, fmt.Errorf("%w: that is a signer key, which is secret; a verifier key is wanted (`manti seal key`)", ErrMalformed)
		}
		v, err := note.NewVerifier(field)
		if err != nil {
			return Keys{}, fmt.Errorf("%w: %q is no verifier key", ErrMalformed, domain.CleanText(field, 100))
		}
		keys = keys.with(v, field)
	}
	return keys, nil
}

// With are the keys and that of the signer.
func (k Keys) With(s *Signer) Keys {
	v, err := note.NewVerifier(s.VerifierKey())
	if err != nil {
		panic("seal: own verifier key: " + err.Error())
	}
	return k.with(v, s.VerifierKey())
}

// Add are the keys and those others.
func (k Keys) Add(others Keys) Keys {
	for i, v := range others.list {
		k = k.with(v, others.texts[i])
	}
	return k
}

func (k Keys) with(v note.Verifier, text string) Keys {
	if _, err := k.Verifier(v.Name(), v.KeyHash()); err == nil {
		return k
	}
	return Keys{append(slices.Clip(k.list), v), append(slices.Clip(k.texts), text)}
}

// Texts are the keys in their text form.
func (k Keys) Texts() []string { return slices.Clone(k.texts) }

// Len is the number of keys.
func (k Keys) Len() int { return len(k.list) }

// Verifier finds a key, for package note.
func (k Keys) Verifier(name string, hash uint32) (note.Verifier, error) {
	for _, v := range k.list {
		if v.Name() == name && v.KeyHash() == hash {
			return v, nil
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}
