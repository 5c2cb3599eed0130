package seal_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"manti/domain"
	"manti/ledger/seal"
)

const origin = "example.com/ledger"

func newSigner(t testing.TB, name string) *seal.Signer {
	t.Helper()
	key, err := seal.NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.ParseSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSign(t testing.TB, s *seal.Signer, size int64, root tlog.Hash) seal.Checkpoint {
	t.Helper()
	c, err := s.Sign(seal.Checkpoint{Origin: s.Name(), Size: size, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheckpointIsReadAsItWasSigned(t *testing.T) {
	t.Parallel()
	s := newSigner(t, origin)
	root := tlog.RecordHash([]byte("x"))
	c := mustSign(t, s, 17, root)
	if want := origin + "\n17\n" + root.String() + "\n\n— " + origin + " "; !strings.HasPrefix(c.Note, want) {
		t.Errorf("got %q, want it to begin with %q", c.Note, want)
	}
	for name, keys := range map[string]seal.Keys{
		"its key":             seal.Keys{}.With(s),
		"beside another key":  seal.Keys{}.With(newSigner(t, origin)).With(s),
		"from the key's text": mustKeys(t, s.VerifierKey()+", \n"+newSigner(t, "b").VerifierKey()),
	} {
		got, err := seal.Open([]byte(c.Note), keys)
		if err != nil || got != c {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c)
		}
	}
	if got, err := seal.ParseCheckpoint([]byte(c.Note)); err != nil || got != c {
		t.Errorf("without a key: got %+v, %v, want %+v", got, err, c)
	}
	if again := mustSign(t, s, 17, root); again != c {
		t.Error("signing the same again gives other bytes")
	}
}

func mustKeys(t testing.TB, text string) seal.Keys {
	t.Helper()
	keys, err := seal.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	s := newSigner(t, origin)
	good := mustSign(t, s, 17, tlog.RecordHash([]byte("x"))).Note
	foreign, err := newSigner(t, "example.com/other").As(origin)
	if err != nil {
		t.Fatal(err)
	}
	body, signature, _ := strings.Cut(good, "\n\n")
	tests := []struct {
		name, text string
		want       error
	}{
		{"empty", "", seal.ErrMalformed},
		{"unsigned", body + "\n", seal.ErrMalformed},
		{"cut", good[:len(good)-1], seal.ErrMalformed},
		{"other size", strings.Replace(good, "\n17\n", "\n18\n", 1), seal.ErrUnknownKey},
		{"leading zero", strings.Replace(good, "\n17\n", "\n017\n", 1), seal.ErrMalformed},
		{"negative", strings.Replace(good, "\n17\n", "\n-1\n", 1), seal.ErrMalformed},
		{"a line more", body + "\nmore\n\n" + signature, seal.ErrMalformed},
		{"other key", mustSign(t, foreign, 17, tlog.Hash{}).Note, seal.ErrUnknownKey},
		{"other origin", strings.Replace(good, origin+"\n", "example.com/other\n", 1), seal.ErrUnknownKey},
		{"huge", body + "\n\n" + strings.Repeat(signature, 2000), seal.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := seal.Open([]byte(tt.text), seal.Keys{}.With(s)); !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

// A key that is trusted for one ledger signs nothing for another.
func TestKeyOfAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	other := newSigner(t, "example.com/other")
	if _, err := other.Sign(seal.Checkpoint{Origin: origin}); err == nil {
		t.Error("a key signs under another name than its own")
	}
	renamed, err := other.As(origin)
	if err != nil {
		t.Fatal(err)
	}
	note := mustSign(t, renamed, 1, tlog.Hash{}).Note
	if _, err := seal.Open([]byte(note), seal.Keys{}.With(other)); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("got error %v, want %v", err, seal.ErrUnknownKey)
	}
	if _, err := seal.Open([]byte(note), seal.Keys{}.With(renamed)); err != nil {
		t.Errorf("under the new name: %v", err)
	}
	if _, err := other.As("no name"); err == nil || !strings.Contains(err.Error(), "an origin is like") {
		t.Errorf("under no name: got error %v", err)
	}
}

func TestKeysAreRefused(t *testing.T) {
	t.Parallel()
	secret, err := seal.NewKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a secret": secret.Reveal(), "a word": "key", "a broken key": strings.Replace(newSigner(t, origin).VerifierKey(), "+", "+0", 1),
	} {
		_, err := seal.ParseKeys(text)
		if !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("%s: got error %v", name, err)
		}
		if err != nil && name == "a secret" && strings.Contains(err.Error(), text[len(text)-20:]) {
			t.Error("the error shows the secret")
		}
	}
	for name, text := range map[string]domain.Secret{
		"empty": "", "verifier key": domain.Secret(newSigner(t, origin).VerifierKey()), "cut": secret[:len(secret)-4],
	} {
		if _, err := seal.ParseSigner(text); !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\nb", strings.Repeat("a", 257), "ä"} {
		if _, err := seal.NewKey(name); !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("origin %q: got error %v", name, err)
		}
	}
}
