package verify

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/ledger/internal/row"
)

// erasableRows are the rows of ledger.erasable for a chunk, by ascending index.
type erasableRows struct {
	data   []byte
	rows   []erasableRow
	at     int
	strays []int64                // rows that no event asked for
	fields [erasableFields][]byte // of the row that was taken last
}

// An erasableRow is where a row stands in data.
type erasableRow struct {
	index      int64
	begin, end int
}

// load reads the rows that the condition holds for.
func (e *erasableRows) load(ctx context.Context, tx pgx.Tx, where string) error {
	e.data, e.rows, e.at, e.strays = e.data[:0], e.rows[:0], 0, e.strays[:0]
	err := copyTo(ctx, tx.Conn().PgConn(), `SELECT `+row.ErasableColumns+` FROM ledger.erasable`+where+` ORDER BY index`, func(t tuple) error {
		t, err := t.fields(erasableFields)
		if err != nil {
			return err
		}
		if err := t.split(e.fields[:]); err != nil {
			return err
		}
		begin := len(e.data)
		e.data = append(e.data, t...)
		e.rows = append(e.rows, erasableRow{int64Of(e.fields[erasableIndex]), begin, len(e.data)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read erasable parts: %w", err)
	}
	return nil
}

// take returns the row of an index, all its fields, nil if there is none. It is
// called with ascending indexes.
func (e *erasableRows) take(index int64) (fields tuple, salt, data []byte) {
	for e.at < len(e.rows) && e.rows[e.at].index < index {
		e.strays = append(e.strays, e.rows[e.at].index)
		e.at++
	}
	if e.at == len(e.rows) || e.rows[e.at].index != index {
		return nil, nil, nil
	}
	r := e.rows[e.at]
	e.at++
	fields = e.data[r.begin:r.end]
	_ = fields.split(e.fields[:]) // load has seen that they can be
	return fields, e.fields[erasableSalt], e.fields[erasableData]
}

// strayErasable reports the rows that belong to no event.
func (c *checker) strayErasable() {
	e := &c.erasable
	for ; e.at < len(e.rows); e.at++ {
		e.strays = append(e.strays, e.rows[e.at].index)
	}
	for _, index := range e.strays {
		c.run.found.add(Finding{Index: index, Table: tableErasable, Column: "index", Problem: "there is no such event, or it was asked for twice"})
	}
}
