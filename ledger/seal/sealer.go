package seal

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
	"manti/ledger"
)

// Config of a Sealer. Pool, Signer and Memory must be set.
type Config struct {
	// Pool must run as the writer.
	Pool   *pgxpool.Pool
	Signer *Signer
	// Old are the keys that signed before this one.
	Old Keys
	// Origin names a ledger that has no name yet; "" is the signer's name. If it
	// is set, the ledger must have begun under it.
	Origin string
	Memory Memory
	// Every is the time from pass to pass; 0 is 5 s. A checkpoint is behind the
	// head by that and the duration of a pass at most.
	Every      time.Duration
	Log        *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil measures nothing
}

const (
	defaultEvery = 5 * time.Second
	// passTimeout bounds a pass. One that has more to do goes on in the next.
	passTimeout = time.Minute
	// remindEvery is how often a refusal that lasts is logged again.
	remindEvery = 10 * time.Minute
)

// A Sealer signs checkpoints of one ledger. Several may do so at once, in this
// and other processes.
type Sealer struct {
	cfg     Config
	metrics *metrics
	refused atomic.Bool

	// owned by the goroutine that calls Run or Pass
	tree   *tree
	who    identity
	signer *Signer // of the origin that the ledger has now
	keys   Keys    // all that may have signed
	own    atomic.Pointer[Keys]
	said   string // the last refusal in the log
	saidAt time.Time
}

// New makes a Sealer. It asks the database nothing.
func New(cfg Config) (*Sealer, error) {
	if cfg.Pool == nil || cfg.Signer == nil || cfg.Memory == nil {
		return nil, errors.New("seal: Config needs Pool, Signer and Memory")
	}
	if cfg.Every <= 0 {
		cfg.Every = defaultEvery
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Sealer{cfg: cfg, metrics: m, tree: new(tree)}, nil
}

// Run makes passes until ctx ends. What keeps it from sealing is logged, and
// tried again: it never ends the process.
func (s *Sealer) Run(ctx context.Context) error {
	t := time.NewTicker(s.cfg.Every)
	defer t.Stop()
	for ctx.Err() == nil {
		pass, cancel := context.WithTimeout(ctx, passTimeout)
		_, err := s.Pass(pass)
		cancel()
		if ctx.Err() == nil {
			s.report(err)
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	return nil
}

// Refused reports whether the last pass of Run found what only a person can put
// right. It may be called concurrently with Run.
func (s *Sealer) Refused() bool { return s.refused.Load() }

// Keys are the verifier keys under which it signs and has signed this ledger's
// origins, the one that it has now first. Before the first pass that finds nothing
// wrong that is the signer's own. It may be called concurrently with Run.
func (s *Sealer) Keys() Keys {
	if keys := s.own.Load(); keys != nil {
		return *keys
	}
	return Keys{}.With(s.cfg.Signer)
}

// report logs what a pass came to, when that changes and now and then.
func (s *Sealer) report(err error) {
	refused := err != nil && !isPassing(err)
	s.refused.Store(refused)
	s.metrics.pass(err, refused)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == s.said && (err == nil || time.Since(s.saidAt) < remindEvery) {
		return
	}
	switch {
	case err == nil:
		s.cfg.Log.Info("the ledger is sealed again")
	case refused:
		s.cfg.Log.Error("the ledger isn't sealed: no checkpoint is signed until a person has looked", "err", err)
	default:
		s.cfg.Log.Warn("the ledger can't be sealed now; it is tried again", "err", err)
	}
	s.said, s.saidAt = text, time.Now()
}

// isPassing reports whether an error may go away by itself.
func isPassing(err error) bool {
	return db.IsOutage(err) || errors.Is(err, ledger.ErrOutage) || errors.Is(err, context.DeadlineExceeded)
}

// Pass seals what is in the ledger now and returns the last checkpoint, which
// may be another sealer's. If there was nothing new it signs nothing. It refuses
// with ErrInconsistent or ErrBehind what doesn't contain the checkpoint in the
// outside memory or the last one in the ledger, with ErrUnknownKey a last
// checkpoint that no known key has signed, and with ledger.ErrFrozen a head that
// is frozen.
func (s *Sealer) Pass(ctx context.Context) (Checkpoint, error) {
	c, err := s.pass(ctx)
	if errors.Is(err, errBusy) || errors.Is(err, ErrChanged) {
		return Latest(ctx, s.cfg.Pool) // another sealer does the same just now
	}
	if err != nil {
		s.tree.forget() // it may be of a ledger that was replaced,
		s.who.forget()  // in which a new origin is at an index that was seen
	}
	return c, err
}

func (s *Sealer) pass(ctx context.Context) (Checkpoint, error) {
	known, err := s.recall(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	// Read after what was signed before, by others too: it isn't smaller.
	head, err := ledger.ReadHead(ctx, s.cfg.Pool)
	if err != nil {
		return Checkpoint{}, err
	}
	if head.Frozen {
		return Checkpoint{}, fmt.Errorf("%w: %s", ledger.ErrFrozen, head.Reason)
	}
	if err := s.identify(ctx, head.Size); err != nil {
		return Checkpoint{}, err
	}
	if err := s.authenticate(&known); err != nil {
		return Checkpoint{}, err
	}
	if err := s.prove(ctx, known, head.Size); err != nil {
		return Checkpoint{}, err
	}
	s.publishKeys()
	if err := s.publish(ctx, known); err != nil {
		return Checkpoint{}, err
	}
	return s.sign(ctx, known, head.Size)
}

// recollection is what was signed before.
type recollection struct {
	text       []byte     // the outside memory, byte for byte; nil if there is nothing
	remembered Checkpoint // of the outside memory
	last       Checkpoint // of the ledger; Note is "" if there is none
	accepted   []Acceptance
	// successions are the accepted losses after which the ledger has begun a new
	// origin in the place of what is remembered.
	successions []Acceptance
}

// succeeded: the ledger has rightly begun a new origin after what is remembered.
func (r *recollection) succeeded() bool { return len(r.successions) > 0 }

// recall reads what was signed before.
func (s *Sealer) recall(ctx context.Context) (r recollection, err error) {
	if r.text, err = s.cfg.Memory.Load(ctx); err != nil {
		return r, fmt.Errorf("load the outside memory: %w", err)
	}
	if r.text != nil {
		if r.remembered, err = ParseCheckpoint(r.text); err != nil {
			return r, fmt.Errorf("the outside memory: %w", err)
		}
	}
	if r.accepted, err = s.cfg.Memory.Accepted(ctx); err != nil {
		return r, err
	}
	if r.last, err = Latest(ctx, s.cfg.Pool); errors.Is(err, ErrNone) {
		err = nil
	}
	return r, err
}

// authenticate refuses what no known key has signed.
func (s *Sealer) authenticate(r *recollection) error {
	if r.text != nil {
		if _, err := Open(r.text, s.keys); err != nil {
			return fmt.Errorf("the outside memory: %w%s", err, hint(err))
		}
		r.successions = s.who.succeeds(r.remembered, r.accepted)
	}
	if r.last.Note == "" {
		return nil
	}
	if _, err := Open([]byte(r.last.Note), s.keys); err != nil {
		return fmt.Errorf("the last checkpoint in the ledger: %w%s", err, hint(err))
	}
	if r.text == nil {
		s.cfg.Log.Warn("the outside memory is empty, though the ledger has checkpoints: it begins with the last of them, and can't tell whether the ledger is an older copy", "size", r.last.Size)
	}
	return nil
}

// hint says what to do about a key that isn't known.
func hint(err error) string {
	if errors.Is(err, ErrUnknownKey) {
		return "; after a rotation, MANTI_SEAL_OLD_KEYS names the verifier keys from before"
	}
	return ""
}

// prove holds the ledger of size events against what was signed before. It makes
// the tiles that it needs for that.
func (s *Sealer) prove(ctx context.Context, known recollection, size int64) error {
	for _, a := range known.successions {
		if err := s.contains(ctx, a.tree(), size); err != nil {
			return fmt.Errorf("what was accepted of the origin %s: %w", a.Origin, err)
		}
	}
	if c := known.remembered; known.text != nil && !known.succeeded() {
		if own := s.signer.Name(); c.Origin != own {
			return fmt.Errorf("%w: the outside memory has a %s, but the ledger says that it is %s since a loss, which nobody has accepted here. "+
				"If you did, by `manti recover --accept-loss`, run `manti seal --accept %[3]s` where this memory is; else somebody forged that event: `manti verify`", ErrInconsistent, c, own)
		}
		if err := s.contains(ctx, c, size); err != nil {
			return err
		}
	}
	if known.last.Note == "" || known.last.Same(known.remembered) && !known.succeeded() {
		return nil
	}
	return s.contains(ctx, known.last, size)
}

func (s *Sealer) contains(ctx context.Context, c Checkpoint, size int64) error {
	if c.Size > size {
		return behind(c, size)
	}
	if err := s.tree.fill(ctx, s.cfg.Pool, c.Size); err != nil {
		return err
	}
	root, err := s.tree.root(ctx, s.cfg.Pool, c.Size)
	if err != nil {
		return err
	}
	return compare(c, root)
}

// publish inserts a checkpoint that a crash has left in the memory alone.
func (s *Sealer) publish(ctx context.Context, known recollection) error {
	c := known.remembered
	if known.text == nil || known.succeeded() || known.last.Note != "" && c.Size <= known.last.Size {
		return nil
	}
	return insert(ctx, s.cfg.Pool, c)
}

// sign makes the checkpoint of the first size events, which prove has found to
// contain all that was signed before: in the outside memory first, then in the
// ledger, where others see it.
func (s *Sealer) sign(ctx context.Context, known recollection, size int64) (Checkpoint, error) {
	newest := known.last
	if !known.succeeded() && known.remembered.Size > newest.Size {
		newest = known.remembered
	}
	upToDate := newest.Note != "" && newest.Size == size && newest.Origin == s.signer.Name()
	if size == 0 || upToDate && newest.Same(known.remembered) {
		return newest, nil
	}
	if !upToDate {
		if err := s.tree.fill(ctx, s.cfg.Pool, size); err != nil {
			return Checkpoint{}, err
		}
		root, err := s.tree.root(ctx, s.cfg.Pool, size)
		if err != nil {
			return Checkpoint{}, err
		}
		if newest, err = s.signer.Sign(Checkpoint{Origin: s.signer.Name(), Size: size, Root: root}); err != nil {
			return Checkpoint{}, err
		}
	}
	if err := s.cfg.Memory.Swap(ctx, known.text, []byte(newest.Note)); err != nil {
		return Checkpoint{}, fmt.Errorf("remember: %w", err)
	}
	return newest, insert(ctx, s.cfg.Pool, newest)
}
