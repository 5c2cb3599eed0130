package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"manti/domain"
	"manti/ledger/spool"
)

// A claim is what a spool says about one entry of the ledger: that it had this
// event at this index since this time.
type claim struct {
	index int64
	at    int64 // µs since 1970
	id    domain.EventID
	// from is the number of the archive that has the event itself, at pos; none if
	// only its place is known.
	from int32
	pos  spool.Position
	// entry: pos is that of an Entry record, else of the event's End.
	entry bool
	// kind is that of an Entry, "" for calls.
	kind domain.Kind
	// leaf is the hash that the entry had, zero if no record says it.
	leaf [domain.HashSize]byte
}

const none = -1

func (c *claim) held() bool { return c.from != none }

// evidence is what all spools at hand say.
type evidence struct {
	archives []*spool.Archive
	// claims are by ascending index, each index and event once but where spools
	// disagree.
	claims []claim
	// aside are the events that the ledger couldn't take and set aside.
	aside []claim
	// origins are the OriginStarted that the spools have, with their claims.
	origins []origin
	// forgotten says of indexes when their erasable parts were erased, in µs since
	// 1970.
	forgotten map[int64][]int64
	// seen are the highest heads that processes remembered.
	seen []spool.Seen
	// homeless are completions that a damaged spool has shipped and has no place of:
	// it may have stood in what is damaged.
	homeless []claim
	// damage is what couldn't be read, for people; damaged says in which archives.
	damage  []error
	damaged map[int32]bool
}

// origin is where, and when, an operator accepted that the ledger isn't what it
// was: what stood at or behind its index before is void.
type origin struct {
	index int64
	at    int64 // µs since 1970
}

// voids reports whether what an index held since a time isn't there any more.
func (o origin) voids(index, at int64) bool { return index >= o.index && at < o.at }

// gather reads the places and entries of all archives, in one walk over each.
func gather(archives []*spool.Archive) (*evidence, error) {
	e := &evidence{archives: archives, forgotten: map[int64][]int64{}, damaged: map[int32]bool{}}
	for n, a := range archives {
		seen, ok, err := spool.LoadSeen(a.Dir())
		if err != nil {
			return nil, err
		}
		if ok && seen.Size > 0 {
			e.seen = append(e.seen, seen)
		}
		for record, err := range a.All() {
			if _, damaged := errors.AsType[*spool.CorruptError](err); damaged {
				e.damage, e.damaged[int32(n)] = append(e.damage, err), true
				continue
			}
			if err != nil {
				return nil, err
			}
			if err := e.take(int32(n), record); err != nil {
				e.damage, e.damaged[int32(n)] = append(e.damage, fmt.Errorf("spool %s at %s: %w", a.Dir(), record.Pos, err)), true
			}
		}
	}
	e.sort()
	return e, nil
}

// take is one record's part.
func (e *evidence) take(from int32, r spool.Record) error {
	switch r.Kind {
	case spool.Placed:
		p, err := spool.ParsePlaces(r.Payload)
		if err != nil {
			return err
		}
		e.takePlaces(p)
	case spool.Entry:
		c, err := spool.ParseCommitted(r.Payload)
		if err != nil {
			return err
		}
		return e.takeEntry(from, r, c)
	}
	return nil
}

func (e *evidence) takePlaces(p spool.Places) {
	head, _ := p.Head()
	for _, place := range p.Places {
		c := claim{index: place.Index, id: place.ID, from: none}
		if place.Index < 0 {
			e.aside = append(e.aside, c)
			continue
		}
		c.at = place.At.UnixMicro()
		if place.Index == head.Size-1 {
			c.leaf = p.Leaf
		}
		e.claims = append(e.claims, c)
	}
}

func (e *evidence) takeEntry(from int32, r spool.Record, c spool.Committed) error {
	claimed := claim{index: c.Index, at: c.At.UnixMicro(), id: r.ID, from: from, pos: r.Pos, entry: true, kind: domain.Kind(c.Kind), leaf: domain.LeafHash(c.At, c.Canonical)}
	switch claimed.kind {
	case domain.KindOriginStarted:
		e.origins = append(e.origins, origin{claimed.index, claimed.at})
	case domain.KindPersonForgotten:
		event, err := decodeCommitted(claimed.id, c)
		if err != nil {
			return err
		}
		for _, index := range event.Body.(*domain.PersonForgotten).Indexes {
			e.forgotten[index] = append(e.forgotten[index], claimed.at)
		}
	}
	e.claims = append(e.claims, claimed)
	return nil
}

// encodedOf is an Entry's event in its parts.
func encodedOf(id domain.EventID, c spool.Committed) (domain.Encoded, error) {
	public, _, _, err := domain.SplitCanonical(c.Canonical)
	return domain.Encoded{ID: id, Kind: domain.Kind(c.Kind), Public: public,
		Private: c.Private, PrivateSalt: c.PrivateSalt, Erasable: c.Erasable, ErasableSalt: c.ErasableSalt}, err
}

func decodeCommitted(id domain.EventID, c spool.Committed) (domain.Event, error) {
	enc, err := encodedOf(id, c)
	if err != nil {
		return domain.Event{}, err
	}
	return domain.DecodeFast(enc)
}

// sort brings the claims into their order and drops those that say the same.
func (e *evidence) sort() {
	slices.SortStableFunc(e.claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.at, b.at), slices.Compare(a.id[:], b.id[:]))
	})
	kept := e.claims[:0]
	for _, c := range e.claims {
		if n := len(kept); n > 0 && kept[n-1].index == c.index && kept[n-1].at == c.at && kept[n-1].id == c.id {
			kept[n-1].join(c)
			continue
		}
		kept = append(kept, c)
	}
	e.claims = kept
	slices.SortFunc(e.aside, func(a, b claim) int { return slices.Compare(a.id[:], b.id[:]) })
	e.aside = slices.CompactFunc(e.aside, func(a, b claim) bool { return a.id == b.id })
}

// join adds what another record says of the same entry.
func (c *claim) join(other claim) {
	if !c.held() {
		c.from, c.pos, c.entry, c.kind = other.from, other.pos, other.entry, other.kind
	}
	if c.leaf == [domain.HashSize]byte{} {
		c.leaf = other.leaf
	}
}

// erased reports whether what an index held since a time has lost its erasable
// part, and not what held the index before or after it.
func (e *evidence) erased(index, at int64) bool {
	return slices.ContainsFunc(e.forgotten[index], func(when int64) bool {
		return at < when && !slices.ContainsFunc(e.origins, func(o origin) bool { return o.voids(index, at) && o.at < when })
	})
}

// split takes out the claims that a later origin made void. origins are those
// that the ledger has, besides what the spools have of them.
func (e *evidence) split(origins []origin) (void []claim) {
	all := slices.Concat(origins, e.origins)
	e.origins = all[:0:0]
	for _, o := range all {
		if !slices.ContainsFunc(all, func(later origin) bool { return later.voids(o.index, o.at) }) {
			e.origins = append(e.origins, o)
		}
	}
	voided := func(index, at int64) bool {
		return slices.ContainsFunc(e.origins, func(o origin) bool { return o.voids(index, at) })
	}
	kept := e.claims[:0]
	for _, c := range e.claims {
		if voided(c.index, c.at) {
			void = append(void, c)
			continue
		}
		kept = append(kept, c)
	}
	e.claims = kept
	e.seen = slices.DeleteFunc(e.seen, func(s spool.Seen) bool { return voided(s.Size-1, s.At.UnixMicro()) })
	return void
}

// target is how long the ledger was at least.
func (e *evidence) target() int64 {
	target := int64(0)
	if n := len(e.claims); n > 0 {
		target = e.claims[n-1].index + 1
	}
	for _, s := range e.seen {
		target = max(target, s.Size)
	}
	return target
}

// latest is the latest time that anything was recorded, void or not.
func latest(claims ...[]claim) time.Time {
	at := int64(math.MinInt64)
	for _, all := range claims {
		for _, c := range all {
			at = max(at, c.at)
		}
	}
	if at == math.MinInt64 {
		return time.Time{}
	}
	return time.UnixMicro(at).UTC()
}

// locate finds the events of claims for which only the place is known, in a
// second walk over the archives, and in damaged ones what has no place.
func (e *evidence) locate(wanted ...[]claim) error {
	missing := map[domain.EventID][]*claim{}
	for _, claims := range wanted {
		for i := range claims {
			if c := &claims[i]; !c.held() {
				missing[c.id] = append(missing[c.id], c)
			}
		}
	}
	for n, a := range e.archives {
		if len(missing) == 0 && !e.damaged[int32(n)] {
			continue
		}
		acked, err := a.Acked()
		if err != nil {
			return err
		}
		for record, err := range a.All() {
			if _, damaged := errors.AsType[*spool.CorruptError](err); damaged {
				continue // noted by gather
			}
			if err != nil {
				return err
			}
			if record.Kind != spool.End {
				continue
			}
			for _, c := range missing[record.ID] {
				c.from, c.pos = int32(n), record.Pos
			}
			if len(missing[record.ID]) == 0 && e.damaged[int32(n)] && record.Pos < acked {
				e.homeless = append(e.homeless, claim{index: NoIndex, id: record.ID, from: int32(n), pos: record.Pos})
			}
		}
	}
	return nil
}

// ranges are the indexes that are false in held, from from up to to.
func ranges(from, to int64, held func(int64) bool) (missing []domain.IndexRange) {
	for i := from; i < to; i++ {
		if held(i) {
			continue
		}
		if n := len(missing); n > 0 && missing[n-1].To == i {
			missing[n-1].To = i + 1
			continue
		}
		missing = append(missing, domain.IndexRange{From: i, To: i + 1})
	}
	return missing
}
