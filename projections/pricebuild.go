package projections

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/shopspring/decimal"

	"manti/domain"
)

// Rounded is a unit price that a markup or factor gave more decimals than a
// unit price may have. It was rounded once, half to even.
type Rounded struct {
	Provider, Model string
	Meter           string
	Exact, Rate     decimal.Decimal
}

// Book makes the price book that the file describes, over the base, which is
// left as it is. The outcome depends on nothing else: publishing a file twice
// gives the same book, and no markup is ever applied to another. It also says
// what was rounded. Errors are ErrPriceFile or domain.ErrPrice.
func (f *PriceFile) Book(base *domain.PriceBook) (*domain.PriceBook, []Rounded, error) {
	b := builder{file: f, byName: map[string]int{}, marked: map[string]*figure{}}
	if base != nil && f.Base != BaseNone {
		b.models = slices.Clone(base.Models)
		for i, c := range b.models {
			b.byName[cardID(c.Provider, c.Name)] = i
		}
	}
	for i := range f.Models {
		m := &f.Models[i]
		if err := b.add(m); err != nil {
			return nil, nil, fmt.Errorf("%w: model %s: %w", ErrPriceFile, cardID(m.Provider, m.Name), err)
		}
	}
	for i := range b.models {
		b.markUp(&b.models[i])
	}
	book := &domain.PriceBook{Source: f.Source, Models: b.models}
	if book.Source == "" && base != nil {
		book.Source = base.Source
	}
	if err := book.Check(); err != nil {
		return nil, nil, err
	}
	return book, b.rounded, nil
}

func cardID(provider, name string) string { return provider + "/" + name }

// builder gathers a book's models.
type builder struct {
	file    *PriceFile
	models  []domain.ModelCard
	byName  map[string]int     // place in models by cardID
	marked  map[string]*figure // a model's own markup by cardID
	rounded []Rounded
}

func (b *builder) add(m *fileModel) error {
	id := cardID(m.Provider, m.Name)
	if m.Provider == "" || m.Name == "" {
		return errors.New("it needs a provider and a name")
	}
	if _, twice := b.marked[id]; twice {
		return errors.New("it is there twice")
	}
	b.marked[id] = m.Markup
	at, known := b.byName[id]
	if !known && len(m.Prices) == 0 {
		return errors.New("it has no prices, and the built-in list doesn't know it")
	}
	card := domain.ModelCard{Provider: m.Provider, Name: m.Name}
	if known {
		card = b.models[at]
	}
	if err := m.describe(&card); err != nil {
		return err
	}
	if len(m.Prices) > 0 {
		prices, err := b.prices(m, card.Kind)
		if err != nil {
			return err
		}
		card.Prices = prices
	}
	if known {
		b.models[at] = card
		return nil
	}
	b.byName[id] = len(b.models)
	b.models = append(b.models, card)
	return nil
}

// describe sets what the file says of a model, besides its prices.
func (m *fileModel) describe(c *domain.ModelCard) error {
	if m.Aliases != nil {
		c.Aliases = m.Aliases
	}
	if m.Kind != "" {
		c.Kind = m.Kind
	}
	if m.ContextLimit != 0 {
		c.ContextLimit = m.ContextLimit
	}
	if m.OutputLimit != 0 {
		c.OutputLimit = m.OutputLimit
	}
	if m.Created != "" {
		c.Created = m.Created
	}
	c.Deprecated = c.Deprecated || m.Deprecated
	if m.Abilities == nil {
		return nil
	}
	c.Reasoning, c.Effort, c.NoSampling, c.StructuredOutput, c.Tools, c.Images = false, false, false, false, false, false
	abilities := map[string]*bool{
		"reasoning": &c.Reasoning, "effort": &c.Effort, "no_sampling": &c.NoSampling,
		"structured_output": &c.StructuredOutput, "tools": &c.Tools, "images": &c.Images,
	}
	for _, name := range m.Abilities {
		ability, ok := abilities[name]
		if !ok {
			return fmt.Errorf("ability %q is none of %q", name, slices.Sorted(maps.Keys(abilities)))
		}
		*ability = true
	}
	return nil
}

func (b *builder) prices(m *fileModel, kind domain.ModelKind) ([]domain.ModelPrice, error) {
	var fees rateTable
	if kind == domain.ChatModel {
		fees = b.file.Fees[m.Provider]
	}
	var out []domain.ModelPrice
	for _, p := range m.Prices {
		price := domain.ModelPrice{From: p.From.Time}
		var err error
		if price.Cost, err = b.list(m, p.fileList, fees); err != nil {
			return nil, err
		}
		if p.Charge != nil {
			charge, err := b.list(m, *p.Charge, fees)
			if err != nil {
				return nil, fmt.Errorf("charge: %w", err)
			}
			price.Charge = &charge
		}
		out = append(out, price)
	}
	return out, nil
}

// list spells out variants and regions.
func (b *builder) list(m *fileModel, l fileList, fees rateTable) (domain.PriceList, error) {
	times := multiplier{b: b, provider: m.Provider, model: m.Name, tokensOnly: true}
	out := domain.PriceList{Currency: l.Currency, Tiers: tiers(l.Rates, l.Above, fees)}
	if out.Currency == "" {
		out.Currency = b.file.Currency
	}
	if out.Currency == "" {
		out.Currency = domain.USD
	}
	for _, v := range l.Variants {
		if (v.Factor == nil) == (v.Rates == nil) {
			return out, fmt.Errorf("variant %s needs either rates or a factor", variantName(domain.Served{Tier: v.Tier, Speed: v.Speed, Region: v.Region}))
		}
		variant := domain.RateVariant{Tier: v.Tier, Speed: v.Speed, Region: v.Region}
		if v.Factor != nil {
			variant.Tiers = times.tiers(out.Tiers, v.Factor.Decimal)
		} else {
			variant.Tiers = tiers(v.Rates, v.Above, fees)
		}
		out.Variants = append(out.Variants, variant)
	}
	own := slices.Clone(out.Variants)
	for _, region := range slices.Sorted(maps.Keys(l.Regions)) {
		factor := l.Regions[region].Decimal
		out.Variants = append(out.Variants, domain.RateVariant{Region: region, Tiers: times.tiers(out.Tiers, factor)})
		for _, v := range own {
			if v.Region == "" {
				v.Region, v.Tiers = region, times.tiers(v.Tiers, factor)
				out.Variants = append(out.Variants, v)
			}
		}
	}
	return out, nil
}

func tiers(first rateTable, above []fileTier, fees rateTable) []domain.RateTier {
	out := []domain.RateTier{{Rates: first.rates(fees)}}
	for _, t := range above {
		out = append(out, domain.RateTier{Over: t.Over, Rates: t.Rates.rates(fees)})
	}
	return out
}

func (t rateTable) rates(fees rateTable) domain.Rates {
	r := make(domain.Rates, len(t)+len(fees))
	for name, fee := range fees {
		r[name] = fee.Decimal
	}
	for name, rate := range t {
		r[name] = rate.Decimal
	}
	return r
}

// markUp gives a card its charges, from its own markup or the file's.
func (b *builder) markUp(c *domain.ModelCard) {
	markup := b.marked[cardID(c.Provider, c.Name)]
	if markup == nil {
		markup = b.file.Markup
	}
	if markup == nil {
		return
	}
	times := multiplier{b: b, provider: c.Provider, model: c.Name}
	c.Prices = slices.Clone(c.Prices)
	for i := range c.Prices {
		p := &c.Prices[i]
		if p.Charge != nil {
			continue
		}
		charge := domain.PriceList{Currency: p.Cost.Currency, Tiers: times.tiers(p.Cost.Tiers, markup.Decimal)}
		for _, v := range p.Cost.Variants {
			v.Tiers = times.tiers(v.Tiers, markup.Decimal)
			charge.Variants = append(charge.Variants, v)
		}
		p.Charge = &charge
	}
}

// multiplier multiplies rates once, half to even at domain.PriceScale, and
// notes what it rounded.
type multiplier struct {
	b               *builder
	provider, model string
	tokensOnly      bool // leaves what is billed per call
}

func (x multiplier) tiers(from []domain.RateTier, factor decimal.Decimal) []domain.RateTier {
	out := make([]domain.RateTier, len(from))
	for i, t := range from {
		out[i] = domain.RateTier{Over: t.Over, Rates: make(domain.Rates, len(t.Rates))}
		for _, name := range slices.Sorted(maps.Keys(t.Rates)) {
			out[i].Rates[name] = x.rate(name, t.Rates[name], factor)
		}
	}
	return out
}

func (x multiplier) rate(meter string, rate, factor decimal.Decimal) decimal.Decimal {
	perCall := meter == domain.WebSearches.String() || meter == domain.FileSearches.String()
	if x.tokensOnly && perCall {
		return rate
	}
	exact := rate.Mul(factor)
	rounded := exact.RoundBank(domain.PriceScale)
	if !rounded.Equal(exact) {
		x.b.rounded = append(x.b.rounded, Rounded{x.provider, x.model, meter, exact, rounded})
	}
	return rounded
}

// variantName is how a variant is shown to people; "" is the standard.
func variantName(s domain.Served) string {
	name := ""
	for _, part := range []string{s.Tier, s.Speed, s.Region} {
		if part != "" && name != "" {
			name += "+"
		}
		name += part
	}
	return name
}
