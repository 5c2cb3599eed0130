package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/ledger/seal"
)

// originAfter is the name of the next origin of a ledger that was called these
// names: the first one's with a number that none of them has.
func originAfter(names ...string) string {
	first, last := "", 1
	for _, name := range names {
		base, n := name, 1
		if i := strings.LastIndexByte(name, '#'); i > 0 {
			if number, err := strconv.Atoi(name[i+1:]); err == nil && number > 1 {
				base, n = name[:i], number
			}
		}
		if first == "" {
			first = base
		}
		last = max(last, n)
	}
	if first == "" {
		first = "manti/ledger"
	}
	return fmt.Sprintf("%s#%d", first, last+1)
}

// signersOf are this machine's own key under these names, and the old keys.
func signersOf(cfg *Config, origins ...string) (seal.Keys, error) {
	keys, err := oldKeys(cfg)
	if err != nil {
		return keys, err
	}
	signer, err := ownSigner(cfg)
	if err != nil || signer == nil {
		return keys, err
	}
	keys = keys.With(signer)
	for _, origin := range origins {
		as, err := signer.As(origin)
		if err != nil {
			continue // no name that anything of ours signs under
		}
		keys = keys.With(as)
	}
	return keys, nil
}

// lossBegins is the first index at which the ledger won't be what it was.
func (r *recovering) lossBegins() int64 {
	from := r.Head.Size + r.Refillable
	for _, m := range r.Missing {
		from = min(from, m.From)
	}
	if r.Diverged != nil {
		from = min(from, r.Diverged.Index)
	}
	return from
}

// remember keeps the acceptance outside of the database if the outside memory is
// at hand, and says what to do elsewhere: sealers follow nothing else.
func (r *recovering) remember(ctx context.Context, cfg *Config, origin string) {
	elsewhere := fmt.Sprintf("manti seal --accept %s --from %d", origin, r.lossBegins())
	dir := cfg.checkpointsDir()
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err != nil {
		fmt.Fprintf(r.out, "There is no outside memory in %s. Wherever one is (MANTI_CHECKPOINTS of each sealer), run\n    %s\nUntil then nothing is signed, and `manti verify` exits with 3 at best.\n", dir, elsewhere)
		return
	}
	if err := acceptOrigin(ctx, r.out, r.pool, cfg, seal.Claim{Origin: origin, From: r.lossBegins()}); err != nil {
		fmt.Fprintf(r.out, "The outside memory in %s could not take the acceptance: %v. Nothing is signed until you ran\n    %s\n", dir, err, elsewhere)
		return
	}
	fmt.Fprintf(r.out, "Sealers with another memory (MANTI_CHECKPOINTS) sign nothing until you ran there\n    %s\n", elsewhere)
}

// acceptOrigin writes into the outside memory that a loss was accepted, and says
// what no signature vouches for.
func acceptOrigin(ctx context.Context, out io.Writer, pool *pgxpool.Pool, cfg *Config, claim seal.Claim) error {
	memory, err := seal.OpenDir(cfg.checkpointsDir())
	if err != nil {
		return err
	}
	origins, err := checkpointOrigins(ctx, pool)
	if err != nil {
		return err
	}
	if claim.Keys, err = signersOf(cfg, origins...); err != nil {
		return err
	}
	a, err := memory.Accept(ctx, pool, claim)
	if err != nil {
		return err
	}
	signed := int64(0)
	if c, err := seal.ParseCheckpoint([]byte(a.Kept)); err == nil {
		signed = c.Size
	}
	fmt.Fprintf(out, "%s has accepted: the ledger is %s from index %d on, and its first %d events have the root %s.\n", memory.Path(), a.Origin, a.Size-1, a.Size, a.Root)
	if n := a.Size - 1; signed < n {
		fmt.Fprintf(out, "No signature from before vouches for events %d to %d: you accept them as they are.\n", signed, n-1)
	}
	return nil
}
