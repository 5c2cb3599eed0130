package projections

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
)

// PriceChange is one difference between two price books: a rate, or, if Meter
// is empty, a model that only one of them has or whose description differs.
type PriceChange struct {
	Provider, Model string
	// What says what differs if Meter is empty: "added", "removed", "described
	// differently".
	What string
	// List is "cost" or "charge". A charge equal to the cost appears as well:
	// it is what the customer pays.
	List     string
	Currency domain.Currency
	// From is when the price begins; zero is always.
	From time.Time
	// Served names the variant ("priority", "fast+us"); "" is the standard.
	Served string
	// Over is the prompt size in tokens above which the rate holds.
	Over  int64
	Meter string
	// Old and New are the rates; not Valid where there is none.
	Old, New decimal.NullDecimal
}

// DiffPrices lists what differs, by provider and model, in the order in which a
// person would read it. Old may be nil: there was no book.
func DiffPrices(old, new *domain.PriceBook) []PriceChange {
	before, after := cardsByID(old), cardsByID(new)
	ids := slices.Sorted(maps.Keys(before))
	for id := range after {
		if _, both := before[id]; !both {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var changes []PriceChange
	for _, id := range ids {
		changes = append(changes, diffCards(before[id], after[id])...)
	}
	return changes
}

func cardsByID(book *domain.PriceBook) map[string]*domain.ModelCard {
	cards := map[string]*domain.ModelCard{}
	if book == nil {
		return cards
	}
	for i := range book.Models {
		c := &book.Models[i]
		cards[cardID(c.Provider, c.Name)] = c
	}
	return cards
}

func diffCards(old, new *domain.ModelCard) []PriceChange {
	var changes []PriceChange
	switch {
	case old == nil:
		changes = append(changes, PriceChange{Provider: new.Provider, Model: new.Name, What: "added"})
	case new == nil:
		changes = append(changes, PriceChange{Provider: old.Provider, Model: old.Name, What: "removed"})
	case !sameDescription(*old, *new):
		changes = append(changes, PriceChange{Provider: new.Provider, Model: new.Name, What: "described differently"})
	}
	before, after := rateRows(old), rateRows(new)
	places := slices.Collect(maps.Keys(before))
	for p := range after {
		if _, both := before[p]; !both {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, ratePlace.compare)
	for _, p := range places {
		was, is := before[p], after[p]
		if was.Valid == is.Valid && was.Decimal.Equal(is.Decimal) {
			continue
		}
		changes = append(changes, p.change(cmp.Or(new, old), was, is))
	}
	return changes
}

// sameDescription compares everything but prices.
func sameDescription(a, b domain.ModelCard) bool {
	if !slices.Equal(a.Aliases, b.Aliases) {
		return false
	}
	return a.Kind == b.Kind && a.ContextLimit == b.ContextLimit && a.OutputLimit == b.OutputLimit &&
		a.Reasoning == b.Reasoning && a.Effort == b.Effort && a.NoSampling == b.NoSampling &&
		a.StructuredOutput == b.StructuredOutput && a.Tools == b.Tools && a.Images == b.Images &&
		a.Created == b.Created && a.Deprecated == b.Deprecated
}

// ratePlace is where a rate stands in a model's card.
type ratePlace struct {
	charge   bool
	currency domain.Currency
	from     int64 // Unix microseconds
	served   domain.Served
	over     int64
	meter    string
}

func (p ratePlace) compare(q ratePlace) int {
	return cmp.Or(
		cmp.Compare(p.from, q.from),
		cmp.Compare(strconv.FormatBool(p.charge), strconv.FormatBool(q.charge)),
		cmp.Compare(variantName(p.served), variantName(q.served)),
		cmp.Compare(p.over, q.over),
		cmp.Compare(meterOrder(p.meter), meterOrder(q.meter)),
		cmp.Compare(p.currency, q.currency),
	)
}

func meterOrder(name string) domain.Meter {
	m, _ := domain.ParseMeter(name)
	return m
}

func (p ratePlace) change(c *domain.ModelCard, was, is decimal.NullDecimal) PriceChange {
	change := PriceChange{
		Provider: c.Provider, Model: c.Name, List: "cost", Currency: p.currency,
		Served: variantName(p.served), Over: p.over, Meter: p.meter, Old: was, New: is,
	}
	if p.charge {
		change.List = "charge"
	}
	if p.from != noDate {
		change.From = time.UnixMicro(p.from).UTC()
	}
	return change
}

// noDate is the place of a price that holds always.
const noDate = -62135596800_000_000 // time.Time{}.UnixMicro()

func rateRows(c *domain.ModelCard) map[ratePlace]decimal.NullDecimal {
	rows := map[ratePlace]decimal.NullDecimal{}
	if c == nil {
		return rows
	}
	for _, p := range c.Prices {
		for _, charge := range []bool{false, true} {
			list := p.Cost
			if charge {
				list = p.ChargeList()
			}
			at := ratePlace{charge: charge, currency: list.Currency, from: p.From.UnixMicro()}
			at.put(rows, list.Tiers)
			for _, v := range list.Variants {
				at.served = domain.Served{Tier: v.Tier, Speed: v.Speed, Region: v.Region}
				at.put(rows, v.Tiers)
			}
		}
	}
	return rows
}

func (p ratePlace) put(rows map[ratePlace]decimal.NullDecimal, tiers []domain.RateTier) {
	for _, t := range tiers {
		for name, rate := range t.Rates {
			p.over, p.meter = t.Over, name
			rows[p] = decimal.NullDecimal{Decimal: rate, Valid: true}
		}
	}
}
