package db_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

var update = flag.Bool("update", false, "write River's migrations anew")

// riverFiles maps a version of River's schema to our file. Version 1 is River's
// own table of migrations, which dbmate's replaces. A version of its own per
// file, because Postgres before 17 can't use an enum's new value (version 4
// adds one, 6 uses it) in the transaction that adds it.
var riverFiles = map[int]string{
	2: "0002_river_002.sql",
	3: "0003_river_003.sql",
	4: "0004_river_004.sql",
	5: "0005_river_005.sql",
	6: "0006_river_006.sql",
	7: "0007_river_007.sql",
	8: "0008_river_008.sql",
}

// TestRiverMigrations compares our files with what the River in go.mod would
// migrate to, in schema river. After an upgrade that brings a new version, add a
// file to riverFiles (never change an old one) and run with -update.
func TestRiverMigrations(t *testing.T) {
	t.Parallel()
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, migration := range migrator.AllVersions() {
		if migration.Version == 1 {
			continue
		}
		name, ok := riverFiles[migration.Version]
		if !ok {
			t.Errorf("River's version %d (%s) has no file", migration.Version, migration.Name)
			continue
		}
		path := filepath.Join("migrations", name)
		want := riverFile(migration)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s differs from River's version %d (-want +got):\n%s", path, migration.Version, diff)
		}
	}
}

func riverFile(migration rivermigrate.Migration) string {
	inSchema := func(sql string) string {
		sql = strings.TrimSpace(strings.ReplaceAll(sql, "/* TEMPLATE: schema */", "river."))
		var lines []string
		for line := range strings.SplitSeq(sql, "\n") {
			lines = append(lines, strings.TrimRight(line, " "))
		}
		return strings.Join(lines, "\n")
	}
	return fmt.Sprintf(`-- migrate:up

-- Version %d of River's schema (%s), in schema river.
-- Written by TestRiverMigrations -update; do not edit.
-- SPDX-License-Identifier: MPL-2.0 (github.com/riverqueue/river)

%s

-- migrate:down

%s
`, migration.Version, migration.Name, inSchema(migration.SQLUp), inSchema(migration.SQLDown))
}
