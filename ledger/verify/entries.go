package verify

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

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
	now      entry
	match    matcher
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
	if err := t.split(field[:]); err != nil {
		return err
	}
	index := int64Of(field[0])
	if c.place(index, timeOf(field[1])) {
		copy(c.chunk.leaves[index-c.chunk.from][:], field[2])
	}
	return nil
}
