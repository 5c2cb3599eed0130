package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// Rerate charges the same usage by another price version, and with cost counts
// what the provider takes by it too. Refused is a call whose amounts can't be
// recomputed from its own version, whose model has no price in the other one,
// or whose currency would change. Calls without usage are left.
func (b *Books) Rerate(ctx context.Context, version domain.EventID, cost bool) (Change, error) {
	to, err := b.Get(ctx, version)
	if err != nil {
		return nil, err
	}
	if err := b.All(ctx); err != nil {
		return nil, err
	}
	return func(e ledger.Entry, call *domain.RequestCompleted) error {
		if call.Usage.IsZero() {
			return errLeave
		}
		return b.rerate(e, call, to, cost)
	}, nil
}

func (b *Books) rerate(e ledger.Entry, call *domain.RequestCompleted, to *domain.PriceBook, cost bool) error {
	pricing, err := b.pricingOf(e, call)
	if err != nil {
		return err
	}
	if cost && pricing.cost == nil {
		return errors.New("its cost names no price version that is in the ledger: correct without --with-cost")
	}
	bill, err := pricing.price(e, call, to)
	if err != nil {
		return err
	}
	if !sameCurrency(bill.Charge, call.Charge) || cost && !sameCurrency(bill.Cost, call.Private.Cost) {
		return fmt.Errorf("price version %s has its price in another currency", to.Version)
	}
	call.Charge = bill.Charge
	if cost {
		call.Private.Cost = bill.Cost
	}
	setFlags(call, bill.Flags)
	return nil
}

// Waive settles a call of unknown end: it costs and is charged nothing.
func Waive(e ledger.Entry, call *domain.RequestCompleted) error {
	if !IsUnsettled(e.Event) {
		return errLeave
	}
	return nil // its amounts are zero already
}

// Estimate settles a call of unknown end with what was held for it: the most
// that it can have been charged. What it cost is taken to be the same if it is
// in the same currency, and nothing otherwise.
func Estimate(e ledger.Entry, call *domain.RequestCompleted) error {
	if !IsUnsettled(e.Event) {
		return errLeave
	}
	call.Charge.Amount = call.Held
	if sameCurrency(call.Private.Cost, call.Charge) {
		call.Private.Cost.Amount = call.Held
	}
	return nil
}

// Figures are what an operator, or a provider's bill, says of a call. What is nil
// stays, or follows from the usage.
type Figures struct {
	// Meters replace those of the call; others stay.
	Meters map[domain.Meter]int64
	// Whole says that meters which aren't named are zero.
	Whole bool
	// Charge and Cost are in the call's own currencies.
	Charge, Cost *decimal.Decimal
	// Provenance is the usage's, if it changes.
	Provenance domain.Provenance
}

// Restate gives a call figures. Where they name usage but no amount, the amount
// is recomputed by the call's own price version.
func (b *Books) Restate(ctx context.Context, f Figures) (Change, error) {
	if err := b.All(ctx); err != nil {
		return nil, err
	}
	return func(e ledger.Entry, call *domain.RequestCompleted) error { return b.restate(f, e, call) }, nil
}

func (b *Books) restate(f Figures, e ledger.Entry, call *domain.RequestCompleted) error {
	usage := call.Usage
	if f.Whole {
		usage = domain.Metered{}
	}
	for m, n := range f.Meters {
		if n < 0 {
			return fmt.Errorf("%s can't be %d", m, n)
		}
		usage[m] = n
	}
	if usage != call.Usage {
		if err := b.reuse(f, e, call, usage); err != nil {
			return err
		}
	}
	return f.setAmounts(call)
}

// reuse gives a call another usage, with the amounts that follow from it unless
// both are given.
func (b *Books) reuse(f Figures, e ledger.Entry, call *domain.RequestCompleted, usage domain.Metered) error {
	pricing, err := b.pricingOf(e, call)
	call.Usage, call.Provenance, call.Estimator = usage, f.Provenance, ""
	if f.Charge != nil && f.Cost != nil {
		return nil
	}
	if err != nil {
		return err
	}
	charge, err := pricing.price(e, call, pricing.charge)
	if err != nil {
		return err
	}
	if !sameCurrency(charge.Charge, call.Charge) {
		return errors.New("its charge isn't in the currency of its price version")
	}
	call.Charge = charge.Charge
	setFlags(call, charge.Flags)
	if f.Cost != nil {
		return nil
	}
	if pricing.cost == nil {
		return errors.New("its cost names no price version that is in the ledger: give --cost")
	}
	cost, err := pricing.price(e, call, pricing.cost)
	call.Private.Cost = cost.Cost
	return err
}

func sameCurrency(a, b domain.Price) bool { return a.Currency == b.Currency }

// setAmounts puts in what was given. An amount that isn't the one computed from
// the price version doesn't name it any more.
func (f Figures) setAmounts(call *domain.RequestCompleted) error {
	for _, s := range []struct {
		what  string
		given *decimal.Decimal
		price *domain.Price
	}{{"charge", f.Charge, &call.Charge}, {"cost", f.Cost, &call.Private.Cost}} {
		if s.given == nil || s.given.Equal(s.price.Amount) {
			continue
		}
		if s.given.IsNegative() {
			return fmt.Errorf("the %s can't be %s", s.what, s.given)
		}
		if err := domain.CheckScale(*s.given, domain.MaxScale); err != nil {
			return err
		}
		*s.price = domain.Price{Amount: *s.given, Currency: s.price.Currency}
	}
	return nil
}
