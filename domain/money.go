package domain

import (
	"errors"
	"fmt"

	"github.com/shopspring/decimal"
)

// Currency is an ISO 4217 code of three capital letters.
type Currency string

// XTS is ISO 4217's code for tests. Simulator calls carry it; it never reaches
// a balance, budget or invoice in real money.
// NoCurrency is its code for no currency: that of an amount whose own currency
// was no code at all.
const (
	XTS        Currency = "XTS"
	NoCurrency Currency = "XXX"
	USD        Currency = "USD"
)

// MaxScale is how many decimals an amount of money may have. Unit prices have
// at most PriceScale decimals per PriceUnit, which is what makes quantity ×
// price exact within it.
const (
	MaxScale   = 18
	PriceScale = 9
)

// Errors of money. They are refusals: nothing is ever rounded to fit.
var (
	ErrScale    = errors.New("domain: more decimals than the scale allows")
	ErrCurrency = errors.New("domain: not an ISO 4217 currency code of three capital letters")
)

// ParseCurrency checks the form of a code, not whether ISO assigned it.
func ParseCurrency(s string) (Currency, error) {
	if len(s) != 3 {
		return "", fmt.Errorf("%w: %q", ErrCurrency, s)
	}
	for _, c := range []byte(s) {
		if c < 'A' || c > 'Z' {
			return "", fmt.Errorf("%w: %q", ErrCurrency, s)
		}
	}
	return Currency(s), nil
}

// CheckScale refuses a number with more than scale significant decimals.
// Trailing zeros don't count.
func CheckScale(d decimal.Decimal, scale int32) error {
	if -d.Exponent() <= scale || d.Equal(d.Truncate(scale)) {
		return nil
	}
	return fmt.Errorf("%w: %s has more than %d", ErrScale, d, scale)
}

// AmountText is the one text form of an amount: plain digits, no exponent, no
// trailing zeros after the point, "0" for zero.
func AmountText(d decimal.Decimal) string { return d.String() }
