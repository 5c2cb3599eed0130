package domain

import (
	"bytes"
	"encoding/json"
	"testing"
)

// plainUsage is what OpenAI reports with each answer, as it prints it.
const plainUsage = `{
    "prompt_tokens": 235,
    "completion_tokens": 24,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "service_tier": "default", "ratio": -0.5, "list": [1, null, true, false, []], "none": {}
  }`

// FuzzCompactPlain holds it against encoding/json: what it takes is valid, and
// compact in the same way.
func FuzzCompactPlain(f *testing.F) {
	for _, seed := range []string{
		plainUsage, `{}`, `[]`, ` 0 `, `-0`, `01`, `1.`, `-`, `1e3`, `1 2`, `tr ue`, `nul`, `"a"`, `"a\n"`, `"ä"`, `{"a":1,}`, `[1,]`,
		`{"a" 1}`, `{1:2}`, `{"a":1}x`, ``, ` `, `"`, `[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]`, "\"\x00\"", "\"\x7f\"", `[1 2]`, `{"a":1 "b":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var want bytes.Buffer
		err := json.Compact(&want, src)
		got, ok := compactPlain(src)
		if ok && (err != nil || !bytes.Equal(got, want.Bytes())) {
			t.Errorf("%q is %q, encoding/json says %q, %v", src, got, want.Bytes(), err)
		}
		if isPlainJSON(src) != ok {
			t.Errorf("%q: isPlainJSON says %v, compactPlain %v", src, !ok, ok)
		}
	})
}

// TestCompactPlain takes what providers send.
func TestCompactPlain(t *testing.T) {
	t.Parallel()
	if got, ok := compactPlain([]byte(plainUsage)); !ok || bytes.ContainsAny(got, " \n") {
		t.Errorf("got %q, %v", got, ok)
	}
}

func BenchmarkCompact(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			if _, ok := compactPlain([]byte(plainUsage)); !ok {
				b.Fatal("it isn't plain")
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			var buf bytes.Buffer
			if json.Compact(&buf, []byte(plainUsage)) != nil {
				b.Fatal("it isn't valid")
			}
		}
	})
}
