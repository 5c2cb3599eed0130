package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger/seal"
)

// A newOrigin is an OriginStarted, and whether the outside memory has accepted it.
// The event alone is the word of whoever can write to the database.
type newOrigin struct {
	index    int64
	name     string
	accepted []seal.Acceptance
}

func (r *run) noticeOrigin(index int64, at time.Time, e domain.Event, b *domain.OriginStarted) {
	began := newOrigin{index: index, name: b.Origin}
	for _, a := range r.cfg.Accepted {
		if a.Event == e.ID && a.Size == index+1 && a.Origin == b.Origin {
			began.accepted = append(began.accepted, a)
		}
	}
	r.begun = append(r.begun, began)
	r.note(fmt.Sprintf("origin %s began at event %d after a loss that %s accepted: %s", b.Origin, index, e.Author, b.Cause))
	for _, m := range b.Missing {
		r.note(fmt.Sprintf("events %d to %d of the origin before were not recovered", m.From, m.To-1))
	}
	if len(began.accepted) > 0 {
		r.begunAnew = at
		return
	}
	r.report.Unaccepted = append(r.report.Unaccepted, b.Origin)
	r.note(fmt.Sprintf("nothing outside the database has accepted origin %s: what spools say of places before it still counts", b.Origin))
}

// isReplaced reports whether the checkpoint from outside is of an origin in whose
// place another was accepted, under which nothing is signed yet.
func (r *run) isReplaced(c seal.Checkpoint) bool {
	if len(r.begun) == 0 {
		return false
	}
	last := r.begun[len(r.begun)-1]
	for _, a := range last.accepted {
		if a.Replaces(c) {
			r.report.Unsigned = last.name
			return true
		}
	}
	return false
}

// readAccepted takes what was accepted, and the last checkpoints from before, as
// what the tree must pass through.
func (r *run) readAccepted() {
	for _, b := range r.begun {
		for _, a := range b.accepted {
			r.roots = append(r.roots, root{Checkpoint: seal.Checkpoint{Origin: a.Origin, Size: a.Size, Root: a.Root}, accepted: true})
			if a.Kept == "" {
				continue
			}
			kept, err := r.open([]byte(a.Kept))
			if err != nil || kept.Size > b.index {
				r.note(fmt.Sprintf("the checkpoint that was kept when %s was accepted is signed by no known key", a.Origin))
				continue
			}
			r.roots = append(r.roots, root{Checkpoint: kept, accepted: true, signed: r.cfg.Keys.Len() > 0})
		}
	}
}

// checkOrigins says for each new origin what no signature from before it vouches
// for: what the last checkpoint that was lost covered can't be proved without it.
func (r *run) checkOrigins(context.Context, pgx.Tx) error {
	for _, b := range r.begun {
		signed := int64(0)
		for _, c := range r.roots {
			if c.holds && c.signed && c.Size <= b.index {
				signed = max(signed, c.Size)
			}
		}
		if signed == b.index {
			continue
		}
		text := fmt.Sprintf("no signature made before %s began vouches for events %d to %d", b.name, signed, b.index-1)
		if len(b.accepted) > 0 {
			text += "; they are what was accepted outside the database"
		}
		r.note(text)
	}
	return nil
}
