package main

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/domain"
	"manti/proxy/auth"
)

const secretBytes = 32

// loadSecret is MANTI_SECRET, or with the private Postgres the one that was
// made at first start.
func loadSecret(cfg *Config, private bool) ([]byte, error) {
	if cfg.Secret != "" {
		return parseSecret(cfg.Secret.Reveal())
	}
	if !private {
		return nil, errors.New("MANTI_SECRET isn't set. With DATABASE_URL it must be, and be the same on every replica: make one with `openssl rand -hex 32` and keep it: without it no API key works")
	}
	path := filepath.Join(cfg.Data, "secret")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return makeSecret(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	secret, err := parseSecret(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

func parseSecret(text string) ([]byte, error) {
	secret, err := hex.DecodeString(text)
	if err != nil || len(secret) != secretBytes {
		return nil, errors.New("MANTI_SECRET must be 64 hexadecimal digits (32 bytes): `openssl rand -hex 32`")
	}
	return secret, nil
}

// makeSecret writes a new secret so that a crash leaves it whole or not at all.
func makeSecret(path string) ([]byte, error) {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails, see crypto/rand
	if err := writeFile(path, []byte(hex.EncodeToString(secret)+"\n")); err != nil {
		return nil, fmt.Errorf("keep the secret: %w", err)
	}
	return secret, nil
}

// writeFile replaces a file of ours so that a crash leaves the old one or the
// new one, readable for its owner only.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // there no more once it is renamed
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// derive makes the key for one use of the secret (RFC 5869).
func derive(secret []byte, use string) [32]byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "manti "+use, 32)
	if err != nil {
		panic("manti: derive key: " + err.Error()) // only for impossible lengths
	}
	return [32]byte(key)
}

func pepperOf(secret []byte) auth.Pepper { return auth.Pepper(derive(secret, "key pepper")) }

// errWrongSecret says that stored keys were made with another secret.
var errWrongSecret = errors.New("MANTI_SECRET isn't the one that this database's keys were made with; no key would work. Set the right one")

// checkSecret compares the secret with the check value in the database, or
// leaves one there: a wrong secret fails at start, not at each call.
func checkSecret(ctx context.Context, pool *pgxpool.Pool, secret []byte) error {
	const query = `INSERT INTO manti.settings (name, value) VALUES ('secret_check', $1) ON CONFLICT (name) DO NOTHING`
	const read = `SELECT value FROM manti.settings WHERE name = 'secret_check'`
	check := derive(secret, "check value")
	mine := hex.EncodeToString(check[:])
	if _, err := pool.Exec(ctx, query, mine); err != nil {
		return fmt.Errorf("leave the secret's check value: %w", err)
	}
	var there string
	if err := pool.QueryRow(ctx, read).Scan(&there); err != nil {
		return fmt.Errorf("read the secret's check value: %w", err)
	}
	if there != mine {
		return errWrongSecret
	}
	return nil
}

// newKey makes an API key and the id by which it is known.
func newKey() domain.Secret {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return auth.NewKey(random)
}
