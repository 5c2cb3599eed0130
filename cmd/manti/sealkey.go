package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"manti/domain"
	"manti/ledger/seal"
)

// sealKeyFile is where a private Postgres' signer key is, in the data directory:
// outside of the database that it vouches for.
const sealKeyFile = "seal.key"

// loadSigner is MANTI_SEAL_KEY, or with the private Postgres the key that was made
// at first start. It is nil where there is none: then this process seals nothing.
func loadSigner(cfg *Config, private bool) (*seal.Signer, error) {
	text, from := cfg.SealKey, "MANTI_SEAL_KEY"
	if path, is := strings.CutPrefix(text.Reveal(), "file:"); is {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("MANTI_SEAL_KEY: %w", err)
		}
		text, from = domain.Secret(content), path
	}
	if text == "" && private {
		from = filepath.Join(cfg.Data, sealKeyFile)
		content, err := os.ReadFile(from)
		if errors.Is(err, os.ErrNotExist) {
			return makeSigner(cfg, from)
		}
		if err != nil {
			return nil, fmt.Errorf("read the signer key: %w", err)
		}
		text = domain.Secret(content)
	}
	if text == "" {
		return nil, nil
	}
	signer, err := seal.ParseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return signer, nil
}

// makeSigner makes a key and keeps it, whole or not at all.
func makeSigner(cfg *Config, path string) (*seal.Signer, error) {
	key, err := seal.NewKey(originOf(cfg))
	if err != nil {
		return nil, err
	}
	if err := writeFile(path, []byte(key.Reveal()+"\n")); err != nil {
		return nil, fmt.Errorf("keep the signer key: %w", err)
	}
	return seal.ParseSigner(key)
}

// originOf is the configured name of the ledger, or one that nobody else has.
func originOf(cfg *Config) string {
	if cfg.Origin != "" {
		return cfg.Origin
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return "manti/" + hex.EncodeToString(random[:])
}

// oldKeys are the verifier keys from before rotations.
func oldKeys(cfg *Config) (seal.Keys, error) {
	keys, err := seal.ParseKeys(cfg.SealOldKeys)
	if err != nil {
		return keys, fmt.Errorf("MANTI_SEAL_OLD_KEYS: %w", err)
	}
	return keys, nil
}

// checkpointsDir is the outside memory's directory.
func (c *Config) checkpointsDir() string {
	if c.Checkpoints != "" {
		return c.Checkpoints
	}
	return filepath.Join(c.Data, "checkpoints")
}
