package verify

import (
	"context"

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
