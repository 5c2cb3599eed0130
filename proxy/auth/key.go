// Package auth finds out who calls: it turns a key into a Principal, from a
// snapshot in memory.
//
// A key is never stored: only HMAC-SHA-256(pepper, SHA-256(key)) is, so that a
// copy of the database is of no use without the pepper, and a stored hash
// never works as a key.
package auth

import (
	"crypto/sha256"
	"hash/crc32"
	"log/slog"
	"math/big"
	"strings"

	"manti/domain"
)

// Prefix begins every key that manti makes, for secret scanners to find.
const Prefix = "sk-manti-"

// Lengths of a key's parts after the prefix: 32 random bytes and a CRC-32 of
// what stands before it, both in base 62.
const (
	secretBytes = 32
	secretChars = 43
	checkChars  = 6
)

// NewKey makes a key from random bytes.
func NewKey(random [secretBytes]byte) domain.Secret {
	body := Prefix + base62(new(big.Int).SetBytes(random[:]), secretChars)
	return domain.Secret(body + checksum(body))
}

// LooksMade reports whether a key has the form and the checksum of one that
// NewKey made. Imported keys don't.
func LooksMade(key domain.Secret) bool {
	k := key.Reveal()
	n := len(k) - checkChars
	return strings.HasPrefix(k, Prefix) && n == len(Prefix)+secretChars && checksum(k[:n]) == k[n:]
}

// Hint is a key's last four characters, for people to tell keys apart; "" for
// a key too short to show any of it.
func Hint(key domain.Secret) string {
	k := key.Reveal()
	if len(k) < 20 {
		return ""
	}
	return k[len(k)-4:]
}

func checksum(s string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(s)))), checkChars)
}

func base62(n *big.Int, chars int) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out := make([]byte, chars)
	base, rest := big.NewInt(62), new(big.Int)
	for i := chars - 1; i >= 0; i-- {
		n.DivMod(n, base, rest)
		out[i] = digits[rest.Int64()]
	}
	return string(out)
}

// Hash is how a key is stored and found.
type Hash [sha256.Size]byte

// Pepper is the secret without which stored hashes are of no use.
type Pepper [32]byte

// String hides the pepper.
func (Pepper) String() string { return "redacted" }

// GoString hides the pepper.
func (Pepper) GoString() string { return "redacted" }

// LogValue hides the pepper.
func (Pepper) LogValue() slog.Value { return slog.StringValue("redacted") }

// Hash is HMAC-SHA-256(pepper, SHA-256(key)).
func (p *Pepper) Hash(key domain.Secret) Hash {
	return p.HashOfSHA256(sha256.Sum256([]byte(key)))
}

// HashOfSHA256 is Hash for a key of which only the SHA-256 is known, as other
// gateways keep it. It is crypto/hmac's result, written out because that
// allocates eight times, and each call comes by here.
func (p *Pepper) HashOfSHA256(sum [sha256.Size]byte) Hash {
	var inner, outer [sha256.BlockSize + sha256.Size]byte
	for i := range sha256.BlockSize {
		inner[i], outer[i] = 0x36, 0x5c // ipad and opad of RFC 2104
	}
	for i, b := range p {
		inner[i] ^= b
		outer[i] ^= b
	}
	copy(inner[sha256.BlockSize:], sum[:])
	digest := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], digest[:])
	return sha256.Sum256(outer[:])
}
