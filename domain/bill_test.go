package domain_test

import (
	"slices"
	"testing"
	"time"

	"manti/domain"
)

func card(name string, cost domain.PriceList, charge *domain.PriceList) *domain.ModelCard {
	return &domain.ModelCard{Provider: "p", Name: name, Aliases: []string{name + "-latest"}, Kind: domain.ChatModel, Prices: []domain.ModelPrice{{Cost: cost, Charge: charge}}}
}

func flat(input string, variants ...domain.RateVariant) domain.PriceList {
	return domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: rates("input", input)}}, Variants: variants}
}

func TestBillFor(t *testing.T) {
	t.Parallel()
	markedUp, euros := flat("5"), flat("7")
	euros.Currency = "EUR"
	batch := domain.RateVariant{Tier: "batch", Tiers: []domain.RateTier{{Rates: rates("input", "1")}}}
	plain, marked, abroad := card("plain", flat("2", batch), nil), card("marked", flat("3"), &markedUp), card("abroad", flat("4"), &euros)
	million := domain.Usage{domain.InputTokens: 1_000_000}
	tests := []struct {
		name          string
		served, asked *domain.ModelCard
		usage         domain.Usage
		how           domain.Served
		cost, charge  string
		currency      domain.Currency
		flags         []string
	}{
		{"no list for customers", plain, plain, million, domain.Served{}, "2", "2", "USD", nil},
		{"one for the model asked for", plain, marked, million, domain.Served{}, "2", "5", "USD", nil},
		{"one for the model that served", marked, plain, million, domain.Served{}, "3", "5", "USD", nil},
		{"one for both", marked, abroad, million, domain.Served{}, "3", "7", "EUR", nil},
		{"another tier", plain, plain, million, domain.ServedAs("Batch", "standard", "global"), "1", "1", "USD", nil},
		{"a tier without a price", plain, marked, million, domain.ServedAs("flex", "", ""), "2", "5", "USD", []string{domain.FlagTierUnpriced}},
		{"a meter without a price", plain, marked, domain.Usage{domain.OutputTokens: 5}, domain.Served{}, "0", "0", "USD", []string{domain.FlagUnpriced}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := domain.BillFor(test.served, test.asked, time.Now(), test.usage, test.how)
			if b.Cost.Amount.String() != test.cost || b.Charge.Amount.String() != test.charge || b.Charge.Currency != test.currency || b.Cost.Currency != "USD" || !slices.Equal(b.Flags, test.flags) {
				t.Errorf("got %+v, want cost %s, charge %s %s, flags %q", b, test.cost, test.charge, test.currency, test.flags)
			}
		})
	}
	if got := plain.Served(); !slices.Equal(got, []domain.Served{{Tier: "batch"}}) {
		t.Errorf("served: %v", got)
	}
}

func TestFindInBook(t *testing.T) {
	t.Parallel()
	book := domain.PriceBook{Models: []domain.ModelCard{*card("a", flat("1"), nil), *card("b", flat("2"), nil)}}
	if c := book.Find("p", "b-latest"); c == nil || c.Name != "b" {
		t.Errorf("by alias: %+v", c)
	}
	if c := book.Find("q", "a"); c != nil {
		t.Errorf("of another provider: %+v", c)
	}
}
