package route

import (
	"github.com/shopspring/decimal"

	"manti/domain"
)

// Dearest is the highest rates that any call to a model can be charged, per
// token and per call of a provider's tool.
type Dearest struct {
	Currency domain.Currency
	Input    decimal.Decimal
	Output   decimal.Decimal
	// Context and Answer are the model's limits in tokens, 0 if unknown.
	Context, Answer int64
}

// dearest looks through all tiers and variants of all prices of the model.
func dearest(card *domain.ModelCard) Dearest {
	d := Dearest{Context: card.ContextLimit, Answer: card.OutputLimit}
	for _, p := range card.Prices {
		list := p.ChargeList()
		d.Currency = list.Currency
		d.raise(list.Tiers)
		for _, v := range list.Variants {
			d.raise(v.Tiers)
		}
	}
	d.Input, d.Output = d.Input.Shift(-6), d.Output.Shift(-6)
	return d
}

func (d *Dearest) raise(tiers []domain.RateTier) {
	for _, t := range tiers {
		for m := range domain.Meter(domain.MeterCount) {
			rate, ok := t.Rates.Rate(m)
			if !ok {
				continue
			}
			switch m {
			case domain.OutputTokens, domain.ReasoningTokens, domain.OutputAudioTokens, domain.OutputImageTokens:
				d.Output = decimal.Max(d.Output, rate)
			case domain.WebSearches, domain.FileSearches:
			default:
				d.Input = decimal.Max(d.Input, rate)
			}
		}
	}
}
