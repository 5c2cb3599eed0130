package projections_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

const small = `
base: none
models:
  - provider: openai
    name: m
    kind: chat
    prices: [{rates: {input: 1.000000001, output: "3"}}]
`

func parse(t *testing.T, text string) *projections.PriceFile {
	t.Helper()
	f, err := projections.ParsePriceFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func build(t *testing.T, text string, base *domain.PriceBook) (*domain.PriceBook, []projections.Rounded) {
	t.Helper()
	book, rounded, err := parse(t, text).Book(base)
	if err != nil {
		t.Fatal(err)
	}
	return book, rounded
}

func TestPriceFileReadsFiguresDigitByDigit(t *testing.T) {
	t.Parallel()
	book, rounded := build(t, small, builtin(t))
	if len(book.Models) != 1 || len(rounded) != 0 {
		t.Fatalf("%d models, rounded %v", len(book.Models), rounded)
	}
	if got := book.Models[0].Prices[0].Cost.Tiers[0].Rates["input"].String(); got != "1.000000001" {
		t.Errorf("input %s", got)
	}
}

func TestMarkupIsMultipliedOnceHalfToEven(t *testing.T) {
	t.Parallel()
	base, _ := build(t, small, nil)
	tests := []struct {
		name, markup, input string
		rounded             int
	}{
		{"exact", "2", "2.000000002", 0},
		{"half to even, down", "0.5", "0.5", 1},
		{"half to even, up", "1.5", "1.500000002", 1},
		{"free", "0", "0", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := "markup: " + tt.markup + "\nmodels: []\n"
			book, rounded := build(t, text, base)
			price := book.Models[0].Prices[0]
			if got := price.Charge.Tiers[0].Rates["input"]; !got.Equal(decimal.RequireFromString(tt.input)) {
				t.Errorf("charge %s, want %s", got, tt.input)
			}
			if len(rounded) != tt.rounded {
				t.Errorf("rounded %v", rounded)
			}
			again, _ := build(t, text, base)
			if diff := cmp.Diff(book, again); diff != "" {
				t.Errorf("the same file gives another book:\n%s", diff)
			}
			if base.Models[0].Prices[0].Charge != nil {
				t.Error("the base was changed")
			}
		})
	}
}

func TestPriceFileOverTheBuiltinList(t *testing.T) {
	t.Parallel()
	book, _ := build(t, `
markup: 1.2
models:
  - {provider: openai, name: gpt-4o, markup: "1.5"}
  - provider: openai
    name: gpt-4o-mini
    prices:
      - rates: {input: 0.1, output: 0.4}
        charge: {currency: EUR, rates: {input: 1, output: 2}}
  - provider: acme
    name: own
    kind: chat
    abilities: [tools]
    prices: [{rates: {input: 7, output: 8}}]
`, builtin(t))
	charge := func(id string) domain.PriceList { return card(book, id).Prices[0].ChargeList() }
	for id, want := range map[string]string{
		"openai/gpt-4o": "3.75", "openai/gpt-4o-mini": "1", "acme/own": "8.4", "openai/gpt-4": "36", "sim/sim/fast": "0.6",
	} {
		if got := charge(id).Tiers[0].Rates["input"]; !got.Equal(decimal.RequireFromString(want)) {
			t.Errorf("%s charges %s, want %s", id, got, want)
		}
	}
	if c := charge("openai/gpt-4o-mini").Currency; c != "EUR" {
		t.Errorf("currency %s", c)
	}
	if c := card(book, "openai/gpt-4o-mini"); c.ContextLimit != 128000 || !c.Tools {
		t.Errorf("what the file leaves out is lost: %+v", c)
	}
	changes := projections.DiffPrices(builtin(t), book)
	has := func(want string) bool {
		for _, c := range changes {
			if strings.Join([]string{c.Provider, c.Model, c.What, c.List, c.Served, c.Meter, text(c.Old), text(c.New)}, " ") == want {
				return true
			}
		}
		return false
	}
	for _, want := range []string{
		"acme own added     ", "acme own  cost  input  7", "openai gpt-4o  charge  input 2.5 3.75",
		"openai gpt-4o  charge priority output 17 25.5", "openai gpt-4o-mini  cost  cache_read 0.075 ",
	} {
		if !has(want) {
			t.Errorf("the difference lacks %q", want)
		}
	}
	if has("openai gpt-4o  cost  input 2.5 2.5") || len(projections.DiffPrices(book, book)) != 0 {
		t.Error("equal rates are shown as a difference")
	}
}

func text(d decimal.NullDecimal) string {
	if !d.Valid {
		return ""
	}
	return d.Decimal.String()
}

func TestPriceFileRefuses(t *testing.T) {
	t.Parallel()
	model := func(rest string) string { return "models: [{provider: p, name: n, kind: chat, " + rest + "}]" }
	tests := []struct{ name, file, says string }{
		{"nothing", "", "empty"},
		{"unknown key", "markups: 1", "line 1"},
		{"not YAML", "a: [", "line 1"},
		{"two documents", "base: none\n---\nbase: none", "more than one"},
		{"unknown base", "base: current", "current"},
		{"exponent", model("prices: [{rates: {input: 1e9, output: 1}}]"), "1e9"},
		{"negative", model("prices: [{rates: {input: -1, output: 1}}]"), "-1"},
		{"word", model("prices: [{rates: {input: free, output: 1}}]"), "free"},
		{"too long", model("prices: [{rates: {input: 0." + strings.Repeat("1", 99) + ", output: 1}}]"), "decimal"},
		{"too many decimals", model("prices: [{rates: {input: 0.0000000001, output: 1}}]"), "more than 9"},
		{"no input", model("prices: [{rates: {output: 1}}]"), "input"},
		{"unknown meter", model("prices: [{rates: {input: 1, tokens: 1}}]"), "tokens"},
		{"unknown ability", model("abilities: [magic], prices: [{rates: {input: 1}}]"), "magic"},
		{"no prices", model("markup: 2"), "no prices"},
		{"twice", "models: [{provider: openai, name: gpt-4o}, {provider: openai, name: gpt-4o}]", "twice"},
		{"no name", "models: [{provider: p}]", "name"},
		{"variant without rates", model("prices: [{rates: {input: 1}, variants: [{tier: flex}]}]"), "flex"},
		{"bad date", model("prices: [{from: soon, rates: {input: 1}}]"), "soon"},
		{"dates out of order", model("prices: [{from: 2026-02-01, rates: {input: 1}}, {from: 2026-01-01, rates: {input: 1}}]"), "order"},
		{"bad currency", model("prices: [{currency: usd, rates: {input: 1}}]"), "usd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := projections.ParsePriceFile([]byte(tt.file))
			if err == nil {
				_, _, err = f.Book(builtin(t))
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v, want one that says %q", err, tt.says)
			}
			if !errors.Is(err, projections.ErrPriceFile) && !errors.Is(err, domain.ErrPrice) {
				t.Errorf("error %v is of no known kind", err)
			}
		})
	}
}

func FuzzParsePriceFile(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(`{"markup": "1.2", "models": [{"provider": "openai", "name": "gpt-4o", "markup": 0.5}]}`))
	f.Add([]byte("fees: {p: {web_search: 1}}\nmodels: [{provider: p, name: n, kind: chat, prices: [{from: 2026-01-01, rates: {input: 1}, regions: {us: 1.1}}]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := projections.ParsePriceFile(data)
		if err != nil {
			return
		}
		book, _, err := file.Book(nil)
		if err != nil {
			return
		}
		if err := book.Check(); err != nil {
			t.Errorf("a book that can't be published: %v", err)
		}
		if _, err := projections.BookDigest(book); err != nil {
			t.Error(err)
		}
	})
}
