package llm_test

import (
	"encoding/json"
	"strings"
	"testing"

	"manti/proxy/llm"
)

func TestEstimate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		low, high  int64
	}{
		{"nothing", "", 0, 0},
		{"one word", "Paris", 2, 3},
		{"a sentence", "The capital of France is Paris.", 8, 11},
		{"long words", "internationalisation responsibilities", 5, 8},
		{"numbers", "3.14159 and 2026-11-22", 10, 16},
		{"code", "if err != nil {\n\t\treturn err\n}\n", 9, 18},
		{"JSON arguments", `{"city":"Paris","unit":"celsius"}`, 10, 20},
		{"French", "L'été dernier, nous étions à Évian.", 10, 20},
		{"Russian", "Привет, как дела?", 6, 14},
		{"one word with accents all through", strings.Repeat("éa", 100), 59, 59},
		{"Chinese", "北京是中国的首都。", 6, 12},
		{"emoji", "😀🎉", 4, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e llm.Estimate
			e.Add([]byte(tc.text))
			if got := e.Tokens(); got < tc.low || got > tc.high {
				t.Errorf("%d tokens, want %d to %d", got, tc.low, tc.high)
			}
		})
	}
}

// TestEstimateOfPieces: a stream weighs what its text weighs, however it is cut.
func TestEstimateOfPieces(t *testing.T) {
	t.Parallel()
	const text = "The été — 北京 😀\n\n{\"n\": 42}"
	var whole llm.Estimate
	whole.Add([]byte(text))
	for size := 1; size < len(text); size++ {
		var pieces llm.Estimate
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			pieces.Add(rest[:n])
			rest = rest[n:]
		}
		if !pieces.Equal(whole) {
			t.Errorf("pieces of %d: %d tokens, whole: %d", size, pieces.Tokens(), whole.Tokens())
		}
	}
}

func TestEstimateJSON(t *testing.T) {
	t.Parallel()
	const text = "a \"quoted\" \\ line\nand\tmore"
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var plain, escaped llm.Estimate
	plain.Add([]byte(text))
	escaped.AddJSON(raw[1 : len(raw)-1])
	if !plain.Equal(escaped) {
		t.Errorf("escaped: %d tokens, plain: %d", escaped.Tokens(), plain.Tokens())
	}
	for escape, char := range map[string]string{`\u00e9`: "é", `\u20ac`: "€", `\u5317`: "北", `\u0434`: "д"} {
		var a, b llm.Estimate
		a.AddJSON([]byte(escape))
		b.Add([]byte(char))
		if !a.Equal(b) {
			t.Errorf("%s: %d tokens, %s: %d", escape, a.Tokens(), char, b.Tokens())
		}
	}
	var broken llm.Estimate
	for _, raw := range []string{`\`, `a\`, `\u`, `\u12`, `\x`} {
		broken.AddJSON([]byte(raw)) // must not panic
	}
}

func BenchmarkEstimate(b *testing.B) {
	text := []byte(strings.Repeat("The ledger is append-only; balances follow. ", 25))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var e llm.Estimate
		e.AddJSON(text)
	}
}
