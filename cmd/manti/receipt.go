package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
)

// A dossier is a receipt with what only the operator may see.
type dossier struct {
	Receipt      string          `json:"receipt"` // the c2sp.org/tlog-proof
	SupersededBy *domain.EventID `json:"superseded_by,omitempty"`
	Salt         string          `json:"private_salt"` // 16 bytes in hexadecimal
	Private      string          `json:"private"`      // the exact bytes that were hashed with the salt
}

// receiptOf prints a call's receipt for the operator.
func receiptOf(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	private := flags.Bool("private", false, "print JSON: the receipt, and the private part with its salt")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	id, err := domain.ParseID[domain.EventID](flags.Arg(0))
	if flags.NArg() != 1 || err != nil {
		return usageError{"manti receipt: name one call by its id, which an answer's header manti-request-id is"}
	}
	return withLedger(ctx, inv, *data, func(_ Config, pool *pgxpool.Pool, _ *slog.Logger) error {
		prover := seal.NewProver(pool)
		call, err := prover.Find(ctx, id)
		if errors.Is(err, ledger.ErrNotFound) {
			return fmt.Errorf("the ledger has no event %s about a call", id)
		}
		if err != nil {
			return err
		}
		proof, err := prover.Prove(ctx, call)
		if errors.Is(err, seal.ErrNotSealed) {
			return fmt.Errorf("%w: a server with MANTI_SEAL_KEY, or `manti seal`, signs a checkpoint over it", err)
		}
		if err != nil {
			return err
		}
		if !proof.SupersededBy.IsZero() {
			fmt.Fprintf(inv.io.err, "This event was superseded by %s, which has a receipt of its own.\n", proof.SupersededBy)
		}
		if !*private {
			_, err = inv.io.out.Write(proof.Text())
			return err
		}
		return writeDossier(ctx, inv, prover, call, proof)
	})
}

func writeDossier(ctx context.Context, inv invocation, prover *seal.Prover, call seal.Call, proof seal.Proof) error {
	salt, part, err := prover.Private(ctx, call)
	if err != nil {
		return err
	}
	d := dossier{Receipt: string(proof.Text()), Salt: hex.EncodeToString(salt[:]), Private: string(part)}
	if !proof.SupersededBy.IsZero() {
		d.SupersededBy = &proof.SupersededBy
	}
	out := json.NewEncoder(inv.io.out)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(d)
}
