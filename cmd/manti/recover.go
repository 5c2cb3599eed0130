package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
)

// recovering is one use of `manti recover`.
type recovering struct {
	*ledger.Recovery
	out  io.Writer
	pool *pgxpool.Pool
	// origins are the ledger's names, the first one first; empty if it has none.
	origins []string
	// outside is the last checkpoint that is remembered outside of the database,
	// nil if there is none, or if the ledger has begun another origin since.
	outside *seal.Checkpoint
	// previous is the last checkpoint of all, as it was signed; "" if there is none.
	previous string
}

// recoverLedger refills a ledger that lost its end from the spools.
func recoverLedger(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	var dirs []string
	flags.Func("spool", "a spool's directory; give all of them, each with a flag of its own; $MANTI_SPOOL by default", func(dir string) error {
		dirs = append(dirs, dir)
		return nil
	})
	against := flags.String("against", "", "the last signed checkpoint: a file, a directory like $MANTI_CHECKPOINTS, which is the default, or a URL")
	dry := flags.Bool("dry-run", false, "say what would be done, and do nothing")
	accept := flags.Bool("accept-loss", false, "go on without what nobody holds: the ledger begins a new origin, with an event that says so")
	cause := flags.String("cause", "", "with --accept-loss: why, in words; it stands in the ledger for ever")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if *accept != (*cause != "") {
		return usageError{"manti recover: --accept-loss and --cause go together"}
	}
	return withBareDatabase(ctx, inv, *data, func(cfg Config, pool *pgxpool.Pool) (err error) {
		r := recovering{out: inv.io.out, pool: pool}
		if err := r.recall(ctx, &cfg, *against); err != nil {
			return err
		}
		if len(dirs) == 0 {
			dirs = []string{cfg.Spool}
		}
		known := int64(0)
		if r.outside != nil {
			known = r.outside.Size
		}
		r.Recovery, err = ledger.NewRecovery(ctx, ledger.RecoverConfig{Ledger: ledger.New(pool), Spools: dirs, Known: known, Progress: progressTo(inv.io.err)})
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }() // only read
		r.describe()
		switch {
		case *dry:
			return r.leave()
		case !r.Needed():
			return r.agree(ctx)
		case r.Whole():
			return r.refill(ctx)
		case *accept:
			return r.accept(ctx, &cfg, *cause)
		}
		if err := r.Freeze(ctx); err != nil {
			return err
		}
		now := "is frozen now"
		if r.Head.Frozen {
			now = "stays frozen"
		}
		return fmt.Errorf("%w. It %s; calls go on into the spools.\n%s", errIncomplete, now, whatNext)
	})
}

// errIncomplete is what an operator must decide on, whatNext how.
var errIncomplete = errors.New("the ledger can't be made what it was from these spools")

const whatNext = "Look for further spools and give them all with --spool; or a later backup. If there are none, --accept-loss --cause TEXT begins a new origin: what is at hand is appended behind it"

// leave ends a dry run.
func (r *recovering) leave() error {
	if !r.Whole() {
		return fmt.Errorf("%w. Nothing was changed.\n%s", errIncomplete, whatNext)
	}
	_, err := fmt.Fprintln(r.out, "Nothing was changed.")
	return err
}

// withBareDatabase opens the database as it is, which may be empty.
func withBareDatabase(ctx context.Context, inv invocation, data string, work func(Config, *pgxpool.Pool) error) error {
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(data)
	log := slog.New(slog.NewTextHandler(inv.io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	url, stop, err := findPostgres(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer stop()
	migrate := db.MigrateConfig{URL: url, Log: log}
	if cfg.MigrateURL != "" {
		migrate.URL, migrate.ServeURL = cfg.MigrateURL, url
	}
	done, err := db.Migrate(ctx, migrate)
	if err != nil {
		return err
	}
	pool, err := db.Open(ctx, db.Config{URL: url, Role: done.Roles.Writer, MaxConns: poolConns})
	if err != nil {
		return err
	}
	defer pool.Close()
	return work(cfg, pool)
}

// recall finds out the ledger's names, and what is remembered outside of it: by
// the file, directory or URL that was named, which must have it, else by what this
// machine remembers.
func (r *recovering) recall(ctx context.Context, cfg *Config, against string) error {
	first, err := seal.FirstOrigin(ctx, r.pool)
	if err != nil {
		return err
	}
	if r.origins, err = startedOrigins(ctx, r.pool); err != nil {
		return err
	}
	if first != "" {
		r.origins = append([]string{first}, r.origins...)
	}
	o := verifyOptions{against: against}
	outside, err := o.outside(ctx, cfg)
	if err != nil {
		return err
	}
	if outside.note == nil {
		if last, err := seal.Latest(ctx, r.pool); err == nil {
			r.previous = last.Note
		}
		return nil
	}
	keys, err := o.keys(ctx, cfg, r.pool, outside)
	if err != nil {
		return err
	}
	c, err := r.open(outside, keys)
	if err != nil {
		return fmt.Errorf("read the checkpoint of %s: %w", outside.source, err)
	}
	r.previous = string(outside.note)
	if n := len(r.origins); n == 0 || !slices.Contains(r.origins[:n-1], c.Origin) {
		r.outside = &c
	}
	return nil
}

// open reads an outside checkpoint, and verifies it if a key is at hand: who may
// write where it stands must not decide what the ledger was.
func (r *recovering) open(outside outsideCheckpoint, keys seal.Keys) (seal.Checkpoint, error) {
	if keys.Len() == 0 {
		fmt.Fprintf(r.out, "The signature of the checkpoint of %s isn't verified: no key is at hand (MANTI_SEAL_KEY, MANTI_SEAL_OLD_KEYS).\n", outside.source)
		return seal.ParseCheckpoint(outside.note)
	}
	c, err := seal.Open(outside.note, keys)
	if errors.Is(err, seal.ErrUnknownKey) {
		return c, fmt.Errorf("no key at hand has signed it (if it is genuine, set MANTI_SEAL_OLD_KEYS to the key of its sealer): %w", err)
	}
	return c, err
}

// startedOrigins are the names of the origins that the ledger has begun.
func startedOrigins(ctx context.Context, pool *pgxpool.Pool) (names []string, err error) {
	for from := int64(0); ; {
		entries, err := ledger.ReadControl(ctx, pool, from, 500)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if o, ok := e.Event.Body.(*domain.OriginStarted); ok {
				names = append(names, o.Origin)
			}
		}
		if len(entries) < 500 {
			return names, nil
		}
		from = entries[len(entries)-1].Index + 1
	}
}

// describe prints what was found.
func (r *recovering) describe() {
	say := func(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }
	say("The ledger has %d entries, and had at least %d.", r.Head.Size, r.Target)
	if r.Head.Frozen {
		say("It is frozen: %s", r.Head.Reason)
	}
	if r.outside == nil {
		say("There is no signed checkpoint outside of the database to compare with: that more was there can't be excluded.")
	} else {
		say("The last signed checkpoint is of its first %d entries.", r.outside.Size)
	}
	if n := r.Refillable; n > 0 {
		say("The spools hold the entries %d to %d.", r.Head.Size, r.Head.Size+n-1)
	}
	if d := r.Diverged; d != nil && !d.Here.IsZero() {
		say("The ledger has gone another way at index %d: event %s is there, but a spool says that it was %s, since %s.", d.Index, d.Here, d.There, d.RecordedAt)
	}
	for _, m := range r.Missing {
		covered := "no checkpoint covers them"
		if r.outside != nil && m.From < r.outside.Size {
			covered = "the checkpoint covers them"
		}
		say("Nobody holds the entries %d to %d; %s.", m.From, m.To-1, covered)
	}
	for i, u := range r.Unheld {
		if i == 20 {
			say("… and %d more of which the id is known.", len(r.Unheld)-i)
			break
		}
		say("Entry %d was event %s.", u.Index, u.ID)
	}
	if r.Unplaced > 0 {
		say("%d events at hand are not in the ledger and, as things are, can't have their old places: they would be appended at new ones.", r.Unplaced)
	}
	for _, err := range r.Damage {
		say("Damaged: %v", err)
	}
	if len(r.Damage) > 0 && len(r.Missing) > 0 {
		say("What is missing may have stood in what is damaged: put whole copies of these files in place first, if there are any.")
	}
}

// agree holds the ledger against the outside checkpoint.
func (r *recovering) agree(ctx context.Context) error {
	if r.outside == nil {
		return nil
	}
	if err := seal.Check(ctx, r.pool, *r.outside); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "It agrees with the signed checkpoint of %d entries.\n", r.outside.Size)
	return nil
}

// refill puts everything back and lets appends through.
func (r *recovering) refill(ctx context.Context) error {
	if err := r.Freeze(ctx); err != nil {
		return err
	}
	if err := r.Refill(ctx); err != nil {
		return err
	}
	if err := r.agree(ctx); err != nil {
		return fmt.Errorf("the ledger is refilled, but stays frozen: %w", err)
	}
	return r.finish(ctx)
}

// accept puts back what can be, begins a new origin and goes on.
func (r *recovering) accept(ctx context.Context, cfg *Config, cause string) error {
	names := r.origins
	if c, err := seal.ParseCheckpoint([]byte(r.previous)); err == nil {
		names = append(slices.Clip(names), c.Origin)
	}
	loss := ledger.Loss{Author: operator(), Origin: originAfter(names...), Previous: r.previous, Cause: cause}
	if err := seal.CheckOrigin(loss.Origin); err != nil {
		return err
	}
	if err := r.Freeze(ctx); err != nil {
		return err
	}
	if err := r.Refill(ctx); err != nil {
		return err
	}
	if r.outside != nil && r.outside.Size <= r.lossBegins() {
		if err := r.agree(ctx); err != nil {
			return fmt.Errorf("what is not lost was changed; the ledger stays frozen: %w", err)
		}
	}
	place, err := r.BeginAnew(ctx, loss)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "The loss is accepted: from index %d on the ledger is %s.\n", place.Index, loss.Origin)
	r.remember(ctx, cfg, loss.Origin)
	for _, p := range r.Ahead {
		if p.Index > r.Head.Size {
			fmt.Fprintf(r.out, "The projection %s has folded entries that are gone: `manti rebuild %s --replace`.\n", p.Name, p.Name)
		}
	}
	return r.finish(ctx)
}

// finish appends what has no place of its own, and lets appends through.
func (r *recovering) finish(ctx context.Context) error {
	res, err := r.Resend(ctx)
	if err != nil {
		return err
	}
	if err := r.Thaw(ctx); err != nil {
		return err
	}
	if r.Refillable > 0 {
		fmt.Fprintf(r.out, "%d entries are back at their old places.\n", r.Refillable)
	}
	if res.Appended > 0 {
		fmt.Fprintf(r.out, "%d events were appended at new places.\n", res.Appended)
	}
	if n := len(res.Rejected); n > 0 {
		fmt.Fprintf(r.out, "%d records are set aside in ledger.rejected, again or for the first time.\n", n)
	}
	_, err = fmt.Fprintln(r.out, "The ledger takes events again.")
	return err
}

// progressTo says every 10,000 entries how far it is.
func progressTo(w io.Writer) func(done, of int64) {
	next := int64(10_000)
	return func(done, of int64) {
		if done >= next {
			fmt.Fprintf(w, "%d of %d entries\n", done, of)
			next = done + 10_000
		}
	}
}
