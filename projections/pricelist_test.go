package projections_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

func TestBuiltinPricesPassTheCheck(t *testing.T) {
	t.Parallel()
	book := builtin(t)
	if err := book.Check(); err != nil {
		t.Fatal(err)
	}
	required := []string{
		"openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4-turbo", "openai/gpt-4", "openai/gpt-3.5-turbo",
		"anthropic/claude-3-5-sonnet-20241022", "anthropic/claude-3-5-haiku-20241022", "anthropic/claude-3-opus-20240229",
		"anthropic/claude-3-sonnet-20240229", "anthropic/claude-3-haiku-20240307",
		"openai/gpt-3.5-turbo-instruct", "openai/text-embedding-3-small", "sim/sim/fast", "sim/sim/claude-like", "sim/sim/fault-reset-mid",
	}
	for _, id := range required {
		if card(book, id) == nil {
			t.Errorf("%s is missing", id)
		}
	}
	for _, c := range book.Models {
		for _, p := range c.Prices {
			if want := c.Provider == "sim"; (p.Cost.Currency == domain.XTS) != want {
				t.Errorf("%s/%s costs %s", c.Provider, c.Name, p.Cost.Currency)
			}
			if rate, _ := p.Cost.Tiers[0].Rates.Rate(domain.InputTokens); !rate.IsPositive() {
				t.Errorf("%s/%s is free", c.Provider, c.Name)
			}
		}
	}
}

// The amounts are worked out by hand from the list prices.
func TestBuiltinPricesGiveKnownAmounts(t *testing.T) {
	t.Parallel()
	book := builtin(t)
	october, may := time.Date(2026, 10, 7, 0, 0, 0, 0, time.UTC), time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name, model string
		at          time.Time
		usage       map[domain.Meter]int64
		served      domain.Served
		want        string
		flagged     bool
	}{
		{"plain", "openai/gpt-4o", may, use{domain.InputTokens: 1000, domain.CacheReadTokens: 1000, domain.OutputTokens: 100}, domain.Served{}, "0.00475", false},
		{"service tier", "openai/gpt-4o", may, use{domain.InputTokens: 1_000_000}, domain.Served{Tier: "priority"}, "4.25", false},
		{"unknown tier", "openai/gpt-4o", may, use{domain.InputTokens: 1_000_000}, domain.Served{Tier: "scale"}, "2.5", true},
		{"flex above 272k", "openai/gpt-5.5", may, use{domain.InputTokens: 272_001}, domain.Served{Tier: "flex"}, "1.360005", false},
		{"at 272k", "openai/gpt-5.5", may, use{domain.InputTokens: 272_000}, domain.Served{}, "1.36", false},
		{"one-hour cache", "anthropic/claude-opus-4-6", may, use{domain.CacheWrite1hTokens: 1_000_000}, domain.Served{}, "10", false},
		{"region", "anthropic/claude-opus-4-6", may, use{domain.OutputTokens: 1_000_000}, domain.Served{Region: "us"}, "27.5", false},
		{"fast in a region", "anthropic/claude-opus-4-6", may, use{domain.OutputTokens: 1_000_000}, domain.Served{Speed: "fast", Region: "us"}, "165", false},
		{"a region leaves searches", "anthropic/claude-opus-4-6", may, use{domain.WebSearches: 3}, domain.Served{Region: "us"}, "0.03", false},
		{"fast keeps the cache's ratios", "anthropic/claude-opus-5-5", may, use{domain.CacheReadTokens: 1_000_000}, domain.Served{Speed: "fast"}, "0.4", false},
		{"before a cut", "anthropic/claude-sonnet-5-5", october.Add(-1), use{domain.CacheReadTokens: 1_000_000}, domain.Served{}, "0.2", false},
		{"from the cut on", "anthropic/claude-sonnet-5-5", october, use{domain.CacheReadTokens: 1_000_000}, domain.Served{}, "0.1", false},
		{"web search", "openai/gpt-4o", may, use{domain.WebSearches: 1}, domain.Served{}, "0.01", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var u domain.Usage
			for m, n := range tt.usage {
				u[m] = n
			}
			got, flags := card(book, tt.model).At(tt.at).ChargeList().Amount(u, tt.served)
			if !got.Equal(decimal.RequireFromString(tt.want)) || (len(flags) > 0) != tt.flagged {
				t.Errorf("got %s %v, want %s, flagged %t", got, flags, tt.want, tt.flagged)
			}
		})
	}
}

type use = map[domain.Meter]int64

// The catalogue of list prices that the built-in list was taken from, as its
// schema names things.
type catalogue struct {
	Models []struct {
		Provider     string
		ID           string
		Aliases      []string
		Kind         string
		ContextLimit *int64 `json:"context_limit"`
		OutputLimit  *int64 `json:"output_limit"`
		Modalities   struct{ Input []string }
		Price        map[string]json.RawMessage
		Priced       bool
		Deprecated   bool
		Modes        map[string]struct{ Price map[string]json.RawMessage }
		History      []struct {
			To    string `json:"effective_to"`
			Price map[string]json.RawMessage
		} `json:"price_history"`
		From string `json:"effective_from"`
	}
}

func TestBuiltinPricesEqualTheCatalogue(t *testing.T) {
	t.Parallel()
	cat := readCatalogue(t)
	book := builtin(t)
	seen, figures := 0, 0
	for _, m := range cat.Models {
		if m.Provider != "openai" && m.Provider != "anthropic" {
			continue
		}
		c := card(book, m.Provider+"/"+m.ID)
		wanted := m.Priced && m.Price != nil && slices.Contains([]string{"chat", "completion", "embedding"}, m.Kind)
		if (c != nil) != wanted {
			t.Errorf("%s: in the list %t, want %t", m.ID, c != nil, wanted)
		}
		if c == nil {
			continue
		}
		seen++
		if string(c.Kind) != m.Kind || c.Deprecated != m.Deprecated || !slices.Equal(c.Aliases, m.Aliases) ||
			m.ContextLimit != nil && c.ContextLimit != *m.ContextLimit ||
			m.OutputLimit != nil && c.Kind != domain.EmbeddingModel && c.OutputLimit != *m.OutputLimit ||
			c.Kind == domain.ChatModel && c.Images != slices.Contains(m.Modalities.Input, "image") {
			t.Errorf("%s is described differently: %+v", m.ID, c)
		}
		last := c.Prices[len(c.Prices)-1]
		figures += compareTiers(t, m.ID, m.Price, last.Cost.Tiers)
		for mode, v := range m.Modes {
			figures += compareRates(t, m.ID+" "+mode, v.Price, variant(t, c, last.Cost, mode)[0].Rates)
		}
		// A former price is there if the day on which it ended is known.
		if m.From == "" {
			continue
		}
		if got := last.From.Format(time.DateOnly); got != m.From {
			t.Errorf("%s: price from %s, want %s", m.ID, got, m.From)
		}
		for i, h := range m.History {
			if h.To != m.From || len(c.Prices) != len(m.History)+1 {
				t.Fatalf("%s: history has changed its form", m.ID)
			}
			figures += compareTiers(t, m.ID+" before "+h.To, h.Price, c.Prices[i].Cost.Tiers)
		}
	}
	if seen < 90 || figures < 350 {
		t.Errorf("compared %d models, %d figures: the catalogue was not understood", seen, figures)
	}
}

// variant finds a mode of the catalogue, which calls OpenAI's priority tier
// "fast" for some models and Anthropic's speed "fast".
func variant(t *testing.T, c *domain.ModelCard, l domain.PriceList, mode string) []domain.RateTier {
	for _, v := range l.Variants {
		if v.Region == "" && (v.Tier == mode || c.Provider == "anthropic" && v.Speed == mode) {
			return v.Tiers
		}
	}
	t.Fatalf("%s has no variant %s", c.Name, mode)
	return nil
}

func compareTiers(t *testing.T, what string, price map[string]json.RawMessage, got []domain.RateTier) int {
	t.Helper()
	var above []map[string]json.RawMessage
	if raw, ok := price["tiers"]; ok {
		if err := json.Unmarshal(raw, &above); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != len(above)+1 {
		t.Errorf("%s: %d tiers, want %d", what, len(got), len(above)+1)
		return 0
	}
	n := compareRates(t, what, price, got[0].Rates)
	for i, tier := range above {
		if over := decimal.RequireFromString(string(tier["over_input_tokens"])); over.IntPart() != got[i+1].Over {
			t.Errorf("%s: tier over %d, want %s", what, got[i+1].Over, over)
		}
		n += compareRates(t, what+" above", tier, got[i+1].Rates)
	}
	return n
}

// compareRates compares each figure that the catalogue states, and refuses
// token rates that a standard price has beyond them.
func compareRates(t *testing.T, what string, price map[string]json.RawMessage, got domain.Rates) int {
	t.Helper()
	n := 0
	for name, raw := range price {
		if name == "tiers" || name == "over_input_tokens" {
			continue
		}
		want := decimal.RequireFromString(strings.Trim(string(raw), `"`))
		rate, ok := got[name]
		if !ok || !rate.Equal(want) {
			t.Errorf("%s: %s is %s, want %s", what, name, rate, want)
		}
		n++
	}
	for name := range got {
		_, stated := price[name]
		derived := what == "claude-opus-5-5 fast" // its cache rates keep their ratio to input
		if !stated && !derived && name != "web_search" && name != "file_search" {
			t.Errorf("%s: %s is not in the catalogue", what, name)
		}
	}
	return n
}

func readCatalogue(t *testing.T) catalogue {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "data", "prices.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s, the catalogue of list prices, is not here: the figures can't be compared", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var cat catalogue
	if err := json.Unmarshal(data, &cat); err != nil {
		t.Fatal(err)
	}
	return cat
}

func builtin(t *testing.T) *domain.PriceBook {
	t.Helper()
	book, err := projections.BuiltinPrices()
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// card finds a model by provider/name.
func card(book *domain.PriceBook, id string) *domain.ModelCard {
	for i := range book.Models {
		if c := &book.Models[i]; c.Provider+"/"+c.Name == id {
			return c
		}
	}
	return nil
}
