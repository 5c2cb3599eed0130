package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"manti/ledger"
)

// errSetup: the configuration and the ledger don't fit; a person must look.
var errSetup = errors.New("seal: settings")

// An identity is under which names a ledger is and was signed.
type identity struct {
	// origins are its names, the first one first; it is signed under the last.
	origins []string
	// begun are the events that began all but the first.
	begun []succession
	// seen is the first index that wasn't looked at for a new origin.
	seen int64
}

// CurrentOrigin is the name under which the ledger is signed now; "" if it has
// none yet.
func CurrentOrigin(ctx context.Context, q ledger.Querier) (string, error) {
	first, err := FirstOrigin(ctx, q)
	if err != nil || first == "" {
		return "", err
	}
	who, err := identity{origins: []string{first}}.follow(ctx, q, 0)
	return who.current(), err
}

func (w identity) current() string { return w.origins[len(w.origins)-1] }

// forget makes the next pass look at the ledger from its beginning.
func (w *identity) forget() { *w = identity{} }

// follow looks for new origins in the events below size that it hasn't seen, and
// in those after them.
func (w identity) follow(ctx context.Context, q ledger.Querier, size int64) (identity, error) {
	more, err := readSuccessions(ctx, q, w.seen)
	if err != nil {
		return w, err
	}
	for _, m := range more {
		w.begun = append(slices.Clip(w.begun), m)
		w.origins = append(slices.Clip(w.origins), m.event.Origin)
		size = max(size, m.index+1)
	}
	w.seen = max(w.seen, size)
	return w, nil
}

// succeeds returns those of the accepted losses after which this ledger has begun
// a new origin in the place of what the checkpoint signed. There are none unless
// the origin that it has now was accepted: the events alone are the word of whoever
// can write to the database.
func (w identity) succeeds(c Checkpoint, accepted []Acceptance) (those []Acceptance) {
	current := false
	for i, b := range w.begun {
		for _, a := range accepted {
			if a.Event == b.id && a.Origin == b.event.Origin && a.Size == b.index+1 && a.Replaces(c) {
				those = append(those, a)
				current = current || i == len(w.begun)-1
			}
		}
	}
	if !current {
		return nil
	}
	return those
}

// identify finds out what the ledger of size events is called. One without a
// name gets the configured one, else the key's.
func (s *Sealer) identify(ctx context.Context, size int64) (err error) {
	who := s.who
	if len(who.origins) == 0 {
		first, err := s.firstOrigin(ctx)
		if err != nil {
			return err
		}
		who.origins = []string{first}
	}
	if who, err = who.follow(ctx, s.cfg.Pool, size); err != nil {
		return err
	}
	if own := s.cfg.Signer.Name(); !slices.Contains(who.origins, own) {
		return fmt.Errorf("%w: the key is one of %s, but the ledger is %s: `manti seal keygen --origin %[3]s` makes one for it", errSetup, own, who.current())
	}
	keys := s.cfg.Old
	for _, origin := range who.origins {
		signer, err := s.cfg.Signer.As(origin)
		if err != nil {
			return fmt.Errorf("sign for %s: %w", origin, err)
		}
		s.signer, keys = signer, keys.With(signer)
	}
	s.who, s.keys = who, keys
	return nil
}

func (s *Sealer) firstOrigin(ctx context.Context) (string, error) {
	name := s.cfg.Origin
	if name == "" {
		name = s.cfg.Signer.Name()
	}
	if err := CheckOrigin(name); err != nil {
		return "", err
	}
	first, err := nameOrigin(ctx, s.cfg.Pool, name)
	if err != nil {
		return "", err
	}
	if s.cfg.Origin != "" && s.cfg.Origin != first {
		return "", fmt.Errorf("%w: MANTI_ORIGIN is %s, but the ledger began as %s, which it is for ever", errSetup, s.cfg.Origin, first)
	}
	return first, nil
}

// publishKeys hands out the keys of all origins of a ledger that was found whole.
func (s *Sealer) publishKeys() {
	keys := Keys{}
	for _, origin := range slices.Backward(s.who.origins) {
		if signer, err := s.cfg.Signer.As(origin); err == nil { // identify has made each
			keys = keys.With(signer)
		}
	}
	s.own.Store(&keys)
}
