package auth_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"manti/domain"
	"manti/proxy/auth"
)

func TestNewKey(t *testing.T) {
	t.Parallel()
	key := auth.NewKey([32]byte{1, 2, 3})
	if !regexp.MustCompile(`^sk-manti-[0-9A-Za-z]{49}$`).MatchString(key.Reveal()) {
		t.Errorf("form: got %s", key.Reveal())
	}
	if !auth.LooksMade(key) {
		t.Error("its own checksum doesn't hold")
	}
	for i := range key {
		b := []byte(key.Reveal())
		b[i] ^= 1
		if auth.LooksMade(domain.Secret(b)) {
			t.Errorf("a change at %d isn't noticed", i)
		}
	}
	if max := auth.NewKey([32]byte([]byte(strings.Repeat("\xff", 32)))); len(max) != len(key) {
		t.Errorf("the length depends on the secret: %d and %d", len(max), len(key))
	}
}

func TestKeysNeverPrint(t *testing.T) {
	t.Parallel()
	key := auth.NewKey([32]byte{1})
	pepper := auth.Pepper{9, 9, 9}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key, "pepper", pepper)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "in", struct{ K domain.Secret }{key})
	j, _ := json.Marshal(map[string]any{"k": key})
	all := log.String() + string(j) + fmt.Sprintf("%v %s %#v %+v %v %#v", key, key, key, struct{ K domain.Secret }{key}, pepper, pepper)
	if strings.Contains(all, key.Reveal()[12:30]) || strings.Contains(all, "9, 9, 9") || strings.Contains(all, "[9 9 9") {
		t.Errorf("a secret is printed: %s", all)
	}
}

// The stored form was computed with an independent implementation:
// HMAC-SHA-256(key = 32 bytes of 0x01, message = SHA-256("sk-test")).
func TestHash(t *testing.T) {
	t.Parallel()
	var pepper auth.Pepper
	for i := range pepper {
		pepper[i] = 1
	}
	h := pepper.Hash("sk-test")
	const want = "d6bf085c979facd80d54a4ebfd92a94cc846e34c26fcae3a3294d1804eb89adb"
	if got := hex.EncodeToString(h[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other := auth.Pepper{2}
	if other.Hash("sk-test") == h {
		t.Error("the pepper has no effect")
	}
	if pepper.Hash(domain.Secret(hex.EncodeToString(h[:]))) == h {
		t.Error("a stored hash works as a key")
	}
}

func TestKeysWith(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	id := func(b byte) domain.KeyID { return domain.KeyID{b} }
	var none auth.Keys
	a := none.With([]auth.Change{
		{Key: id(1), Hash: auth.Hash{1}, Principal: &auth.Principal{Key: id(1)}},
		{Key: id(2), Hash: auth.Hash{1, 2}, Principal: &auth.Principal{Key: id(2), Expires: now}},
	})
	b := a.With([]auth.Change{{Key: id(1)}, {Key: id(3), Hash: auth.Hash{3}, Principal: &auth.Principal{Key: id(3)}}})
	tests := []struct {
		name string
		keys *auth.Keys
		hash auth.Hash
		when time.Time
		want bool
	}{
		{"there", a, auth.Hash{1}, now, true},
		{"revoked", b, auth.Hash{1}, now, false},
		{"the old snapshot stays as it was", a, auth.Hash{1}, now, true},
		{"added", b, auth.Hash{3}, now, true},
		{"not yet there", a, auth.Hash{3}, now, false},
		{"before it expires", b, auth.Hash{1, 2}, now.Add(-1), true},
		{"expired", b, auth.Hash{1, 2}, now, false},
		{"empty", &none, auth.Hash{1}, now, false},
	}
	for _, test := range tests {
		if _, got := test.keys.Find(test.hash, test.when); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	if a.Len() != 2 || b.Len() != 2 {
		t.Errorf("sizes: got %d and %d, want 2 and 2", a.Len(), b.Len())
	}
}

func TestFromRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ header, value, want string }{
		{"Authorization", "Bearer k", "k"}, {"Authorization", "bearer  k ", "k"}, {"X-Api-Key", "k", "k"},
		{"Authorization", "Basic k", ""}, {"Authorization", "Bearer", ""}, {"Other", "k", ""},
	} {
		h := http.Header{}
		h.Set(test.header, test.value)
		if got := auth.FromRequest(h).Reveal(); got != test.want {
			t.Errorf("%s: %s: got %q, want %q", test.header, test.value, got, test.want)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	pepper := auth.Pepper{1}
	key := auth.NewKey([32]byte{1})
	for b.Loop() {
		pepper.Hash(key)
	}
}
