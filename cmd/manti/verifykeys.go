package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/ledger/seal"
)

// An outsideCheckpoint is a signed checkpoint and where it comes from.
type outsideCheckpoint struct {
	note   []byte // nil if there is none
	source string
	// accepted are the losses that an outside memory says were accepted.
	accepted []seal.Acceptance
}

// outside reads the checkpoint of --against, or of the directory in which this
// machine remembers the last one.
func (o *verifyOptions) outside(ctx context.Context, cfg *Config) (outsideCheckpoint, error) {
	source, optional := o.against, false
	if source == "" {
		source, optional = cfg.checkpointsDir(), true
	}
	note, err := readCheckpoint(ctx, source)
	accepted, acceptedErr := readAccepted(ctx, source, cfg.checkpointsDir())
	switch {
	case acceptedErr != nil:
		return outsideCheckpoint{}, acceptedErr
	case optional && (errors.Is(err, os.ErrNotExist) || err == nil && note == nil):
		return outsideCheckpoint{accepted: accepted}, nil
	case err != nil:
		return outsideCheckpoint{}, fmt.Errorf("read the checkpoint of %s: %w", source, err)
	case note == nil:
		return outsideCheckpoint{}, fmt.Errorf("there is no checkpoint in %s", source)
	}
	return outsideCheckpoint{note, source, accepted}, nil
}

// readAccepted reads what was accepted from the first that is a directory.
func readAccepted(ctx context.Context, places ...string) ([]seal.Acceptance, error) {
	for _, place := range places {
		if info, err := os.Stat(place); err != nil || !info.IsDir() {
			continue
		}
		dir, err := seal.OpenDir(place)
		if err != nil {
			return nil, err
		}
		return dir.Accepted(ctx)
	}
	return nil, nil
}

const (
	// fetchTimeout bounds asking for a checkpoint, which is a few hundred bytes.
	fetchTimeout = 30 * time.Second
	// maxCheckpoint is more than any is.
	maxCheckpoint = 1 << 20
)

// readCheckpoint reads a file, a memory's directory, or a URL.
func readCheckpoint(ctx context.Context, source string) ([]byte, error) {
	if strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") {
		return fetchCheckpoint(ctx, source)
	}
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		dir, err := seal.OpenDir(source)
		if err != nil {
			return nil, err
		}
		return dir.Load(ctx)
	}
	return os.ReadFile(source)
}

func fetchCheckpoint(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxCheckpoint))
}

// keys are those of --key, or this machine's own and old ones under every name
// that checkpoints have: the name is the ledger's to choose, the key isn't.
func (o *verifyOptions) keys(ctx context.Context, cfg *Config, pool *pgxpool.Pool, outside outsideCheckpoint) (seal.Keys, error) {
	if o.key != "" {
		keys, err := seal.ParseKeys(o.key)
		if err != nil {
			return keys, usageError{"--key: " + err.Error()}
		}
		return keys, nil
	}
	origins, err := checkpointOrigins(ctx, pool)
	if err != nil {
		return seal.Keys{}, err
	}
	notes := [][]byte{outside.note}
	for _, a := range outside.accepted {
		notes = append(notes, []byte(a.Previous), []byte(a.Kept))
	}
	for _, note := range notes {
		if c, err := seal.ParseCheckpoint(note); err == nil {
			origins = append(origins, c.Origin)
		}
	}
	return signersOf(cfg, origins...)
}

// ownSigner is the configured signer key, nil if there is none. Unlike a server's
// start it makes none.
func ownSigner(cfg *Config) (*seal.Signer, error) {
	private := cfg.DatabaseURL == ""
	if cfg.SealKey == "" && private {
		if _, err := os.Stat(filepath.Join(cfg.Data, sealKeyFile)); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	return loadSigner(cfg, private)
}

// checkpointOrigins are the names under which the ledger was signed.
func checkpointOrigins(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	rows, err := pool.Query(ctx, `SELECT DISTINCT split_part(note, E'\n', 1) FROM ledger.checkpoints LIMIT 1000`)
	if err != nil {
		return nil, fmt.Errorf("read origins: %w", err)
	}
	origins, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read origins: %w", err)
	}
	return origins, nil
}
