package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/domain"
	"manti/jobs"
	"manti/projections"
)

// control is all that needs the database: it waits for it, prepares it, and
// then ships the spool, works the jobs and keeps the data plane up to date.
// Calls are served meanwhile.
type control struct {
	*server
	shipped chan struct{} // closed when Run has ended
	// first is the key that this process made for a private Postgres without
	// any; it is shown once everything is ready.
	first domain.Secret
}

// connectEvery is how often a database that doesn't answer is tried again.
const connectEvery = 2 * time.Second

// Run connects and then works until ctx ends.
func (c *control) Run(ctx context.Context) error {
	defer close(c.shipped)
	d, refresh, err := c.connect(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	defer d.pool.Close()
	if d.roles.Reason != "" {
		c.log.Info("roles are not fully separated", "separation", d.roles.Separation, "reason", d.roles.Reason)
	}
	ship, err := c.ship(d)
	if err != nil {
		return err
	}
	sweep := func(ctx context.Context) error { return c.sweep(ctx, d) }
	follow := func(ctx context.Context) error {
		c.books.follow(ctx, d.pool, d.roles)
		return nil
	}
	runner, err := jobs.New(jobs.Config{Pool: d.pool, Ledger: d.ledger, Logger: c.log, Registerer: c.registry, PollOnly: c.cfg.PollOnly})
	if err != nil {
		return err
	}
	sealing, err := c.evidence.connect(d.pool, c.registry)
	if err != nil {
		return err
	}
	mirror, err := c.mirror(d)
	if err != nil {
		return err
	}
	orphans, err := c.orphans(d)
	if err != nil {
		return err
	}
	c.welcome(c.first)
	return together(ctx, c.watch.Run, mirror, orphans, sealing, ship, sweep, follow, runner.Run, refresh.Run)
}

// together runs tasks until ctx ends or one fails, and waits for all.
func together(ctx context.Context, tasks ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	errs := make([]error, len(tasks))
	for i, task := range tasks {
		wg.Go(func() {
			if errs[i] = task(ctx); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// connect opens and prepares the database, however long it takes to answer.
// What can't be mended by waiting is an error.
func (c *control) connect(ctx context.Context) (database, *refresher, error) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		d, refresh, err := c.prepare(ctx)
		switch {
		case err == nil:
			return d, refresh, nil
		case ctx.Err() != nil:
			return database{}, nil, nil
		case !db.IsOutage(err):
			return database{}, nil, err
		case attempt == 0:
			c.log.Warn("the database doesn't answer; it is tried again", "err", err)
		}
		sleep(ctx, connectEvery)
	}
	return database{}, nil, nil
}

// prepare is one try to open the database, make what is missing in it, and give
// the data plane its keys and prices.
func (c *control) prepare(ctx context.Context) (database, *refresher, error) {
	d, err := openDatabase(ctx, c.cfg, c.database, c.secret, c.log)
	if err != nil {
		return database{}, nil, err
	}
	refresh := &refresher{pool: d.pool, snapshots: c.snaps, gateway: c.gateway, watch: c.watch, log: c.log, pollOnly: c.cfg.PollOnly}
	if err = c.take(ctx, d, refresh); err == nil && c.direct != nil {
		err = c.direct.Connect(ctx, d.pool, d.ledger)
	}
	if err != nil {
		d.pool.Close()
		return database{}, nil, err
	}
	return d, refresh, nil
}

// systemAuthor is who does what manti does by itself.
const systemAuthor = "system:manti"

// bootstrap makes what a ledger needs before its first call. It may be called
// again after an outage.
func (c *control) bootstrap(ctx context.Context, d database) error {
	if err := d.bootstrap(ctx); err != nil {
		return err
	}
	book, err := projections.BuiltinPrices()
	if err != nil {
		return err
	}
	err = d.command(ctx, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
		at := eventTime()
		return projections.DecideBuiltin(ctx, tx, projections.PublishPrices{Event: newID[domain.EventID](at), At: at, Author: systemAuthor, Book: book})
	}, projections.Prices())
	switch {
	case err != nil:
		return err
	case c.cfg.BootstrapKey != "":
		return c.bootstrapKey(ctx, d)
	case c.private != nil:
		return c.firstKey(ctx, d)
	}
	return nil
}

// minBootstrapKey is how short a key may be that people make themselves.
const minBootstrapKey = 20

// bootstrapKey records MANTI_BOOTSTRAP_KEY, unless it is there already.
func (c *control) bootstrapKey(ctx context.Context, d database) error {
	if len(c.cfg.BootstrapKey) < minBootstrapKey {
		return fmt.Errorf("MANTI_BOOTSTRAP_KEY is shorter than %d characters", minBootstrapKey)
	}
	return c.issueOnce(ctx, d, c.cfg.BootstrapKey, "bootstrap")
}

// firstKey makes a key if there never was one. Once it has begun to, it goes on
// with the same key: an outage may hide that it was recorded.
func (c *control) firstKey(ctx context.Context, d database) error {
	if c.first == "" {
		keys, err := projections.ListKeys(ctx, d.pool, domain.OrgID{})
		if err != nil || len(keys) > 0 {
			return err
		}
		c.first = newKey()
	}
	return c.issueOnce(ctx, d, c.first, "first key")
}

// issueOnce records a key, unless it is there already. Where an event is parked
// that it rests on, it doesn't: that must not keep a server from starting.
func (c *control) issueOnce(ctx context.Context, d database, key domain.Secret, name string) error {
	_, err := issueKey(ctx, d, key, name, systemAuthor, time.Time{})
	if e, ok := errors.AsType[*domain.Error](err); ok && e.Code == domain.CodeConflict {
		return nil
	}
	if errors.Is(err, projections.ErrParked) {
		c.log.Error("a key can't be recorded", "name", name, "err", err)
		return nil
	}
	return err
}

// awaitShipped waits until all calls are in the ledger, or for at most d.
func (c *control) awaitShipped(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		left := c.unrecorded()
		if left == 0 {
			return
		}
		select {
		case <-ctx.Done():
			c.log.Warn("not all calls are in the ledger; what is left in a spool is shipped at the next start", "unshipped", left)
			return
		case <-c.shipped:
			return
		case <-t.C:
		}
	}
}
