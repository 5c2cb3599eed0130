package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"manti/db"
	"manti/db/local"
	"manti/ledger/backup"
)

// backUp writes the ledger into a file.
func backUp(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return usageError{"manti backup: name the file to write, or - for standard output"}
	}
	name := flags.Arg(0)
	return withoutSecret(ctx, inv, *data, func(d database) error {
		out, err := createBackup(inv, name)
		if err != nil {
			return err
		}
		defer out.discard()
		m, err := backup.Write(ctx, d.pool, out, version)
		if err == nil {
			err = out.keep()
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(inv.io.err, "Backed up %s. It has neither MANTI_SECRET nor the signing key: keep both elsewhere, without the secret no API key works.\n", extent(m))
		return nil
	})
}

// extent says how much a backup holds.
func extent(m backup.Manifest) string {
	if m.Size() == 0 {
		return "an empty ledger"
	}
	return fmt.Sprintf("%d events, the last of %s", m.Size(), m.Heads[0].RecordedAt.UTC().Format(time.RFC3339))
}

// backupFile is a file that has its name when it is whole.
type backupFile struct {
	io.Writer
	file *os.File // nil: standard output
	name string
}

func createBackup(inv invocation, name string) (*backupFile, error) {
	if name == "-" {
		return &backupFile{Writer: inv.io.out}, nil
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, fmt.Errorf("%s is there already: name a new file", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write backup: %w", err)
	}
	return &backupFile{Writer: f, file: f, name: name}, nil
}

// keep makes the file durable and gives it its name.
func (b *backupFile) keep() error {
	if b.file == nil {
		return nil
	}
	err := b.file.Sync()
	if err = errors.Join(err, b.file.Close()); err == nil {
		err = os.Link(b.file.Name(), b.name) // unlike Rename, never over another
	}
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

func (b *backupFile) discard() {
	if b.file != nil {
		_ = b.file.Close()           // closed by keep already, mostly
		_ = os.Remove(b.file.Name()) // its other name stays
	}
}

// restore reads a backup into an empty database.
func restore(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	check := flags.Bool("check", false, "only read the file and say whether it is whole")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return usageError{"manti restore: name the file that `manti backup` wrote, or - for standard input"}
	}
	in, err := openBackup(flags.Arg(0))
	if err != nil {
		return err
	}
	defer in.Close()
	if *check {
		m, err := backup.Check(in)
		if err != nil {
			return err
		}
		fmt.Fprintf(inv.io.out, "The file is whole: %s, made at %s by manti %s on PostgreSQL %s.\n", extent(m), m.MadeAt.Format(time.RFC3339), m.Program, m.Server)
		return nil
	}
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(*data)
	return restoreInto(ctx, inv, cfg, in)
}

func openBackup(name string) (*os.File, error) {
	if name == "-" {
		return os.Stdin, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	return f, nil
}

// restoreInto restores into DATABASE_URL, or into a private Postgres that it
// makes for it.
func restoreInto(ctx context.Context, inv invocation, cfg Config, in io.Reader) error {
	log := slog.New(slog.NewTextHandler(inv.io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	migrate := db.MigrateConfig{URL: cfg.DatabaseURL, Log: log}
	if cfg.DatabaseURL == "" {
		server, err := local.Start(ctx, localConfig(cfg, log))
		if err != nil {
			return err
		}
		defer func() { _ = server.Stop(context.WithoutCancel(ctx)) }() // it is stopped as well as it can be
		migrate.URL = server.URL()
	} else if cfg.MigrateURL != "" {
		migrate.URL, migrate.ServeURL = cfg.MigrateURL, cfg.DatabaseURL
	}
	done, err := db.Migrate(ctx, migrate)
	if err != nil {
		return err
	}
	role := ""
	if done.Roles.Separation != db.SeparationNone {
		role = done.Roles.Owner
	}
	pool, err := db.Open(ctx, db.Config{URL: migrate.URL, Role: role, MaxConns: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	m, err := backup.Restore(ctx, pool, in)
	if err != nil {
		return err
	}
	fmt.Fprintf(inv.io.out, "Restored %s, of a backup made at %s.\n", extent(m), m.MadeAt.Format(time.RFC3339))
	private := cfg.DatabaseURL == ""
	if _, err := os.Stat(filepath.Join(cfg.Data, "secret")); private && cfg.Secret == "" && errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(inv.io.out, "Before the first start, put the old data directory's files secret and seal.key into %s: without the secret no API key works.\n", cfg.Data)
	} else if secret, err := loadSecret(&cfg, private); err != nil {
		fmt.Fprintln(inv.io.out, "Before the first start:", err)
	} else if err := checkSecret(ctx, pool, secret); err != nil {
		fmt.Fprintln(inv.io.out, "Before the first start:", err)
	}
	fmt.Fprintln(inv.io.out, "What was recorded after the backup is in the spools: start manti, and if it says `ledger behind`, run `manti recover`. `manti verify` checks what is here.")
	return nil
}
