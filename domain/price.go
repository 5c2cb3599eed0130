package domain

import (
	"errors"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// PriceBook is one version of all models and prices. A book is never edited:
// another version replaces it for calls admitted from then on.
type PriceBook struct {
	// Version is the id of the PricesPublished event, zero before publication.
	// It isn't part of the book's JSON.
	Version EventID `json:"-"`
	// Source says where the figures come from, for people.
	Source string      `json:"source,omitempty"`
	Models []ModelCard `json:"models"`
}

// ModelKind says which endpoints a model serves.
type ModelKind string

// The kinds of models.
const (
	ChatModel       ModelKind = "chat"
	CompletionModel ModelKind = "completion"
	EmbeddingModel  ModelKind = "embedding"
)

// ModelCard is a model of a provider with its limits, abilities and prices.
type ModelCard struct {
	Provider string    `json:"provider"`
	Name     string    `json:"name"`
	Aliases  []string  `json:"aliases,omitempty"`
	Kind     ModelKind `json:"kind"`
	// ContextLimit and OutputLimit are in tokens; 0 is unknown.
	ContextLimit int64 `json:"context_limit,omitempty"`
	OutputLimit  int64 `json:"output_limit,omitempty"`
	// Abilities, as dialect.Model explains them.
	Reasoning        bool `json:"reasoning,omitempty"`
	Effort           bool `json:"effort,omitempty"`
	NoSampling       bool `json:"no_sampling,omitempty"`
	StructuredOutput bool `json:"structured_output,omitempty"`
	Tools            bool `json:"tools,omitempty"`
	Images           bool `json:"images,omitempty"`
	// Created is the release date as YYYY-MM-DD, "" if unknown.
	Created    string `json:"created,omitempty"`
	Deprecated bool   `json:"deprecated,omitempty"`
	// Prices by their effective date, newest last; at least one.
	Prices []ModelPrice `json:"prices"`
}

// ModelPrice is what a model costs from a date on.
type ModelPrice struct {
	// From is when the price begins; zero is always. A price ends where the
	// next begins.
	From time.Time `json:"from,omitzero"`
	// Cost is what the provider takes. Charge is what the customer pays; nil is
	// the same as Cost.
	Cost   PriceList  `json:"cost"`
	Charge *PriceList `json:"charge,omitempty"`
}

// PriceList is the rates of a model in one currency.
type PriceList struct {
	Currency Currency `json:"currency"`
	// Tiers by prompt size, ascending; the first has Over 0. The whole call is
	// priced by the last tier whose Over its prompt exceeds.
	Tiers []RateTier `json:"tiers"`
	// Variants are the rates of other service tiers, speeds and regions.
	Variants []RateVariant `json:"variants,omitempty"`
}

// RateVariant is the rates that hold if the provider says that it served with
// these. Empty means the standard one.
type RateVariant struct {
	Tier   string     `json:"tier,omitempty"`
	Speed  string     `json:"speed,omitempty"`
	Region string     `json:"region,omitempty"`
	Tiers  []RateTier `json:"tiers"`
}

// RateTier is the rates from a prompt size on.
type RateTier struct {
	Over  int64 `json:"over,omitempty"` // prompt tokens
	Rates Rates `json:"rates"`
}

// Rates are unit prices by meter name: per million tokens or, for meters of
// calls, per million calls. Each has at most PriceScale decimals and is ≥ 0. A
// meter that isn't there falls back as fallback says.
type Rates map[string]decimal.Decimal

// fallback is where a meter's rate is looked for when a price has none.
var fallback = [MeterCount]Meter{
	InputTokens:        InputTokens,
	InputAudioTokens:   InputTokens,
	InputImageTokens:   InputTokens,
	CacheReadTokens:    InputTokens,
	CacheWrite5mTokens: InputTokens,
	CacheWrite1hTokens: CacheWrite5mTokens,
	OutputTokens:       OutputTokens,
	ReasoningTokens:    OutputTokens,
	OutputAudioTokens:  OutputTokens,
	OutputImageTokens:  OutputTokens,
	WebSearches:        WebSearches,
	FileSearches:       FileSearches,
}

// Rate is a meter's unit price after fallback; false if there is none.
func (r Rates) Rate(m Meter) (decimal.Decimal, bool) {
	for {
		if rate, ok := r[meterNames[m]]; ok {
			return rate, true
		}
		if fallback[m] == m {
			return decimal.Zero, false
		}
		m = fallback[m]
	}
}

// Served is how a provider says that it served a call; empty strings are the
// standard.
type Served struct{ Tier, Speed, Region string }

// Amount is the exact price of a usage: Σ quantity × rate ÷ 1,000,000. The flags name
// what had no rate.
func (l PriceList) Amount(u Usage, s Served) (amount decimal.Decimal, flags []string) {
	tiers, exact := l.tiers(s)
	if !exact {
		flags = append(flags, FlagTierUnpriced)
	}
	rates := tierFor(tiers, u.PromptTokens())
	unpriced := false
	for m, n := range u {
		if n == 0 {
			continue
		}
		rate, ok := rates.Rate(Meter(m))
		if !ok {
			unpriced = true
			continue
		}
		amount = amount.Add(decimal.NewFromInt(n).Mul(rate))
	}
	if unpriced {
		flags = append(flags, FlagUnpriced)
	}
	return amount.Shift(-6), flags
}

// tiers finds the rates for how a call was served; false if there are none for
// that and the standard ones are given.
func (l PriceList) tiers(s Served) ([]RateTier, bool) {
	if s == (Served{}) {
		return l.Tiers, true
	}
	for _, v := range l.Variants {
		if v.Tier == s.Tier && v.Speed == s.Speed && v.Region == s.Region {
			return v.Tiers, true
		}
	}
	return l.Tiers, false
}

func tierFor(tiers []RateTier, prompt int64) Rates {
	var rates Rates
	for i, t := range tiers {
		if i == 0 || prompt > t.Over {
			rates = t.Rates
		}
	}
	return rates
}

// At is the price that holds at a time.
func (c *ModelCard) At(at time.Time) ModelPrice {
	price := c.Prices[0]
	for _, p := range c.Prices[1:] {
		if !p.From.After(at) {
			price = p
		}
	}
	return price
}

// ChargeList is the customer's price list.
func (p ModelPrice) ChargeList() PriceList {
	if p.Charge != nil {
		return *p.Charge
	}
	return p.Cost
}

// ErrPrice is returned for a price book that can't be published.
var ErrPrice = errors.New("domain: price book refused")

// Check refuses a book that a call could fail on: only a publication can be
// refused, never a call.
func (b *PriceBook) Check() error {
	seen := map[string]bool{}
	for i := range b.Models {
		c := &b.Models[i]
		if c.Provider == "" || c.Name == "" {
			return fmt.Errorf("%w: model %d has no provider or no name", ErrPrice, i+1)
		}
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			if id := c.Provider + "/" + name; seen[id] {
				return fmt.Errorf("%w: %s is there twice", ErrPrice, id)
			} else {
				seen[id] = true
			}
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("%w: %s/%s: %w", ErrPrice, c.Provider, c.Name, err)
		}
	}
	return nil
}

func (c *ModelCard) check() error {
	switch c.Kind {
	case ChatModel, CompletionModel, EmbeddingModel:
	default:
		return fmt.Errorf("kind %q is none of chat, completion, embedding", c.Kind)
	}
	if len(c.Prices) == 0 {
		return errors.New("there is no price")
	}
	for i, p := range c.Prices {
		if i > 0 && !p.From.After(c.Prices[i-1].From) {
			return errors.New("prices must be in the order of their dates")
		}
		if err := p.Cost.check(); err != nil {
			return fmt.Errorf("cost: %w", err)
		}
		if p.Charge == nil {
			continue
		}
		if err := p.Charge.check(); err != nil {
			return fmt.Errorf("charge: %w", err)
		}
	}
	return nil
}

func (l *PriceList) check() error {
	if _, err := ParseCurrency(string(l.Currency)); err != nil {
		return err
	}
	if err := checkTiers(l.Tiers); err != nil {
		return err
	}
	for _, v := range l.Variants {
		if v.Tier == "" && v.Speed == "" && v.Region == "" {
			return errors.New("a variant needs a tier, speed or region")
		}
		if err := checkTiers(v.Tiers); err != nil {
			return err
		}
	}
	return nil
}

func checkTiers(tiers []RateTier) error {
	if len(tiers) == 0 || tiers[0].Over != 0 {
		return errors.New("the first tier must begin at 0 prompt tokens")
	}
	for i, t := range tiers {
		if i > 0 && t.Over <= tiers[i-1].Over {
			return errors.New("tiers must ascend")
		}
		if _, ok := t.Rates[meterNames[InputTokens]]; !ok {
			return errors.New("a rate for input is missing")
		}
		for name, rate := range t.Rates {
			if _, ok := ParseMeter(name); !ok {
				return fmt.Errorf("unknown meter %q", name)
			}
			if rate.IsNegative() {
				return fmt.Errorf("rate %s of %s is negative", rate, name)
			}
			if err := CheckScale(rate, PriceScale); err != nil {
				return fmt.Errorf("rate of %s: %w", name, err)
			}
		}
	}
	return nil
}
