package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"manti/ledger"
)

// openWatch loads what this server, or one before it on the same spool, has seen
// of its ledger. With the spool in Postgres it remembers for as long as it lives.
func (s *server) openWatch() (err error) {
	cfg := ledger.WatchConfig{Log: s.log, Registerer: s.registry}
	if s.spool != nil {
		cfg.Dir, cfg.Highest = s.cfg.Spool, s.spool.Highest()
	}
	s.watch, err = ledger.NewWatch(cfg)
	return err
}

// notes are /readyz's: what an operator should know, though calls are taken.
func (s *server) notes() []string {
	notes := append(s.evidence.notes(), s.books.notes()...)
	if reason, behind := s.watch.Behind(); behind {
		notes = append([]string{"ledger behind: nothing is appended to it, and calls go on into the spool; the log says more"}, notes...)
	} else if reason != "" {
		notes = append([]string{"ledger frozen: nothing is appended to it, and calls go on into the spool; the log says more"}, notes...)
	}
	return notes
}

// mirror copies what commands and jobs wrote into the spool, if there is one.
func (c *control) mirror(d database) (func(context.Context) error, error) {
	if c.spool == nil {
		return func(context.Context) error { return nil }, nil
	}
	m, err := ledger.NewMirror(ledger.MirrorConfig{Ledger: d.ledger, Watch: c.watch, Spool: c.spool, Keep: c.cfg.SpoolKeep, Log: c.log})
	if err != nil {
		return nil, err
	}
	return m.Run, nil
}

// take gives the data plane its keys and prices, and makes what is missing for
// that. Those of a ledger that is behind aren't taken, for a key that was revoked
// may be good in it: the data plane keeps the last ones.
func (c *control) take(ctx context.Context, d database, refresh *refresher) error {
	c.watch.Guard(d.ledger)
	if err := c.watch.Look(ctx); err != nil {
		return fmt.Errorf("look at the ledger: %w", err)
	}
	if c.watch.Frozen() == "" {
		if err := c.bootstrap(ctx, d); err != nil {
			return fmt.Errorf("prepare the database: %w", err)
		}
	}
	if _, behind := c.watch.Behind(); behind {
		refresh.held = true
		return nil
	}
	if err := refresh.begin(ctx); err != nil {
		return fmt.Errorf("load keys and prices: %w", err)
	}
	return nil
}

// guardPrivate keeps a command line off a private Postgres that was restored: its
// server's memory is at hand, in the same data directory. With DATABASE_URL the
// directory may be that of another ledger.
func guardPrivate(cfg Config, d database, log *slog.Logger) error {
	watch, err := ledger.NewWatch(ledger.WatchConfig{Dir: filepath.Join(cfg.Data, "spool"), Log: log})
	if err != nil {
		return err
	}
	watch.Guard(d.ledger)
	return nil
}
