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
	"manti/ledger"
	"manti/projections"
)

// control is all that needs the database: it waits for it, prepares it, and
// then ships the spool, works the jobs and keeps the data plane up to date.
// Calls are served meanwhile.
type control struct {
	*server
	shipped chan struct{} // closed when Run has ended
	shipper *ledger.Shipper
	mu      sync.Mutex // guards shipper
}

// connectEvery is how often a database that doesn't answer is tried again.
const connectEvery = 2 * time.Second

// Run connects and then works until ctx ends.
func (c *control) Run(ctx context.Context) error {
	defer close(c.shipped)
	d, err := c.connect(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	defer d.pool.Close()
	if d.roles.Reason != "" {
		c.log.Info("roles are not fully separated", "separation", d.roles.Separation, "reason", d.roles.Reason)
	}
	shipper, err := ledger.NewShipper(ledger.ShipperConfig{Ledger: d.ledger, Spool: c.spool, Replica: c.cfg.Replica, Log: c.log, Registerer: c.registry})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.shipper = shipper
	c.mu.Unlock()
	key, err := c.bootstrap(ctx, d)
	if err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	refresh := &refresher{pool: d.pool, snapshots: c.snaps, gateway: c.gateway, log: c.log, pollOnly: c.cfg.PollOnly}
	if err := refresh.begin(ctx); err != nil {
		return fmt.Errorf("load keys and prices: %w", err)
	}
	runner, err := jobs.New(jobs.Config{Pool: d.pool, Ledger: d.ledger, Logger: c.log, Registerer: c.registry, PollOnly: c.cfg.PollOnly})
	if err != nil {
		return err
	}
	c.welcome(key)
	return together(ctx, shipper.Run, runner.Run, refresh.Run)
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

// connect opens the database, however long it takes to answer. What can't be
// mended by waiting is an error.
func (c *control) connect(ctx context.Context) (database, error) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		d, err := openDatabase(ctx, c.cfg, c.database, c.secret, c.log)
		switch {
		case err == nil:
			return d, nil
		case ctx.Err() != nil:
			return database{}, nil
		case !db.IsOutage(err):
			return database{}, err
		case attempt == 0:
			c.log.Warn("the database doesn't answer; it is tried again", "err", err)
		}
		sleep(ctx, connectEvery)
	}
	return database{}, nil
}

// systemAuthor is who does what manti does by itself.
const systemAuthor = "system:manti"

// bootstrap makes what a ledger needs before its first call. The key it returns
// is one to show, made if the private Postgres has none yet.
func (c *control) bootstrap(ctx context.Context, d database) (domain.Secret, error) {
	if err := d.bootstrap(ctx); err != nil {
		return "", err
	}
	book, err := projections.BuiltinPrices()
	if err != nil {
		return "", err
	}
	err = d.command(ctx, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
		at := eventTime()
		return projections.DecideBuiltin(ctx, tx, projections.PublishPrices{Event: newID[domain.EventID](at), At: at, Author: systemAuthor, Book: book})
	}, projections.Prices())
	if err != nil {
		return "", err
	}
	if c.cfg.BootstrapKey != "" {
		return "", c.bootstrapKey(ctx, d)
	}
	if c.private == nil {
		return "", nil
	}
	return c.firstKey(ctx, d)
}

// minBootstrapKey is how short a key may be that people make themselves.
const minBootstrapKey = 20

// bootstrapKey records MANTI_BOOTSTRAP_KEY, unless it is there already.
func (c *control) bootstrapKey(ctx context.Context, d database) error {
	if len(c.cfg.BootstrapKey) < minBootstrapKey {
		return fmt.Errorf("MANTI_BOOTSTRAP_KEY is shorter than %d characters", minBootstrapKey)
	}
	_, err := issueKey(ctx, d, c.cfg.BootstrapKey, "bootstrap", systemAuthor, time.Time{})
	if e, ok := errors.AsType[*domain.Error](err); ok && e.Code == domain.CodeConflict {
		return nil
	}
	return err
}

// firstKey makes a key if there never was one.
func (c *control) firstKey(ctx context.Context, d database) (domain.Secret, error) {
	keys, err := projections.ListKeys(ctx, d.pool, domain.OrgID{})
	if err != nil || len(keys) > 0 {
		return "", err
	}
	key := newKey()
	_, err = issueKey(ctx, d, key, "first key", systemAuthor, time.Time{})
	return key, err
}

// awaitShipped waits until the spool is empty, or for at most d.
func (c *control) awaitShipped(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		stats, err := c.spool.Stats()
		if err != nil || stats.Unshipped == 0 {
			return
		}
		select {
		case <-ctx.Done():
			c.log.Warn("the spool isn't empty; what is left is shipped at the next start", "unshipped", stats.Unshipped)
			return
		case <-c.shipped:
			return
		case <-t.C:
		}
	}
}
