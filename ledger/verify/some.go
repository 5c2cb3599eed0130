package verify

import (
	"context"
	"fmt"
	"time"

	"manti/ledger/internal/row"
)

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
