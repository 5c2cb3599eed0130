package projections_test

import (
	"errors"
	"strings"
	"testing"

	"manti/db"
	"manti/db/dbtest"
	"manti/ledger"
	"manti/projections"
)

// A rebuild keeps the rights that somebody gave or took, on tables and on
// columns, and gives nobody others.
func TestRebuildKeepsRights(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	admin := database.Pool(t, "")
	b := &bench{pool: database.Pool(t, db.RoleWriter)}
	b.ledger = ledger.New(b.pool)
	w := newWorld(3)
	b.append(t, w.call())
	b.catchUp(t, projections.Balances(), projections.Keys())
	for _, sql := range []string{
		`GRANT SELECT ON projections.balances TO PUBLIC`,
		`REVOKE SELECT ON projections.balances FROM manti_auditor`,
		`GRANT UPDATE (held), REFERENCES ON projections.balances TO manti_reader WITH GRANT OPTION`,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	rights := func() (list string) {
		const query = `SELECT string_agg(DISTINCT x, ' ' ORDER BY x) FROM (
			SELECT c.relname || ':' || unnest(c.relacl) FROM pg_class c WHERE c.oid IN ('projections.balances'::regclass, 'projections.keys'::regclass)
			UNION ALL SELECT a.attrelid::regclass || '.' || a.attname || ':' || unnest(a.attacl) FROM pg_attribute a
			WHERE a.attrelid IN ('projections.balances'::regclass, 'projections.keys'::regclass)) r (x)`
		if err := admin.QueryRow(t.Context(), query).Scan(&list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	before := rights()
	for range 2 {
		for _, p := range []*projections.Projection{projections.Balances(), projections.Keys()} {
			if _, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{}); err != nil {
				t.Fatal(err)
			}
		}
		if after := rights(); after != before {
			t.Fatalf("rights before\n%s\nafter\n%s", before, after)
		}
	}
}

// The reader doesn't see what recognises a key, before or after a rebuild.
func TestReaderDoesNotSeeHashes(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	reader, writer := database.Pool(t, db.RoleReader), database.Pool(t, db.RoleWriter)
	for range 2 {
		const query = `SELECT has_column_privilege('projections.keys', 'hash', 'SELECT'), has_column_privilege('projections.keys', 'hint', 'SELECT')`
		var hash, hint bool
		if err := reader.QueryRow(t.Context(), query).Scan(&hash, &hint); err != nil || hash || !hint {
			t.Errorf("the reader sees hash: %v, hint: %v (%v)", hash, hint, err)
		}
		if _, err := projections.Rebuild(t.Context(), writer, projections.Keys(), projections.RebuildConfig{}); err != nil {
			t.Fatal(err)
		}
	}
}

// What stands on a table is named before anything is folded, and nothing changes.
func TestRebuildNamesWhatStandsOnATable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, want string }{
		"view":        {`CREATE VIEW public.report AS SELECT * FROM projections.usage`, "view report on projections.usage"},
		"row type":    {`CREATE TABLE public.kept (u projections.usage)`, "column u of table kept"},
		"function":    {`CREATE FUNCTION public.calls() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM projections.usage; END`, "function calls()"},
		"foreign key": {`ALTER TABLE projections.usage ADD UNIQUE (calls); CREATE TABLE public.other (calls bigint REFERENCES projections.usage (calls))`, "constraint other_calls_fkey on table other"},
		"own check":   {`ALTER TABLE projections.usage ADD CHECK (calls >= 0)`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := dbtest.Open(t, dbtest.Options{})
			if _, err := database.Pool(t, "").Exec(t.Context(), c.sql); err != nil {
				t.Fatal(err)
			}
			cfg := projections.RebuildConfig{Progress: func(int64, int64) {
				if c.want != "" {
					t.Error("events were folded")
				}
			}}
			_, err := projections.Rebuild(t.Context(), database.Pool(t, db.RoleWriter), projections.Usage(), cfg)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, projections.ErrDependents) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to name %q", err, c.want)
			}
		})
	}
}
