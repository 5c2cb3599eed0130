package verify

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"manti/domain"
	"manti/ledger/internal/row"
)

// An entry is a row of ledger.events, taken apart. It is valid until the next one
// is read.
type entry struct {
	row        tuple               // all its fields, each with its length
	fields     [eventFields][]byte // in the order of row.EventColumns
	index      int64
	at         time.Time
	canonical  []byte
	leaf       hash // what it must be
	enc        domain.Encoded
	supersedes domain.EventID
	// erasableRow is the row of the erasable part, erasable its fields; nil if
	// there is none to compare.
	erasableRow tuple
	erasable    [][]byte
}

// entry checks a whole row of ledger.events.
func (c *checker) entry(t tuple) error {
	e := &c.now
	if err := e.read(t); err != nil {
		return err
	}
	if !c.place(e.index, e.at) {
		return nil
	}
	c.chunk.checked++
	c.chunk.leaves[e.index-c.chunk.from] = e.leaf
	if c.parts(e) && (c.match.quick(e) || c.thorough(e)) {
		c.chunk.ids.add(c.run.key, e.enc.ID, [16]byte{}, e.index)
		if !e.supersedes.IsZero() {
			c.chunk.supers.add(c.run.key, e.supersedes, e.enc.ID, e.index)
		}
	}
	return nil
}

// read takes a row apart.
func (e *entry) read(t tuple) (err error) {
	if e.row, err = t.fields(eventFields); err != nil {
		return err
	}
	if err := e.row.split(e.fields[:]); err != nil {
		return err
	}
	e.index, e.at, e.canonical = int64Of(e.fields[fieldIndex]), timeOf(e.fields[fieldRecordedAt]), e.fields[fieldCanonical]
	e.leaf = domain.LeafHash(e.at, e.canonical)
	e.enc, e.erasableRow, e.erasable = domain.Encoded{}, nil, nil
	return nil
}

// parts takes the parts of the event, and reports whether they are those that
// canonical names.
func (c *checker) parts(e *entry) bool {
	public, privateHash, erasableHash, err := domain.SplitCanonical(e.canonical)
	if err != nil {
		c.run.found.add(Finding{Index: e.index, Table: tableEvents, Column: "canonical", Problem: "is too short to be an event"})
		return false
	}
	e.enc = domain.Encoded{ID: uuidOf(e.fields[fieldID]), Kind: kindOf(e.fields[fieldKind]), Public: public, Private: e.fields[fieldPrivate]}
	e.supersedes = uuidOf(e.fields[fieldSupersedes])
	copy(e.enc.PrivateSalt[:], e.fields[fieldPrivateSalt])
	if !c.privatePart(e.index, &e.enc, privateHash) {
		return false
	}
	c.erasablePart(e, erasableHash)
	return true
}

// thorough decodes the event, makes its rows again, and names each column that
// differs. It reports whether the event could be decoded; its id and what it
// supersedes are then the event's own.
func (c *checker) thorough(e *entry) bool {
	c.arena.Reset()
	r, err := row.Stored(e.enc, e.canonical, &c.arena)
	if errors.Is(err, row.ErrMislabelled) {
		r, err = c.relabelled(e.enc, e.canonical)
	}
	if err != nil {
		c.run.found.add(Finding{Index: e.index, Table: tableEvents, Column: "canonical", Problem: "can't be decoded", Found: decodeError(err)})
		return false
	}
	c.want = r.AppendEvent(c.want[:0], e.index, e.at)
	if !bytes.Equal(c.want, e.row) {
		c.run.differ(tableEvents, c.run.eventColumns, e.index, c.want, e.row)
	}
	if e.erasableRow != nil {
		c.want = r.AppendErasable(c.want[:0], e.index)
		if !bytes.Equal(c.want, e.erasableRow) {
			c.run.differ(tableErasable, c.run.erasableColumns, e.index, c.want, e.erasableRow)
		}
	}
	e.enc.ID, e.supersedes = r.Encoded.ID, r.Supersedes
	return true
}

// relabelled reads an event whose id or kind isn't that of its columns, so that
// the columns can be named.
func (c *checker) relabelled(enc domain.Encoded, canonical []byte) (row.Row, error) {
	e, err := domain.Decode(enc)
	if err != nil {
		return row.Row{}, err
	}
	enc.ID, enc.Kind = e.ID, e.Body.Kind()
	c.arena.Reset()
	return row.Stored(enc, canonical, &c.arena)
}

// privatePart reports whether the private part is what was hashed.
func (c *checker) privatePart(index int64, enc *domain.Encoded, want hash) bool {
	switch {
	case enc.Private == nil && want == hash{}:
		return true
	case enc.Private == nil:
		c.run.found.add(Finding{Index: index, Table: tableEvents, Column: "private", Problem: "the private part is gone"})
	case domain.PartHash(enc.PrivateSalt, enc.Private) == want:
		return true
	default:
		c.run.found.add(Finding{Index: index, Table: tableEvents, Column: "private", Problem: "the private part and its salt don't give the hash in canonical"})
	}
	return false
}

// erasablePart takes the erasable part, if its row is there and holds.
func (c *checker) erasablePart(e *entry, want hash) {
	stored, salt, data := c.erasable.take(e.index)
	f := Finding{Index: e.index, Table: tableErasable}
	switch {
	case stored == nil && (want == hash{} || c.run.forgotten[e.index]):
		return
	case stored == nil:
		f.Problem = "the erasable part is gone, and no event says that it was erased"
	case want == hash{}:
		f.Problem = "the event has no erasable part"
	case data == nil || len(salt) != len(e.enc.ErasableSalt) || domain.PartHash(domain.Salt(salt), data) != want:
		f.Column, f.Problem = "data", "the erasable part and its salt don't give the hash in canonical"
	default:
		e.enc.Erasable, e.enc.ErasableSalt = data, domain.Salt(salt)
		e.erasableRow, e.erasable = stored, c.erasable.fields[:]
		return
	}
	c.run.found.add(f)
}

// decodeError is an error of decoding without what it quotes of the event, which
// may be private.
func decodeError(err error) string {
	if errors.Is(err, domain.ErrVersion) {
		return "an event of a newer manti"
	}
	text, _, _ := strings.Cut(err.Error(), ":")
	return text
}
