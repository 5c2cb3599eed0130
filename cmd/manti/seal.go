package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/domain"
	"manti/ledger/seal"
)

// errNoSealKey says how to get a key.
var errNoSealKey = errors.New("there is no signer key: set MANTI_SEAL_KEY to one, or to file:PATH; `manti seal keygen` makes one")

// sealConns is enough for one sealer.
const sealConns = 2

// sealLedger signs checkpoints apart from any gateway: with the key here, gateways
// need none.
func sealLedger(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	once := flags.Bool("once", false, "seal what is there now, say so and stop")
	accept := flags.String("accept", "", "remember in MANTI_CHECKPOINTS that you accepted the loss after which the ledger began this origin (manti recover --accept-loss), and stop; sealers go on then")
	from := flags.Int64("from", -1, "with --accept: the first index at which the ledger isn't what it was, as manti recover said")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	return withLedger(ctx, inv, *data, func(cfg Config, pool *pgxpool.Pool, log *slog.Logger) error {
		if *accept != "" {
			return acceptOrigin(ctx, inv.io.out, pool, &cfg, seal.Claim{Origin: *accept, From: *from})
		}
		s, err := newSealer(cfg, pool, log)
		if err != nil {
			return err
		}
		if !*once {
			log.Info("sealing", "checkpoints", cfg.checkpointsDir())
			return s.Run(ctx)
		}
		c, err := s.Pass(ctx)
		switch {
		case err != nil:
			return err
		case c.Note == "":
			_, err = fmt.Fprintln(inv.io.out, "The ledger is empty: there is nothing to seal.")
		default:
			_, err = fmt.Fprintf(inv.io.out, "Sealed: %s\n", c)
		}
		return err
	})
}

func newSealer(cfg Config, pool *pgxpool.Pool, log *slog.Logger) (*seal.Sealer, error) {
	signer, err := loadSigner(&cfg, cfg.DatabaseURL == "")
	if err != nil {
		return nil, err
	}
	if signer == nil {
		return nil, errNoSealKey
	}
	keys, err := oldKeys(&cfg)
	if err != nil {
		return nil, err
	}
	memory, err := seal.OpenDir(cfg.checkpointsDir())
	if err != nil {
		return nil, err
	}
	return seal.New(seal.Config{Pool: pool, Signer: signer, Old: keys, Origin: cfg.Origin, Memory: memory, Log: log})
}

// withLedger runs work on the ledger of DATABASE_URL or the private Postgres as
// it is: nothing is migrated, and MANTI_SECRET isn't needed.
func withLedger(ctx context.Context, inv invocation, data string, work func(Config, *pgxpool.Pool, *slog.Logger) error) error {
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(data)
	log := slog.New(slog.NewTextHandler(inv.io.err, &slog.HandlerOptions{Level: logLevel(cfg.LogLevel)}))
	url, stop, err := findPostgres(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer stop()
	roles, err := rolesOf(ctx, url)
	if err != nil {
		return err
	}
	pool, err := db.Open(ctx, db.Config{URL: url, Role: roles.Writer, MaxConns: sealConns})
	if err != nil {
		return err
	}
	defer pool.Close()
	return work(cfg, pool, log)
}

// rolesOf finds out what the login of a URL may do.
func rolesOf(ctx context.Context, url db.URL) (db.Roles, error) {
	pool, err := db.Open(ctx, db.Config{URL: url, MaxConns: 1})
	if err != nil {
		return db.Roles{}, err
	}
	defer pool.Close()
	return db.InspectRoles(ctx, pool)
}

// sealKeygen makes a signer key.
func sealKeygen(_ context.Context, inv invocation) error {
	flags := newFlags(inv)
	origin := flags.String("origin", "", "the ledger's name, for ever, like example.com/ledger ($MANTI_ORIGIN); a random one by default")
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	if *origin != "" {
		cfg.Origin = *origin
	}
	key, err := seal.NewKey(originOf(&cfg))
	if err != nil {
		return err
	}
	signer, err := seal.ParseSigner(key)
	if err != nil {
		return err
	}
	fmt.Fprintf(inv.io.err, "The secret for MANTI_SEAL_KEY is on standard output. The verifier key to hand out is\n%s\n", signer.VerifierKey())
	_, err = fmt.Fprintln(inv.io.out, key.Reveal())
	return err
}

// sealKey prints the verifier key.
func sealKey(_ context.Context, inv invocation) error {
	flags := newFlags(inv)
	origin := flags.String("origin", "", "the key under another name: for a ledger that has begun a new origin")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(*data)
	if cfg.SealKey == "" && cfg.DatabaseURL == "" {
		cfg.SealKey = domain.Secret("file:" + filepath.Join(cfg.Data, sealKeyFile)) // which the first start makes
	}
	signer, err := loadSigner(&cfg, false)
	if err != nil {
		return err
	}
	if signer == nil {
		return errNoSealKey
	}
	if *origin != "" {
		if signer, err = signer.As(*origin); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(inv.io.out, signer.VerifierKey())
	return err
}
