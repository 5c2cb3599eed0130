package dbtest

import (
	"context"
	"errors"
	"os"

	"manti/db/internal/cluster"
)

// findPrograms returns the newest installation on this machine.
func findPrograms(ctx context.Context) (cluster.Programs, error) {
	search := cluster.Search{Explicit: os.Getenv("MANTI_PG_BIN"), Path: os.Getenv("PATH"), Globs: cluster.SystemGlobs()}
	found, err := search.Find(ctx)
	if err != nil {
		return cluster.Programs{}, err
	}
	if len(found) == 0 {
		return cluster.Programs{}, errors.New("no PostgreSQL found: install it, or set MANTI_PG_BIN or MANTI_TEST_DATABASE_URL")
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
