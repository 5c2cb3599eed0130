package projections_test

import (
	"errors"
	"strings"
	"testing"

	"manti/ledger"
	"manti/projections"
)

// A refold names the row that isn't what the ledger says, and what is wrong
// with it.
func TestRefoldNamesEditedRows(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, projection, edit, want string
		digest                       bool
	}{
		{name: "a sum", projection: "balances", want: "charge is ",
			edit: `UPDATE projections.balances SET charge = charge + 0.000000000000000001 WHERE currency = 'XTS'`},
		{name: "a row that is gone", projection: "usage", want: "is missing",
			edit: `DELETE FROM projections.usage WHERE ctid = (SELECT min(ctid) FROM projections.usage)`},
		{name: "a row too many", projection: "orgs", want: "should not be there",
			edit: `INSERT INTO projections.orgs VALUES (gen_random_uuid(), now(), 0)`},
		{name: "a key brought back", projection: "keys", want: `revoked_at is null, by the ledger "`,
			edit: `UPDATE projections.keys SET revoked_at = NULL`},
		{name: "a column emptied", projection: "requests", want: "key_id is null",
			edit: `UPDATE projections.requests SET key_id = NULL`},
		{name: "the digest", projection: "prices", want: "not the running digest", digest: true,
			edit: `UPDATE projections.checkpoints SET digest = '\x0000000000000001' WHERE name = 'prices'`},
	}
	b, _ := filled(t)
	for _, p := range projections.All() {
		if d, err := projections.Refold(t.Context(), b.pool, p, nil); err != nil || !d.None() || d.Err() != nil || d.Index == 0 {
			t.Errorf("%s, unedited: %v, %v", p.Name(), d, err)
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := b.pool.Exec(t.Context(), test.edit); err != nil {
				t.Fatal(err)
			}
			p, _ := projections.Find(test.projection)
			d, err := projections.Refold(t.Context(), b.pool, p, nil)
			if err != nil || d.None() || !errors.Is(d.Err(), projections.ErrDiverged) || !strings.Contains(d.String(), test.want) {
				t.Errorf("%v, %v, want %q", d, err, test.want)
			}
			if test.digest != (d.Rows == 0) {
				t.Errorf("%d rows", d.Rows)
			}
			if _, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{}); !errors.Is(err, projections.ErrDiverged) {
				t.Errorf("rebuild: %v", err)
			}
			done, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{Replace: true})
			if err != nil || done.Difference.None() {
				t.Errorf("replacing: %+v, %v", done, err)
			}
			if d, err := projections.Refold(t.Context(), b.pool, p, nil); err != nil || !d.None() {
				t.Errorf("after the rebuild: %v, %v", d, err)
			}
		})
	}
}

func TestRefoldOfAnotherVersion(t *testing.T) {
	t.Parallel()
	b, _ := filled(t)
	if _, err := b.pool.Exec(t.Context(), `UPDATE projections.checkpoints SET version = 99 WHERE name = 'usage'`); err != nil {
		t.Fatal(err)
	}
	if _, err := projections.Refold(t.Context(), b.pool, projections.Usage(), nil); !errors.Is(err, ledger.ErrRebuild) {
		t.Errorf("error %v", err)
	}
}
