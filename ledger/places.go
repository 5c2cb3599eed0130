package ledger

import (
	"context"
	"errors"
	"time"

	"manti/domain"
	"manti/ledger/spool"
)

// placed writes into the spool where the ledger has a load, durably: from then on
// the load can be put back there. It tries until there is room, or reports false
// when ctx ends; an error is the spool's and final.
func (s *Shipper) placed(ctx context.Context, l load, res Result) (done bool, err error) {
	payload := l.places(res).Append(nil)
	for attempt := 0; ctx.Err() == nil; attempt++ {
		pos, err := s.cfg.Spool.Append(spool.Placed, [16]byte{}, payload)
		if err == nil {
			err = s.cfg.Spool.Sync(ctx, pos)
		}
		switch {
		case err == nil:
			return true, nil
		case ctx.Err() != nil:
			return false, nil
		case !errors.Is(err, spool.ErrFull) && !errors.Is(err, spool.ErrSlow):
			return false, err
		case attempt == 0:
			s.cfg.Log.Warn("the spool can't take the places of what the ledger took; nothing is shipped until it can", "err", err)
		}
		sleep(ctx, backOff(attempt))
	}
	return false, nil
}

// places is what became of each record of the load.
func (l load) places(res Result) spool.Places {
	var p spool.Places
	highest := -1
	for i, place := range res.Places {
		p.Places = append(p.Places, spool.Place{ID: l.events[i].ID, Index: place.Index, At: place.RecordedAt})
		if place.Index >= 0 && (highest < 0 || place.Index >= res.Places[highest].Index) {
			highest = i
		}
	}
	for _, id := range l.unreadable {
		p.Places = append(p.Places, spool.Place{ID: id, Index: NoIndex})
	}
	if highest >= 0 {
		p.Leaf = domain.LeafHash(res.Places[highest].RecordedAt, l.events[highest].Canonical())
	}
	for i := range p.Places {
		if p.Places[i].Index < 0 {
			p.Places[i].At = time.Time{}
		}
	}
	return p
}
