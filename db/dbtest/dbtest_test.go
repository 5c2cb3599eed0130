package dbtest_test

import (
	"testing"

	"manti/db/dbtest"
)

func TestNewIsMigratedAndPrivate(t *testing.T) {
	t.Parallel()
	a, b := dbtest.New(t), dbtest.New(t)
	var nameA, nameB, role string
	if err := a.QueryRow(t.Context(), `SELECT current_database(), current_user::text FROM manti.schema_migrations LIMIT 1`).Scan(&nameA, &role); err != nil {
		t.Fatal(err)
	}
	if err := b.QueryRow(t.Context(), `SELECT current_database()`).Scan(&nameB); err != nil {
		t.Fatal(err)
	}
	if nameA == nameB {
		t.Errorf("two tests share database %s", nameA)
	}
	if role != "manti_writer" {
		t.Errorf("pool runs as %s, want manti_writer", role)
	}
}
