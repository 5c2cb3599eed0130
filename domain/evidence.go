package domain

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// RejectionAnswered settles a record that the ledger couldn't take: what was
// done about it, so that it is no alarm any more.
type RejectionAnswered struct {
	// Digest is the SHA-256 of the record, in hex, as ledger.rejected has it.
	Digest string `json:"digest"`
	// Cause says in words what it was and what was done, ≤ MaxReason bytes.
	Cause string `json:"cause"`
}

// PersonForgotten says that erasable parts were deleted, and never whose
// strings stood there.
type PersonForgotten struct {
	// User is who was forgotten, if they were known by an id of ours; else
	// zero.
	User UserID `json:"user,omitzero"`
	// Indexes are the events that lost their erasable part, ascending, at
	// least one and at most MaxForgotten: more take more events. Whoever puts
	// events back (from a backup or a spool) leaves these parts out.
	Indexes []int64 `json:"indexes"`
	// Through is the size of the ledger at that time: all events below it were
	// looked at.
	Through int64 `json:"through"`
}

// MaxForgotten is how many parts one PersonForgotten names, so that it fits a
// record.
const MaxForgotten = 1000

// OriginStarted is the first event after a loss that an operator accepted: from
// here on checkpoints are signed under another origin, because they can't be
// consistent with those of the old one.
type OriginStarted struct {
	// Origin is the new origin's name.
	Origin string `json:"origin"`
	// Previous is the old origin's last signed checkpoint, the whole note; ""
	// if there was none.
	Previous string `json:"previous,omitempty"`
	// Size is how many events the ledger had when it began: this event's index.
	Size int64 `json:"size"`
	// Missing are the ranges of indexes of the old origin that nobody holds.
	Missing []IndexRange `json:"missing,omitempty"`
	// Cause says in words why, ≤ MaxReason bytes.
	Cause string `json:"cause"`
}

// IndexRange is the indexes from From up to, without, To.
type IndexRange struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Limits of OriginStarted, so that it fits a record.
const (
	MaxOrigin  = 256     // bytes of an origin's name
	MaxNote    = 8 << 10 // bytes of a checkpoint
	MaxMissing = 256     // ranges
)

// Kind is KindRejectionAnswered.
func (*RejectionAnswered) Kind() Kind { return KindRejectionAnswered }

func (r *RejectionAnswered) parts() (public, private, erasable any) { return r, nil, nil }
func (r *RejectionAnswered) slots() (public, private, erasable any) { return r, nil, nil }

func (r *RejectionAnswered) check() error {
	if b, err := hex.DecodeString(r.Digest); err != nil || len(b) != HashSize || hex.EncodeToString(b) != r.Digest {
		return fmt.Errorf("digest %q is no SHA-256 in lower-case hex", r.Digest)
	}
	return checkCause(r.Cause)
}

// Kind is KindPersonForgotten.
func (*PersonForgotten) Kind() Kind { return KindPersonForgotten }

func (p *PersonForgotten) parts() (public, private, erasable any) { return p, nil, nil }
func (p *PersonForgotten) slots() (public, private, erasable any) { return p, nil, nil }

func (p *PersonForgotten) check() error {
	n := len(p.Indexes)
	if n == 0 || n > MaxForgotten {
		return fmt.Errorf("%d indexes of erased parts, not 1 to %d", n, MaxForgotten)
	}
	if !slices.IsSorted(p.Indexes) || len(slices.Compact(slices.Clone(p.Indexes))) != n || p.Indexes[0] < 0 || p.Indexes[n-1] >= p.Through {
		return errors.New("indexes of erased parts must ascend, below the size of the ledger")
	}
	return nil
}

// Kind is KindOriginStarted.
func (*OriginStarted) Kind() Kind { return KindOriginStarted }

func (o *OriginStarted) parts() (public, private, erasable any) { return o, nil, nil }
func (o *OriginStarted) slots() (public, private, erasable any) { return o, nil, nil }

func (o *OriginStarted) check() error {
	if o.Origin == "" || !isClean(o.Origin, MaxOrigin) {
		return fmt.Errorf("%q can't be the name of an origin", o.Origin)
	}
	if !isClean(o.Previous, MaxNote) {
		return errors.New("the previous checkpoint is too long or no text")
	}
	if o.Size < 0 || len(o.Missing) > MaxMissing {
		return fmt.Errorf("size %d, %d missing ranges", o.Size, len(o.Missing))
	}
	for _, r := range o.Missing {
		if r.From < 0 || r.To <= r.From {
			return fmt.Errorf("range of missing indexes %d–%d is none", r.From, r.To)
		}
	}
	return checkCause(o.Cause)
}

func checkCause(cause string) error {
	if cause == "" {
		return errors.New("it names no cause")
	}
	if !isClean(cause, MaxReason) {
		return errUnclean
	}
	return nil
}
