package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger/internal/row"
)

// A chunk is a range of indexes that one worker checks, and what the tree needs
// to know of it.
type chunk struct {
	chunkRange
	leaves      []hash // one for each index; zero where the event is missing
	first, last time.Time
	tiles       []storedTile // of level 0
	ids, supers sum
	checked     int64
	gaps        [][2]int64 // ranges of missing indexes, the last included
}

// A chunkRange is indexes [from, to) to check.
type chunkRange struct {
	from, to int64
	full     bool // check everything; else only leaves are read
}

// A checker checks chunks, one after the other, on a connection of its own.
type checker struct {
	tx       pgx.Tx
	run      *run
	arena    row.Arena
	want     []byte
	chunk    *chunk
	next     int64 // the index that must come
	last     time.Time
	erasable erasableRows
}

// check fills the chunk in.
func (c *checker) check(ctx context.Context, k *chunk) error {
	c.chunk, c.next, c.last = k, k.from, time.Time{}
	k.leaves = make([]hash, k.to-k.from)
	if k.from%tileWidth == 0 {
		tiles, err := readTiles(ctx, c.tx, 0, k.from/tileWidth, (k.to-1)/tileWidth)
		if err != nil {
			return err
		}
		k.tiles = tiles
	}
	take, query := c.leafOnly, `SELECT index, recorded_at, leaf FROM ledger.events`
	if k.full {
		take, query = c.entry, `SELECT `+row.EventColumns+` FROM ledger.events`
		if err := c.erasable.load(ctx, c.tx, between(k.from, k.to)); err != nil {
			return err
		}
	}
	query += between(k.from, k.to) + ` ORDER BY index`
	if err := copyTo(ctx, c.tx.Conn().PgConn(), query, take); err != nil {
		return fmt.Errorf("read events from %d: %w", k.from, err)
	}
	c.missing(k.to)
	if k.full {
		c.strayErasable()
	}
	return nil
}

func between(from, to int64) string {
	return ` WHERE index >= ` + strconv.FormatInt(from, 10) + ` AND index < ` + strconv.FormatInt(to, 10)
}

// place checks that the index is the next and that time doesn't fall. It reports
// false for a row that has no place.
func (c *checker) place(index int64, at time.Time) bool {
	switch {
	case index < c.next:
		c.run.found.add(Finding{Index: index, Table: tableEvents, Column: "index", Problem: "stands here twice"})
		return false
	case index >= c.chunk.to:
		c.run.found.add(Finding{Index: index, Table: tableEvents, Column: "index", Problem: "is out of order"})
		return false
	}
	c.missing(index)
	c.next = index + 1
	if c.chunk.first.IsZero() {
		c.chunk.first = at
	}
	if at.Before(c.last) {
		c.run.fell(index, c.last, at)
	}
	c.last, c.chunk.last = at, at
	return true
}

// missing says that the events up to this index, without it, are not there.
func (c *checker) missing(index int64) {
	if index > c.next {
		c.chunk.gaps = append(c.chunk.gaps, [2]int64{c.next, index - 1})
	}
	c.next = index
}

// leafOnly takes a row of which only the leaf is read.
func (c *checker) leafOnly(t tuple) error {
	t, err := t.fields(3)
	if err != nil {
		return err
	}
	var field [3][]byte
	for i := range field {
		if field[i], err = t.next(); err != nil {
			return err
		}
	}
	index := int64Of(field[0])
	if c.place(index, timeOf(field[1])) {
		copy(c.chunk.leaves[index-c.chunk.from][:], field[2])
	}
	return nil
}

// An entry's first fields, in the order of row.EventColumns.
const (
	fieldIndex = iota
	fieldRecordedAt
	fieldLeaf
	fieldID
	fieldKind
	fieldV
	fieldControl
	fieldAt
	fieldAuthor
	fieldCanonical
	fieldPrivateSalt
	fieldPrivate
	leadingFields
)

// leafAt is where the leaf stands in what row.AppendEvent writes: behind index
// and recorded_at, each with its length, and its own.
const leafAt = 4 + 8 + 4 + 8 + 4

// entry takes a whole row of ledger.events.
func (c *checker) entry(t tuple) error {
	t, err := t.fields(len(c.run.eventColumns))
	if err != nil {
		return err
	}
	var lead [leadingFields][]byte
	rest := t
	for i := range lead {
		if lead[i], err = rest.next(); err != nil {
			return err
		}
	}
	index, at := int64Of(lead[fieldIndex]), timeOf(lead[fieldRecordedAt])
	if !c.place(index, at) {
		return nil
	}
	c.chunk.checked++
	return c.event(t, lead, index, at)
}

// event holds a row against the event in it.
func (c *checker) event(t tuple, lead [leadingFields][]byte, index int64, at time.Time) error {
	canonical := lead[fieldCanonical]
	leaf := &c.chunk.leaves[index-c.chunk.from]
	public, privateHash, erasableHash, err := domain.SplitCanonical(canonical)
	if err != nil {
		*leaf = domain.LeafHash(at, canonical)
		c.run.found.add(Finding{Index: index, Table: tableEvents, Column: "canonical", Problem: "is too short to be an event"})
		return nil
	}
	enc := domain.Encoded{ID: uuidOf(lead[fieldID]), Kind: kindOf(lead[fieldKind]), Public: public, Private: lead[fieldPrivate]}
	copy(enc.PrivateSalt[:], lead[fieldPrivateSalt])
	if !c.privatePart(index, &enc, privateHash) {
		*leaf = domain.LeafHash(at, canonical)
		return nil
	}
	stored := c.erasablePart(index, &enc, erasableHash)
	c.arena.Reset()
	r, err := row.Stored(enc, canonical, &c.arena)
	if errors.Is(err, row.ErrMislabelled) {
		r, err = c.relabelled(enc, canonical)
	}
	if err != nil {
		*leaf = domain.LeafHash(at, canonical)
		c.run.found.add(Finding{Index: index, Table: tableEvents, Column: "canonical", Problem: "can't be decoded", Found: decodeError(err)})
		return nil
	}
	c.want = r.AppendEvent(c.want[:0], index, at)
	copy(leaf[:], c.want[leafAt:])
	if !bytes.Equal(c.want, t) {
		c.run.differ(tableEvents, c.run.eventColumns, index, c.want, t)
	}
	if stored != nil {
		c.want = r.AppendErasable(c.want[:0], index)
		if !bytes.Equal(c.want, stored) {
			c.run.differ(tableErasable, c.run.erasableColumns, index, c.want, stored)
		}
	}
	c.chunk.ids.add(c.run.key, r.Encoded.ID, [16]byte{}, index)
	if !r.Supersedes.IsZero() {
		c.chunk.supers.add(c.run.key, r.Supersedes, r.Encoded.ID, index)
	}
	return nil
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

// erasablePart adds the erasable part to enc, if its row is there and holds, and
// returns the fields of the row.
func (c *checker) erasablePart(index int64, enc *domain.Encoded, want hash) tuple {
	stored, salt, data := c.erasable.take(index)
	switch {
	case stored == nil && want == hash{}:
	case stored == nil && c.run.forgotten[index]:
	case stored == nil:
		c.run.found.add(Finding{Index: index, Table: tableErasable, Problem: "the erasable part is gone, and no event says that it was erased"})
	case want == hash{}:
		c.run.found.add(Finding{Index: index, Table: tableErasable, Problem: "the event has no erasable part"})
	case data == nil || len(salt) != len(enc.ErasableSalt) || domain.PartHash(domain.Salt(salt), data) != want:
		c.run.found.add(Finding{Index: index, Table: tableErasable, Column: "data", Problem: "the erasable part and its salt don't give the hash in canonical"})
	default:
		enc.Erasable, enc.ErasableSalt = data, domain.Salt(salt)
		return stored
	}
	return nil
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

// checkSome checks single events, whose leaves were read before, and their ids.
func (c *checker) checkSome(ctx context.Context, indexes []int64) error {
	if err := c.erasable.load(ctx, c.tx, in(indexes)); err != nil {
		return err
	}
	var ids, supers sum
	query := `SELECT ` + row.EventColumns + ` FROM ledger.events` + in(indexes) + ` ORDER BY index`
	err := copyTo(ctx, c.tx.Conn().PgConn(), query, func(t tuple) error {
		index := int64Of(t[min(len(t), 6):min(len(t), 14)])
		c.chunk = &chunk{chunkRange: chunkRange{index, index + 1, true}, leaves: make([]hash, 1)}
		c.next, c.last = index, time.Time{}
		err := c.entry(t)
		c.run.report.Checked += c.chunk.checked
		ids.join(c.chunk.ids)
		supers.join(c.chunk.supers)
		return err
	})
	if err != nil {
		return fmt.Errorf("read sampled events: %w", err)
	}
	c.strayErasable()
	return c.checkSomeIDs(ctx, indexes, ids, supers)
}

// checkSomeIDs looks for the ids of single events.
func (c *checker) checkSomeIDs(ctx context.Context, indexes []int64, ids, supers sum) error {
	var stored sum
	var id, by [16]byte
	var index int64
	err := each(ctx, c.tx, "ids", []any{&id, &index}, func() error {
		stored.add(c.run.key, id, [16]byte{}, index)
		return nil
	}, `SELECT i.id, i.index FROM ledger.events e JOIN ledger.ids i ON i.id = e.id WHERE e.index = ANY($1)`, indexes)
	if err == nil && stored != ids {
		c.run.found.add(Finding{Index: indexes[0], Through: indexes[len(indexes)-1], Table: "ids", Problem: "the id of a sampled event is not here, or with another index"})
	}
	if err != nil {
		return err
	}
	stored = sum{}
	err = each(ctx, c.tx, "supersedes", []any{&id, &by, &index}, func() error {
		stored.add(c.run.key, id, by, index)
		return nil
	}, `SELECT s.id, s.by, s.by_index FROM ledger.events e JOIN ledger.supersedes s ON s.id = e.supersedes WHERE e.index = ANY($1)`, indexes)
	if err == nil && stored != supers {
		c.run.found.add(Finding{Index: indexes[0], Through: indexes[len(indexes)-1], Table: "supersedes", Problem: "what a sampled event supersedes is not here"})
	}
	return err
}
