package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"manti/db"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
	"manti/proxy"
)

// evidence is what of serve proves the ledger: the sealer, if there is a key, and
// receipts. It knows nothing until the database answers.
type evidence struct {
	cfg    Config
	log    *slog.Logger
	signer *seal.Signer // nil: this process doesn't seal
	keys   seal.Keys
	memory *seal.Dir // nil without signer

	proofs chan struct{} // as many proofs at once as it holds
	live   atomic.Pointer[liveEvidence]
}

// liveEvidence is what needs the database.
type liveEvidence struct {
	prover   *seal.Prover
	progress *seal.Progress
	sealer   *seal.Sealer // nil without signer
}

var _ proxy.Receipts = (*evidence)(nil)

// proofsAtOnce bounds the connections that receipts take from those who ship.
const proofsAtOnce = 3

// openEvidence reads the keys and opens the outside memory.
func openEvidence(cfg Config, private bool, log *slog.Logger) (*evidence, error) {
	e := &evidence{cfg: cfg, log: log, proofs: make(chan struct{}, proofsAtOnce)}
	var err error
	if e.keys, err = oldKeys(&cfg); err != nil {
		return nil, err
	}
	if e.signer, err = loadSigner(&cfg, private); err != nil {
		return nil, err
	}
	if e.signer == nil {
		log.Info("this process doesn't seal the ledger: there is no MANTI_SEAL_KEY; `manti seal` does it apart")
		return e, nil
	}
	e.memory, err = seal.OpenDir(cfg.checkpointsDir())
	return e, err
}

// connect makes what needs the database, and is what to run while it is there.
func (e *evidence) connect(pool *pgxpool.Pool, r prometheus.Registerer) (func(context.Context) error, error) {
	live := &liveEvidence{prover: seal.NewProver(pool)}
	var err error
	if live.progress, err = seal.NewProgress(pool, r); err != nil {
		return nil, err
	}
	tasks := []func(context.Context) error{live.progress.Run}
	if e.signer != nil {
		live.sealer, err = seal.New(seal.Config{Pool: pool, Signer: e.signer, Old: e.keys, Origin: e.cfg.Origin, Memory: e.memory, Log: e.log, Registerer: r})
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, live.sealer.Run)
	}
	e.live.Store(live)
	return func(ctx context.Context) error { return together(ctx, tasks...) }, nil
}

// notes are for /readyz.
func (e *evidence) notes() []string {
	live := e.live.Load()
	switch {
	case e.signer == nil && live != nil && live.progress.Sealed() < 0:
		return []string{"the ledger isn't sealed: this server has no MANTI_SEAL_KEY, and there is no checkpoint of another"}
	case e.signer == nil:
		return []string{"this server doesn't seal the ledger: it has no MANTI_SEAL_KEY"}
	case live != nil && live.sealer.Refused():
		return []string{"the ledger isn't sealed: the sealer refuses, and the log says why"}
	}
	return nil
}

// Receipt proves an event about a call.
func (e *evidence) Receipt(ctx context.Context, id domain.EventID, mayRead func(proxy.CallOwner) bool) (r proxy.Receipt, err error) {
	err = e.prove(ctx, func(prover *seal.Prover) error {
		call, err := prover.Find(ctx, id)
		if errors.Is(err, ledger.ErrNotFound) || err == nil && !mayRead(proxy.CallOwner{Org: call.Org, Project: call.Project, Key: call.Key}) {
			return notThere(id)
		}
		if err != nil {
			return err
		}
		proof, err := prover.Prove(ctx, call)
		if errors.Is(err, seal.ErrNotSealed) {
			return &domain.Error{Code: domain.CodeUnavailable, Message: "The call isn't sealed yet: no signed checkpoint covers it. That takes some seconds.", RetryAfter: sealedWithin}
		}
		r = proxy.Receipt{Text: proof.Text(), SupersededBy: proof.SupersededBy}
		return err
	})
	return r, err
}

const (
	// sealedWithin is when to ask again for what isn't sealed.
	sealedWithin = 5 * time.Second
	// mayRun is how long ago a request may have begun that isn't in the ledger
	// yet: it runs, or waits in a spool.
	mayRun = 10 * time.Minute
)

// notThere answers for a call that isn't there or isn't the caller's, which is the
// same to them. The id's own time tells what is too young to be missing.
func notThere(id domain.EventID) error {
	begun := time.UnixMilli(int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5]))
	if age := time.Since(begun); age > -mayRun && age < mayRun {
		return &domain.Error{Code: domain.CodeUnavailable, Message: "There is no such call of yours in the ledger yet. A call gets there seconds after its end.", RetryAfter: sealedWithin}
	}
	return &domain.Error{Code: domain.CodeNotFound, Message: "There is no such call of yours in the ledger."}
}

// Checkpoint is the last signed checkpoint.
func (e *evidence) Checkpoint(ctx context.Context) (text []byte, err error) {
	err = e.prove(ctx, func(prover *seal.Prover) error {
		c, err := prover.Checkpoint(ctx)
		if errors.Is(err, seal.ErrNone) {
			return &domain.Error{Code: domain.CodeNotFound, Message: "The ledger has no checkpoint yet."}
		}
		text = []byte(c.Note)
		return err
	})
	return text, err
}

// Tile is a tile of the last checkpoint's tree.
func (e *evidence) Tile(ctx context.Context, path string) (data []byte, err error) {
	err = e.prove(ctx, func(prover *seal.Prover) error {
		data, err = prover.Tile(ctx, path)
		if errors.Is(err, seal.ErrNoTile) {
			return &domain.Error{Code: domain.CodeNotFound, Message: "The last checkpoint's tree has no such tile."}
		}
		return err
	})
	return data, err
}

// Keys are the verifier keys that are known here: the signer's own under the names
// that the ledger has and had, the present one first, and the old ones.
func (e *evidence) Keys() []string {
	var keys seal.Keys
	if live := e.live.Load(); e.signer != nil && live != nil {
		keys = live.sealer.Keys()
	} else if e.signer != nil {
		keys = keys.With(e.signer)
	}
	return keys.Add(e.keys).Texts()
}

// prove runs work with the prover, not too many at once.
func (e *evidence) prove(ctx context.Context, work func(*seal.Prover) error) error {
	live := e.live.Load()
	if live == nil {
		return errNoLedger(nil)
	}
	select {
	case e.proofs <- struct{}{}:
		defer func() { <-e.proofs }()
	case <-ctx.Done():
		return errNoLedger(ctx.Err())
	}
	err := work(live.prover)
	if db.IsOutage(err) || errors.Is(err, context.DeadlineExceeded) {
		return errNoLedger(err)
	}
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	return nil
}

func errNoLedger(cause error) error {
	return &domain.Error{Code: domain.CodeUnavailable, Message: "The ledger can't be reached now. Please try again.", RetryAfter: sealedWithin, Cause: cause}
}
