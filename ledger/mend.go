package ledger

import (
	"errors"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
)

// maxDigits bounds an amount's digits before the point, maxExponent those after
// it, zeros included. No call comes near them, and 10^9 digits would be written
// out before anybody counted them.
const (
	maxDigits   = 30
	maxExponent = 64
)

// mend makes of a call what the decoder takes, where the encoder would not
// refuse it: times in UTC and whole microseconds, names cleaned and cut, no
// negative quantity. What was wrong rather than unusual is flagged.
func mend(c *domain.RequestCompleted) {
	for _, s := range []*string{&c.AskedModel, &c.Model, &c.Private.Provider, &c.Private.Host, &c.Private.Replica} {
		*s = domain.CleanText(*s, domain.MaxName)
	}
	wrong := false
	for _, t := range []*time.Time{&c.FirstByte, &c.FirstToken, &c.Ended} {
		wrong = mendTime(t) || wrong
	}
	wrong = mendStatus(&c.Status) || wrong
	wrong = mendUsage(&c.Usage) || wrong
	if len(c.Private.Attempts) > domain.MaxAttempts {
		c.Private.Attempts, wrong = c.Private.Attempts[:domain.MaxAttempts], true
	}
	for i := range c.Private.Attempts {
		a := &c.Private.Attempts[i]
		for _, t := range []*time.Time{&a.Started, &a.FirstByte, &a.Ended} {
			wrong = mendTime(t) || wrong
		}
		wrong = mendStatus(&a.Status) || wrong
		wrong = mendUsage(&a.Usage) || wrong
		if checkAmount(a.Cost) != nil {
			a.Cost, wrong = decimal.Decimal{}, true
		}
	}
	if wrong {
		flag(c, domain.FlagRepaired)
	}
}

// mendTime also drops what RFC 3339 has no form for.
func mendTime(t *time.Time) (wrong bool) {
	if t.IsZero() {
		*t = time.Time{}
		return false
	}
	*t = t.UTC().Truncate(time.Microsecond)
	if y := t.Year(); y < 1970 || y > 9999 {
		*t = time.Time{}
		return true
	}
	return false
}

func mendStatus(status *int) (wrong bool) {
	if *status < 0 || *status > 999 {
		*status = 0
		return true
	}
	return false
}

func mendUsage(u *domain.Metered) (wrong bool) {
	for m := range u {
		if u[m] < 0 {
			u[m], wrong = 0, true
		}
	}
	return wrong
}

func flag(c *domain.RequestCompleted, name string) {
	if !slices.Contains(c.Private.Flags, name) {
		c.Private.Flags = append(c.Private.Flags, name)
	}
}

// What encodeCall tries, in this order, with an event that is refused or too
// large; false if there is nothing to gain.

func asItIs(*domain.RequestCompleted) bool { return true }

// cleaned isn't done at once: mostly it is done already, and looks at every
// byte.
func cleaned(c *domain.RequestCompleted) bool {
	c.Clean()
	return true
}

func withoutRawUsage(c *domain.RequestCompleted) bool {
	if c.Private.RawUsage == nil {
		return false
	}
	c.Private.RawUsage = nil
	flag(c, domain.FlagRawDropped)
	return true
}

func withoutTexts(c *domain.RequestCompleted) bool {
	c.Erasable = domain.RequestErasable{}
	flag(c, domain.FlagRawDropped)
	return true
}

// bareMinimum is who called which model, when, how it ended and what was used;
// amounts if they can be kept, else zero.
func bareMinimum(c *domain.RequestCompleted) *domain.RequestCompleted {
	p := &c.Private
	bare := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Request: c.Request, Supersedes: c.Supersedes,
			Org: c.Org, Project: c.Project, Key: c.Key, User: c.User, Service: c.Service,
			Dialect: domain.CleanText(c.Dialect, domain.MaxName), Endpoint: domain.CleanText(c.Endpoint, domain.MaxName), Stream: c.Stream,
			AskedModel: c.AskedModel, Model: c.Model,
			FirstByte: c.FirstByte, FirstToken: c.FirstToken, Ended: c.Ended,
			Outcome: c.Outcome, Status: c.Status, Usage: c.Usage, Provenance: c.Provenance,
			Charge: keptPrice(c.Charge), Held: keptAmount(c.Held),
		},
		Private: domain.RequestPrivate{
			Provider: p.Provider, Host: p.Host, Credential: p.Credential, Cost: keptPrice(p.Cost),
			Replica: p.Replica, Spool: p.Spool, Epoch: p.Epoch,
			Flags: []string{domain.FlagRepaired},
		},
	}
	return bare
}

func keptPrice(p domain.Price) domain.Price {
	p.Amount = keptAmount(p.Amount)
	if _, err := domain.ParseCurrency(string(p.Currency)); err != nil {
		p.Currency = domain.NoCurrency
	}
	return p
}

func keptAmount(d decimal.Decimal) decimal.Decimal {
	if checkAmount(d) != nil {
		return decimal.Decimal{}
	}
	return d
}

var errAmount = errors.New("an amount is negative, or has too many digits")

func checkAmount(d decimal.Decimal) error {
	if d.IsNegative() || d.Exponent() < -maxExponent || int64(d.NumDigits())+int64(d.Exponent()) > maxDigits {
		return errAmount
	}
	return domain.CheckScale(d, domain.MaxScale)
}

func checkAmounts(c *domain.RequestCompleted) error {
	return errors.Join(checkAmount(c.Charge.Amount), checkAmount(c.Private.Cost.Amount), checkAmount(c.Held))
}

// checkStarted cleans the texts, and refuses what would keep Unknown from being
// encoded.
func checkStarted(s *domain.Started) error {
	s.Erasable.Clean()
	for _, t := range []*string{&s.AskedModel, &s.Model, &s.Provider, &s.Host, &s.Replica} {
		*t = domain.CleanText(*t, domain.MaxName)
	}
	s.At = s.At.UTC().Truncate(time.Microsecond)
	if s.ID.IsZero() || s.At.IsZero() {
		return errors.New("a start needs an id and a time")
	}
	if _, err := domain.ParseCurrency(string(s.Currency)); err != nil {
		return err
	}
	return checkAmount(s.Held)
}
