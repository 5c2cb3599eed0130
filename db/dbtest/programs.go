package dbtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"manti/db/internal/cluster"
	"manti/db/local"
)

// fetchTimeout bounds a download of the programs, once per machine.
const fetchTimeout = 6 * time.Minute

// findPrograms returns the newest installation on this machine, or one fetched
// for tests, for which dir is the place.
func findPrograms(ctx context.Context, dir string) (cluster.Programs, error) {
	cfg := local.Config{DataDir: filepath.Join(dir, "fetched"), ProgramDir: os.Getenv("MANTI_PG_BIN"), Path: os.Getenv("PATH")}
	search := cluster.Search{Explicit: cfg.ProgramDir, Path: cfg.Path, Globs: append(cluster.SystemGlobs(), filepath.Join(cfg.DataDir, "pgsql", "*", "bin"))}
	found, err := search.Find(ctx)
	if err != nil {
		return cluster.Programs{}, err
	}
	if len(found) == 0 {
		if err := fetchPrograms(ctx, dir, cfg); err != nil {
			return cluster.Programs{}, err
		}
		if found, err = search.Find(ctx); err != nil {
			return cluster.Programs{}, err
		}
	}
	return found[0], nil
}

// fetchPrograms downloads programs into cfg.DataDir unless another process just
// has. Its deadline is its own: a test's is for starting a server.
func fetchPrograms(ctx context.Context, dir string, cfg local.Config) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	unlock, err := lockFile(filepath.Join(dir, "fetch.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	fetcher := filepath.Join(dir, "fetch")
	build := exec.CommandContext(ctx, "go", "build", "-o", fetcher, "manti/db/internal/fetch")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("no PostgreSQL found (MANTI_PG_BIN, MANTI_TEST_DATABASE_URL), nor built what fetches it: %w: %s", err, out)
	}
	cfg.FetchCommand = []string{fetcher}
	_, err = local.Programs(ctx, cfg) // looks again first
	return err
}

// testSettings make a server quick and forgetful.
func testSettings() map[string]string {
	return map[string]string{
		"fsync":                     "off",
		"full_page_writes":          "off",
		"autovacuum":                "off",
		"wal_level":                 "minimal",
		"max_wal_senders":           "0",
		"max_connections":           "500",
		"max_locks_per_transaction": "128",
		"shared_buffers":            "64MB",
		"max_wal_size":              "2GB",
		"checkpoint_timeout":        "1h",
		"logging_collector":         "off",
	}
}
