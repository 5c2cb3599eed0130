package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// Books are price books by their version. A version never changes, so what was
// read is kept.
type Books struct {
	q     ledger.Querier
	known map[domain.EventID]*domain.PriceBook
}

// NewBooks reads through q, which needs the writer's or the auditor's rights.
func NewBooks(q ledger.Querier) *Books {
	return &Books{q: q, known: map[domain.EventID]*domain.PriceBook{}}
}

// Get is the book of a version. What isn't one is refused with
// domain.CodeNotFound.
func (b *Books) Get(ctx context.Context, version domain.EventID) (*domain.PriceBook, error) {
	if book, ok := b.known[version]; ok {
		return book, nil
	}
	entry, err := ledger.Get(ctx, b.q, version)
	if err != nil {
		return nil, fmt.Errorf("read price version %s: %w", version, err)
	}
	book, err := bookOf(entry.Event)
	if err != nil {
		return nil, err
	}
	b.known[version] = book
	return book, nil
}

// All reads the books of all versions, so that Known has each.
func (b *Books) All(ctx context.Context) error {
	versions, err := readVersions(ctx, b.q)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if _, err := b.Get(ctx, v.ID); err != nil {
			return err
		}
	}
	return nil
}

// pricing is how a call came to its amounts: by the books that it names, and as
// it was served.
type pricing struct {
	charge, cost *domain.PriceBook // cost is nil if the cost comes from no book
	how          domain.Served
}

// pricingOf finds how the call was priced: with which of the ways of serving its
// own books give just the amounts that stand there. An event keeps the tier and
// the region that the provider named, but not the speed, and a call that several
// models served has the sum of their amounts. What can't be found again can't
// be priced otherwise either: that is refused rather than guessed. Of a call
// without usage there is nothing to find.
func (b *Books) pricingOf(e ledger.Entry, call *domain.RequestCompleted) (pricing, error) {
	p := pricing{charge: b.known[call.Charge.Version], cost: b.known[call.Private.Cost.Version], how: domain.ServedAs(call.Tier, "", call.Private.Region)}
	if p.charge == nil {
		return p, errors.New("its charge names no price version that is in the ledger: correct it by itself, with --charge and --cost")
	}
	served, asked, err := cardsOf(p.charge, call)
	if err != nil || call.Usage.IsZero() {
		return p, err
	}
	for _, how := range append([]domain.Served{p.how}, slices.Concat(served.Served(), asked.Served())...) {
		if how.Tier == p.how.Tier && how.Region == p.how.Region && p.gives(e, call, how) {
			p.how = how
			return p, nil
		}
	}
	return p, fmt.Errorf("its amounts aren't its usage times the rates of its price version %s: correct it by itself, with --charge and --cost", call.Charge.Version)
}

// gives reports whether the call's books give its amounts, if it was served so.
func (p pricing) gives(e ledger.Entry, call *domain.RequestCompleted, how domain.Served) bool {
	p.how = how
	bill, err := p.price(e, call, p.charge)
	if err != nil || !sameAmount(bill.Charge, call.Charge) {
		return false
	}
	if p.cost == nil {
		return true
	}
	bill, err = p.price(e, call, p.cost)
	return err == nil && sameAmount(bill.Cost, call.Private.Cost)
}

func sameAmount(a, b domain.Price) bool { return a.Amount.Equal(b.Amount) && a.Currency == b.Currency }

// cardsOf are the models that served and that was called.
func cardsOf(book *domain.PriceBook, call *domain.RequestCompleted) (served, asked *domain.ModelCard, err error) {
	provider, target := call.Private.Provider, call.Model
	if n := len(call.Private.Attempts); n > 0 && call.Private.Attempts[n-1].Model != "" {
		target = call.Private.Attempts[n-1].Model
	}
	for _, m := range []struct {
		name string
		card **domain.ModelCard
	}{{call.Model, &served}, {target, &asked}} {
		if *m.card = book.Find(provider, m.name); *m.card == nil {
			return nil, nil, fmt.Errorf("price version %s has no price for %s", book.Version, cardID(provider, m.name))
		}
	}
	return served, asked, nil
}

// price is what the call's usage costs and is charged by a book.
func (p pricing) price(e ledger.Entry, call *domain.RequestCompleted, book *domain.PriceBook) (domain.Bill, error) {
	served, asked, err := cardsOf(book, call)
	if err != nil {
		return domain.Bill{}, err
	}
	bill := domain.BillFor(served, asked, e.Event.At, domain.Usage(call.Usage), p.how)
	bill.Cost.Version, bill.Charge.Version = book.Version, book.Version
	for _, amount := range []decimal.Decimal{bill.Cost.Amount, bill.Charge.Amount} {
		if err := domain.CheckScale(amount, domain.MaxScale); err != nil {
			return domain.Bill{}, err
		}
	}
	return bill, nil
}

// setFlags puts the flags of a bill in place of those of the last one.
func setFlags(call *domain.RequestCompleted, flags []string) {
	call.Private.Flags = append(slices.DeleteFunc(call.Private.Flags, domain.IsPriceFlag), flags...)
	if len(call.Private.Flags) == 0 {
		call.Private.Flags = nil
	}
}
