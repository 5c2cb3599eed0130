package dbtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"manti/db/internal/cluster"
	"manti/db/local"
)

// findPrograms returns the newest installation on this machine, or one fetched
// for tests, for which dir is the place.
func findPrograms(ctx context.Context, dir string) (cluster.Programs, error) {
	cfg := local.Config{DataDir: filepath.Join(dir, "fetched"), ProgramDir: os.Getenv("MANTI_PG_BIN"), Path: os.Getenv("PATH")}
	search := cluster.Search{Explicit: cfg.ProgramDir, Path: cfg.Path, Globs: append(cluster.SystemGlobs(), filepath.Join(cfg.DataDir, "pgsql", "*", "bin"))}
	found, err := search.Find(ctx)
	if err != nil {
		return cluster.Programs{}, err
	}
	if len(found) > 0 {
		return found[0], nil
	}
	fetcher := filepath.Join(dir, "fetch")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", fetcher, "manti/db/internal/fetch").CombinedOutput(); err != nil {
		return cluster.Programs{}, fmt.Errorf("no PostgreSQL found (MANTI_PG_BIN, MANTI_TEST_DATABASE_URL), nor built what fetches it: %w: %s", err, out)
	}
	cfg.FetchCommand = []string{fetcher}
	if search.Explicit, err = local.Programs(ctx, cfg); err != nil {
		return cluster.Programs{}, err
	}
	found, err = search.Find(ctx)
	if err != nil {
		return cluster.Programs{}, err
	}
	return found[0], nil
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
