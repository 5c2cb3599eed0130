package verify

import (
	"context"
	"encoding/binary"
	"strconv"

	"github.com/jackc/pgx/v5"

	"manti/ledger/internal/row"
)

// RunIn is Run within a transaction, of which it sees what isn't committed.
func RunIn(ctx context.Context, tx pgx.Tx, cfg Config) (Report, error) {
	return cfg.run(func(r *run) error {
		if _, err := tx.Exec(ctx, settings); err != nil {
			return err
		}
		return r.verify(ctx, &session{txs: []pgx.Tx{tx}}, readSpoolStates(cfg.Spools))
	})
}

// Roots are the roots of the trees of 0, 1, … n leaves.
func Roots(n int, leaf func(int) [32]byte) [][32]byte {
	var t tree
	roots := [][32]byte{t.root()}
	for i := range n {
		t.add(leaf(i), func(int, int64, hash) {})
		roots = append(roots, t.root())
	}
	return roots
}

// Tiles counts the full tiles of a tree of n leaves by level, and the hashes at its
// edge.
func Tiles(n int) map[string]int {
	var t tree
	var tiles tileRows
	counts := map[string]int{}
	for range n {
		t.add(hash{}, func(level int, number int64, h hash) {
			_ = tiles.add(level, number, h, func(level int, _ int64, _ []byte) error { // full gives no error
				counts[strconv.Itoa(level)]++
				return nil
			})
		})
	}
	for _, edge := range tiles {
		counts["edge"] += len(edge) / len(hash{})
	}
	return counts
}

// Fields takes a message of COPY apart: its fields, or an error.
func Fields(message []byte) (fields [][]byte, err error) {
	sink := &copySink{row: func(t tuple) error {
		t, err := t.fields(2)
		for err == nil && len(t) > 0 {
			var field []byte
			if field, err = t.next(); err == nil {
				fields = append(fields, field)
			}
		}
		return err
	}}
	_, _ = sink.Write(message) // never fails
	return fields, sink.stopped
}

// BothWays holds the row of an event, and that of its erasable part if it has one,
// against the event in the quick way and, if that passes it, in the thorough one,
// of which it returns the findings.
func BothWays(event, erasable []byte) (quick bool, findings []Finding) {
	c := checker{run: &run{found: newFindings()}}
	var e entry
	if err := e.read(append(binary.BigEndian.AppendUint16(nil, uint16(eventFields)), event...)); err != nil {
		return false, nil
	}
	if erasable != nil {
		c.erasable.data, c.erasable.rows = erasable, []erasableRow{{e.index, 0, len(erasable)}}
	}
	if !c.parts(&e) || len(c.run.found.all) > 0 || !c.match.quick(&e) { // what parts finds, it finds in either way
		return false, nil
	}
	c.run.eventColumns, c.run.erasableColumns = anyColumns(row.EventColumns), anyColumns(row.ErasableColumns)
	id, supersedes := e.enc.ID, e.supersedes
	if c.thorough(&e) && (e.enc.ID != id || e.supersedes != supersedes) {
		c.run.found.add(Finding{Problem: "the two ways sum up other ids"})
	}
	findings, _ = c.run.found.list()
	return true, findings
}

func anyColumns(names string) (columns []column) {
	for _, name := range row.Names(names) {
		columns = append(columns, column{name: name})
	}
	return columns
}

// Quick is the quick way alone, for a row that passes it.
func Quick(event, erasable []byte) func() bool {
	c := checker{run: &run{found: newFindings()}}
	message := append(binary.BigEndian.AppendUint16(nil, uint16(eventFields)), event...)
	return func() bool {
		e := &c.now
		if err := e.read(message); err != nil {
			return false
		}
		c.erasable.at, c.erasable.data, c.erasable.rows = 0, erasable, append(c.erasable.rows[:0], erasableRow{e.index, 0, len(erasable)})
		return c.parts(e) && c.match.quick(e)
	}
}
