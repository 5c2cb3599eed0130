package verify

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"
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
