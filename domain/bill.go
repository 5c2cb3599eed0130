package domain

import (
	"slices"
	"strings"
	"time"
)

// ServedAs is how a call was served by the words of its provider. All words by
// which providers call their standard service are "".
func ServedAs(tier, speed, region string) Served {
	return Served{standard(tier), standard(speed), standard(region)}
}

func standard(word string) string {
	switch w := strings.ToLower(word); w {
	case "default", "standard", "auto", "on_demand", "not_available", "global":
		return ""
	default:
		return w
	}
}

// A Bill is what a usage costs and is charged. The prices' versions are left to
// whoever knows the book.
type Bill struct {
	Cost, Charge Price
	// Flags name what had no rate, each once.
	Flags []string
}

// BillFor prices a usage at the time of a call's admission: the cost by the
// prices of the model that served, the charge by what was published for the
// model that was asked for. If nothing was, the charge is by the model that
// served too.
func BillFor(served, asked *ModelCard, at time.Time, u Usage, s Served) Bill {
	p := served.At(at)
	if a := asked.At(at); a.Charge != nil {
		p.Charge = a.Charge
	}
	b := Bill{Cost: Price{Currency: p.Cost.Currency}, Charge: Price{Currency: p.ChargeList().Currency}}
	b.Cost.Amount, b.Flags = p.Cost.Amount(u, s)
	b.Charge.Amount = b.Cost.Amount
	if p.Charge == nil {
		return b
	}
	var more []string
	b.Charge.Amount, more = p.Charge.Amount(u, s)
	for _, flag := range more {
		if !slices.Contains(b.Flags, flag) {
			b.Flags = append(b.Flags, flag)
		}
	}
	return b
}

// IsPriceFlag reports whether a flag of RequestPrivate is one that pricing sets.
func IsPriceFlag(flag string) bool { return flag == FlagUnpriced || flag == FlagTierUnpriced }

// Find is the card of a provider's model by its name or an alias, nil if the
// book has none.
func (b *PriceBook) Find(provider, model string) *ModelCard {
	for i := range b.Models {
		if c := &b.Models[i]; c.Provider == provider && (c.Name == model || slices.Contains(c.Aliases, model)) {
			return c
		}
	}
	return nil
}

// Served are the ways of serving for which the model has prices of their own,
// at any time.
func (c *ModelCard) Served() []Served {
	var all []Served
	add := func(l *PriceList) {
		for _, v := range l.Variants {
			if s := (Served{v.Tier, v.Speed, v.Region}); !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	for i := range c.Prices {
		add(&c.Prices[i].Cost)
		if charge := c.Prices[i].Charge; charge != nil {
			add(charge)
		}
	}
	return all
}
