package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/ledger"
)

// ErrAhead is returned for rows of more events than the ledger has: the ledger has
// lost its end.
var ErrAhead = errors.New("the ledger is behind its projection")

func aheadBy(at ledger.Progress) error {
	return fmt.Errorf("%w, which has folded %d events, of which the ledger has %d", ErrAhead, at.Index, at.Size)
}

// refuseAhead refuses at once what no catching up can bring together.
type refuseAhead struct {
	p       *Projection
	replace bool
}

func (r refuseAhead) run(ctx context.Context, tx pgx.Tx) error {
	const query = `SELECT COALESCE((SELECT index FROM projections.checkpoints WHERE name = $1), 0)`
	var at ledger.Progress
	if err := tx.QueryRow(ctx, query, r.p.Name()).Scan(&at.Index); err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	head, err := ledger.ReadHead(ctx, tx) // after the checkpoint, which never passes it
	if err != nil {
		return err
	}
	if at.Size = head.Size; at.Index > at.Size && (head.Frozen || !r.replace) {
		return aheadBy(at)
	}
	return nil
}
