package domain

import (
	"errors"
	"fmt"
)

// UsageCorrected is a call as it stands from now on: the whole content, not a
// difference, in place of the one event that Call.Supersedes names, which is
// of this kind or a RequestCompleted. Event.At is the call's own time, so that
// a correction lands in the day and period of the call; recorded_at says when
// it was made, Author by whom.
type UsageCorrected struct {
	Call RequestCompleted
	// Basis says, in the public part, where the new figures come from.
	Basis Basis
	// Reason is an operator's text, ≤ MaxReason bytes, in the private part. It
	// can't be erased: no people's data belong there.
	Reason string
}

// Basis says what a correction goes by.
type Basis string

// The bases.
const (
	// Rerate: the same usage at the rates of another price version.
	Rerate Basis = "rerate"
	// FromProvider: the figures of the provider's bill.
	FromProvider Basis = "provider"
	// Waive: a call of unknown end costs and is charged nothing.
	Waive Basis = "waive"
	// Estimate: a call of unknown end is charged what was held for it.
	Estimate Basis = "estimate"
	// Manual: figures that an operator gave.
	Manual Basis = "manual"
)

// MaxReason is the length of what people write down as the reason of an event,
// in bytes.
const MaxReason = 1024

// Kind is KindUsageCorrected.
func (*UsageCorrected) Kind() Kind { return KindUsageCorrected }

// correctedPublic and correctedPrivate are the parts' members: a call's, and
// what a correction adds behind them.
type correctedPublic struct {
	*RequestPublic
	Basis *Basis `json:"basis"`
}

type correctedPrivate struct {
	*RequestPrivate
	Reason *string `json:"reason"`
}

func (u *UsageCorrected) parts() (public, private, erasable any) {
	return u.public(), u.private(), u.Call.Erasable.orNil()
}

func (u *UsageCorrected) slots() (public, private, erasable any) {
	return u.public(), u.private(), &u.Call.Erasable
}

func (u *UsageCorrected) public() *correctedPublic {
	return &correctedPublic{&u.Call.RequestPublic, &u.Basis}
}

func (u *UsageCorrected) private() *correctedPrivate {
	return &correctedPrivate{&u.Call.Private, &u.Reason}
}

func (u *UsageCorrected) appendPublic(b []byte) []byte {
	o := openObject(b)
	u.Call.RequestPublic.appendMembers(&o)
	o.string("basis", string(u.Basis))
	return o.close()
}

func (u *UsageCorrected) appendPrivate(b []byte) []byte {
	o := openObject(b)
	u.Call.Private.appendMembers(&o)
	o.string("reason", u.Reason)
	return o.close()
}

func (u *UsageCorrected) check() error {
	switch u.Basis {
	case Rerate, FromProvider, Waive, Estimate, Manual:
	default:
		return fmt.Errorf("%q is no basis of a correction", u.Basis)
	}
	if u.Call.Supersedes.IsZero() {
		return errors.New("a correction supersedes no event")
	}
	if !isClean(u.Reason, MaxReason) {
		return errUnclean
	}
	return u.Call.check()
}

// CallOf is the call that an event is about, as the event says it stands:
// false for other kinds.
func CallOf(b Body) (*RequestCompleted, bool) {
	switch b := b.(type) {
	case *RequestCompleted:
		return b, true
	case *UsageCorrected:
		return &b.Call, true
	}
	return nil, false
}
