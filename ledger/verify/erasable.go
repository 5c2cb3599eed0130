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
	strays []int64 // rows that no event asked for
}

// An erasableRow is where a row stands in data.
type erasableRow struct {
	index      int64
	begin, end int
}

// load reads the rows that the condition holds for.
func (e *erasableRows) load(ctx context.Context, tx pgx.Tx, where string) error {
	e.data, e.rows, e.at, e.strays = e.data[:0], e.rows[:0], 0, e.strays[:0]
	fields := len(row.Names(row.ErasableColumns))
	err := copyTo(ctx, tx.Conn().PgConn(), `SELECT `+row.ErasableColumns+` FROM ledger.erasable`+where+` ORDER BY index`, func(t tuple) error {
		t, err := t.fields(fields)
		if err != nil {
			return err
		}
		begin := len(e.data)
		e.data = append(e.data, t...)
		index, err := t.next()
		e.rows = append(e.rows, erasableRow{int64Of(index), begin, len(e.data)})
		return err
	})
	if err != nil {
		return fmt.Errorf("read erasable parts: %w", err)
	}
	return nil
}

// take returns the fields of an index's row, nil if there is none. It is called
// with ascending indexes.
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
	rest := fields
	for _, into := range []*[]byte{nil, nil, &salt, &data} { // behind index and id
		field, err := rest.next()
		if err == nil && into != nil {
			*into = field
		}
	}
	return fields, salt, data
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
