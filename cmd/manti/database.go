package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/local"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// database is the ledger's Postgres, migrated and open.
type database struct {
	pool   *pgxpool.Pool
	ledger *ledger.Ledger
	roles  db.Roles
	secret []byte
}

// openDatabase migrates a Postgres and opens a pool as the writer. Without a
// secret, none is checked.
func openDatabase(ctx context.Context, cfg Config, url db.URL, secret []byte, log *slog.Logger) (database, error) {
	migrate := db.MigrateConfig{URL: url, Log: log}
	if cfg.MigrateURL != "" {
		migrate.URL, migrate.ServeURL = cfg.MigrateURL, url
	}
	done, err := db.Migrate(ctx, migrate)
	if err != nil {
		return database{}, err
	}
	pool, err := db.Open(ctx, db.Config{URL: url, Role: done.Roles.Writer, MaxConns: poolConns})
	if err != nil {
		return database{}, err
	}
	if secret != nil {
		if err := checkSecret(ctx, pool, secret); err != nil {
			pool.Close()
			return database{}, err
		}
	}
	return database{pool: pool, ledger: ledger.New(pool), roles: done.Roles, secret: secret}, nil
}

// poolConns is enough for the shipper, the jobs, the refresh and a few readers.
const poolConns = 12

// command runs a decision that reads the given control projections.
func (d database) command(ctx context.Context, decide ledger.Decide, reads ...*projections.Projection) error {
	deps := make([]ledger.Projection, len(reads))
	for i, p := range reads {
		deps[i] = p
	}
	_, err := d.ledger.Command(ctx, deps, decide)
	return err
}

// bootstrap makes the default organisation and project, unless they are there.
func (d database) bootstrap(ctx context.Context) error {
	return d.command(ctx, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
		return projections.DecideBootstrap(ctx, tx, projections.Bootstrap{At: eventTime(), Author: systemAuthor})
	}, projections.Orgs())
}

// catchUp folds what the ledger holds, so that a reader sees it all.
func (d database) catchUp(ctx context.Context, p *projections.Projection) error {
	_, err := projections.CatchUp(ctx, d.pool, p)
	return err
}

// withDatabase runs a command line's work on DATABASE_URL or on the private
// Postgres, which is started for it if it isn't running.
func withDatabase(ctx context.Context, inv invocation, data string, work func(database) error) error {
	return onDatabase(ctx, inv, data, loadSecret, work)
}

// withoutSecret is withDatabase for work that makes no key and reads none: it
// goes on where the secret is lost.
func withoutSecret(ctx context.Context, inv invocation, data string, work func(database) error) error {
	none := func(*Config, bool) ([]byte, error) { return nil, nil }
	return onDatabase(ctx, inv, data, none, work)
}

func onDatabase(ctx context.Context, inv invocation, data string, load func(cfg *Config, private bool) ([]byte, error), work func(database) error) error {
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(data)
	log := slog.New(slog.NewTextHandler(inv.io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	private := cfg.DatabaseURL == ""
	url, stop, err := findPostgres(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer stop()
	secret, err := load(&cfg, private)
	if err != nil {
		return err
	}
	d, err := openDatabase(ctx, cfg, url, secret, log)
	if err != nil {
		return err
	}
	defer d.pool.Close()
	if private {
		if err := guardPrivate(cfg, d, log); err != nil {
			return err
		}
	}
	return work(d)
}

// findPostgres is the configured Postgres, or the private one, running or
// started for now.
func findPostgres(ctx context.Context, cfg Config, log *slog.Logger) (url db.URL, stop func(), err error) {
	if cfg.DatabaseURL != "" {
		return cfg.DatabaseURL, func() {}, nil
	}
	url, running, err := local.Find(cfg.Data)
	if err != nil {
		return "", nil, err
	}
	if running {
		return url, func() {}, nil
	}
	if _, err := os.Stat(cfg.Data); errors.Is(err, os.ErrNotExist) {
		return "", nil, fmt.Errorf("there is no data in %s: start `manti` first, or set DATABASE_URL or --data", cfg.Data)
	}
	server, err := local.Start(ctx, localConfig(cfg, log))
	if errors.Is(err, local.ErrInUse) { // by a manti whose Postgres doesn't answer
		return "", nil, fmt.Errorf("the private Postgres in %s is being restarted by the manti that runs it: try again in a moment; that manti's log says more", cfg.Data)
	}
	if err != nil {
		return "", nil, err
	}
	return server.URL(), func() { _ = server.Stop(context.WithoutCancel(ctx)) }, nil // it is stopped as well as it can be
}

func localConfig(cfg Config, log *slog.Logger) local.Config {
	return local.Config{DataDir: cfg.Data, Log: log, ProgramDir: cfg.PGBin, Path: os.Getenv("PATH"), Repository: cfg.PGRepository}
}

// printURL shows how to reach the private Postgres.
func printURL(_ context.Context, inv invocation) error {
	flags := newFlags(inv)
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(*data)
	if cfg.DatabaseURL != "" {
		return errors.New("DATABASE_URL is set: that is the database")
	}
	url, running, err := local.Find(cfg.Data)
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("no private Postgres answers in %s: no manti is running there, or it is restarting its Postgres: try again in a moment", cfg.Data)
	}
	_, err = fmt.Fprintln(inv.io.out, url.Reveal())
	return err
}

// dataFlag is --data, for commands that work on a private Postgres.
func dataFlag(f *flag.FlagSet) *string {
	return f.String("data", "", "the data directory ($MANTI_DATA)")
}

// migrate brings the schema up to date.
func migrate(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		fmt.Fprintf(inv.io.out, "The schema is up to date. Roles: %s.\n", d.roles.Separation)
		if d.roles.Reason != "" {
			fmt.Fprintln(inv.io.out, d.roles.Reason)
		}
		return nil
	})
}

// eventTime is now in the form of events.
func eventTime() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func newID[I ~[16]byte](t time.Time) I {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return domain.NewID[I](t, random)
}

// withDemoDatabase is withDatabase for the demo, whose database is its own:
// one in a folder of the usual data directory, or DATABASE_URL.
func withDemoDatabase(ctx context.Context, inv invocation, data string, work func(d database, flag string) error) error {
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	hint := ""
	if cfg.DatabaseURL == "" {
		if data == "" {
			data = filepath.Join(cfg.Data, "demo")
		}
		hint = " --data " + data
		if err := os.MkdirAll(data, 0o700); err != nil {
			return fmt.Errorf("make the demo's folder: %w", err)
		}
	}
	return withDatabase(ctx, inv, data, func(d database) error { return work(d, hint) })
}
