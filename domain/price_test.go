package domain_test

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
)

func list(tiers ...domain.RateTier) domain.PriceList {
	return domain.PriceList{Currency: "USD", Tiers: tiers}
}

func TestAmount(t *testing.T) {
	t.Parallel()
	gpt := list(domain.RateTier{Rates: rates("input", "2.5", "cache_read", "1.25", "output", "10")})
	claude := list(
		domain.RateTier{Rates: rates("input", "3", "cache_read", "0.3", "cache_write_5m", "3.75", "cache_write_1h", "6", "output", "15", "web_search", "10000")},
		domain.RateTier{Over: 200000, Rates: rates("input", "6", "output", "22.5")},
	)
	claude.Variants = []domain.RateVariant{{Region: "us", Tiers: []domain.RateTier{{Rates: rates("input", "3.3", "output", "16.5")}}}}
	tests := []struct {
		name   string
		list   domain.PriceList
		usage  map[domain.Meter]int64
		served domain.Served
		want   string
		flags  []string
	}{
		{"nothing", gpt, nil, domain.Served{}, "0", nil},
		{"input and output", gpt, map[domain.Meter]int64{domain.InputTokens: 1000, domain.OutputTokens: 100}, domain.Served{}, "0.0035", nil},
		{"cached", gpt, map[domain.Meter]int64{domain.CacheReadTokens: 1}, domain.Served{}, "0.00000125", nil},
		{"reasoning falls back to output", gpt, map[domain.Meter]int64{domain.ReasoningTokens: 1}, domain.Served{}, "0.00001", nil},
		{"1h write has its own rate", claude, map[domain.Meter]int64{domain.CacheWrite1hTokens: 1e6}, domain.Served{}, "6", nil},
		{"1h write falls back to 5m and on to input", gpt, map[domain.Meter]int64{domain.CacheWrite1hTokens: 1e6}, domain.Served{}, "2.5", nil},
		{"searches by the call", claude, map[domain.Meter]int64{domain.WebSearches: 3}, domain.Served{}, "0.03", nil},
		{"a meter without a rate is flagged", gpt, map[domain.Meter]int64{domain.WebSearches: 3, domain.InputTokens: 1}, domain.Served{}, "0.0000025", []string{domain.FlagUnpriced}},
		{"at the tier's edge", claude, map[domain.Meter]int64{domain.InputTokens: 200000}, domain.Served{}, "0.6", nil},
		{"above the tier's edge the whole call", claude, map[domain.Meter]int64{domain.InputTokens: 200000, domain.CacheReadTokens: 1}, domain.Served{}, "1.200006", nil},
		{"a region", claude, map[domain.Meter]int64{domain.InputTokens: 1e6}, domain.Served{Region: "us"}, "3.3", nil},
		{"an unknown tier", claude, map[domain.Meter]int64{domain.InputTokens: 1e5}, domain.Served{Tier: "x"}, "0.3", []string{domain.FlagTierUnpriced}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, flags := test.list.Amount(usage(test.usage), test.served)
			if want := decimal.RequireFromString(test.want); !got.Equal(want) || !slices.Equal(flags, test.flags) {
				t.Errorf("got %s %v, want %s %v", got, flags, want, test.flags)
			}
		})
	}
}

// Price × usage never needs more decimals than the scale, and is exact.
func TestAmountIsExact(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		r := domain.Rates{}
		var u domain.Usage
		want := new(big.Rat)
		for m := range domain.MeterCount {
			rate := decimal.New(random.Int64N(1e15), -domain.PriceScale)
			r[domain.Meter(m).String()] = rate
			u[m] = random.Int64N(1e9)
			want.Add(want, new(big.Rat).Mul(rate.Rat(), new(big.Rat).SetFrac64(u[m], 1e6)))
		}
		got, _ := list(domain.RateTier{Rates: r}).Amount(u, domain.Served{})
		if got.Rat().Cmp(want) != 0 {
			t.Fatalf("got %s, want %s", got, want)
		}
		if err := domain.CheckScale(got, domain.MaxScale); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPriceAt(t *testing.T) {
	t.Parallel()
	day := at("2026-10-07T00:00:00Z")
	card := domain.ModelCard{Prices: []domain.ModelPrice{
		{Cost: list(domain.RateTier{Rates: rates("input", "1")})},
		{From: day, Cost: list(domain.RateTier{Rates: rates("input", "2")})},
	}}
	for when, want := range map[time.Time]string{day.Add(-1): "1", day: "2", day.Add(time.Hour): "2"} {
		if got := card.At(when).Cost.Tiers[0].Rates["input"]; got.String() != want {
			t.Errorf("at %v: got %s, want %s", when, got, want)
		}
	}
}

func TestBookCheckRefuses(t *testing.T) {
	t.Parallel()
	good := func() domain.PriceBook {
		return domain.PriceBook{Models: []domain.ModelCard{{Provider: "p", Name: "m", Aliases: []string{"a"}, Kind: domain.ChatModel,
			Prices: []domain.ModelPrice{{Cost: list(domain.RateTier{Rates: rates("input", "1", "output", "2")})}}}}}
	}
	b := good()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*domain.ModelCard, *domain.PriceBook)
	}{
		{"no name", func(c *domain.ModelCard, _ *domain.PriceBook) { c.Name = "" }},
		{"the same twice", func(c *domain.ModelCard, b *domain.PriceBook) { b.Models = append(b.Models, *c) }},
		{"an alias that is another's name", func(c *domain.ModelCard, b *domain.PriceBook) {
			d := *c
			d.Name, d.Aliases = "a", nil
			b.Models = append(b.Models, d)
		}},
		{"a kind we don't know", func(c *domain.ModelCard, _ *domain.PriceBook) { c.Kind = "x" }},
		{"no price", func(c *domain.ModelCard, _ *domain.PriceBook) { c.Prices = nil }},
		{"a bad currency", func(c *domain.ModelCard, _ *domain.PriceBook) { c.Prices[0].Cost.Currency = "usd" }},
		{"no tier", func(c *domain.ModelCard, _ *domain.PriceBook) { c.Prices[0].Cost.Tiers = nil }},
		{"an unknown meter", func(c *domain.ModelCard, _ *domain.PriceBook) { c.Prices[0].Cost.Tiers[0].Rates["x"] = decimal.Zero }},
		{"ten decimals", func(c *domain.ModelCard, _ *domain.PriceBook) {
			c.Prices[0].Cost.Tiers[0].Rates["input"] = decimal.New(1, -10)
		}},
		{"a negative rate", func(c *domain.ModelCard, _ *domain.PriceBook) {
			c.Prices[0].Cost.Tiers[0].Rates["input"] = decimal.New(-1, 0)
		}},
		{"no input rate", func(c *domain.ModelCard, _ *domain.PriceBook) { delete(c.Prices[0].Cost.Tiers[0].Rates, "input") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := good()
			test.edit(&b.Models[0], &b)
			if err := b.Check(); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func BenchmarkAmount(b *testing.B) {
	l := list(domain.RateTier{Rates: rates("input", "2.5", "cache_read", "1.25", "output", "10")})
	u := domain.Usage{domain.InputTokens: 1234, domain.CacheReadTokens: 100, domain.OutputTokens: 55}
	for b.Loop() {
		l.Amount(u, domain.Served{})
	}
}
