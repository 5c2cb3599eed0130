package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manti/domain"
)

// The private Postgres' secret is made once, is its owner's alone, and is never
// replaced by another, whatever the file says.
func TestSecretIsMadeOnce(t *testing.T) {
	t.Parallel()
	cfg := Config{Data: t.TempDir()}
	path := filepath.Join(cfg.Data, "secret")
	first, err := loadSecret(&cfg, true)
	if err != nil || len(first) != secretBytes {
		t.Fatalf("made %x, %v", first, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if again, err := loadSecret(&cfg, true); err != nil || !bytes.Equal(first, again) {
		t.Errorf("read %x, %v", again, err)
	}
	other := Config{Data: t.TempDir()}
	if second, err := loadSecret(&other, true); err != nil || bytes.Equal(first, second) {
		t.Errorf("another directory has the secret %x, %v", second, err)
	}
	set := Config{Data: cfg.Data, Secret: domain.Secret(strings.Repeat("ab", secretBytes))}
	if got, err := loadSecret(&set, true); err != nil || hex.EncodeToString(got) != strings.Repeat("ab", secretBytes) {
		t.Errorf("MANTI_SECRET doesn't win: %x, %v", got, err)
	}
	for _, damaged := range []string{"", "abc", strings.Repeat("0", 63), strings.Repeat("x", 64)} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := loadSecret(&cfg, true); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("from %q it read %x, %v", damaged, got, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != damaged {
			t.Errorf("the damaged file is now %q, %v", text, err)
		}
	}
	if entries, err := os.ReadDir(cfg.Data); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

// Each use of the secret has a key of its own, the same for ever.
func TestSecretIsDerived(t *testing.T) {
	t.Parallel()
	secret := make([]byte, secretBytes)
	pepper, check := derive(secret, "key pepper"), derive(secret, "check value")
	if pepper == check || bytes.Equal(pepper[:], secret) {
		t.Errorf("the keys are %x and %x", pepper, check)
	}
	// HKDF-SHA-256 of 32 zeros with the info "manti key pepper", computed with
	// openssl kdf: if it changes, no stored key works any more.
	const want = "641f02d5aa480331b2fc38f666e9cf59d2c6b87e0b95885a8ec43dcb4144aa27"
	if got := hex.EncodeToString(pepper[:]); got != want {
		t.Errorf("the pepper is %s, want %s", got, want)
	}
}
