package projections_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// What audit.projections shows as behind is what the metric shows: projections
// of control events aren't behind for the calls that they pass over.
func TestAuditShowsTheLag(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	b, w := &bench{pool: pool, ledger: ledger.New(pool)}, newWorld(81)
	mustDecide(t, b, projections.Bootstrap{At: start, Author: "system:bootstrap"}, projections.DecideBootstrap)
	b.append(t, w.call())
	b.catchUp(t, projections.All()...)
	b.append(t, w.call(), w.call())
	check := func(keys, balances int64) {
		t.Helper()
		want := map[string]int64{}
		lags, err := projections.ReadLag(t.Context(), pool, projections.All())
		if err != nil {
			t.Fatal(err)
		}
		for _, lag := range lags {
			want[lag.Projection.Name()] = lag.Events
		}
		if want["keys"] != keys || want["balances"] != balances {
			t.Errorf("the metrics say %v", want)
		}
		rows, err := database.Pool(t, db.RoleAuditor).Query(t.Context(), `SELECT name, behind FROM audit.projections`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		got := map[string]int64{}
		for rows.Next() {
			name, behind := "", int64(0)
			if err := rows.Scan(&name, &behind); err != nil {
				t.Fatal(err)
			}
			got[name] = behind
		}
		if diff := cmp.Diff(want, got); diff != "" || rows.Err() != nil {
			t.Errorf("audit.projections (-metrics +view): %v\n%s", rows.Err(), diff)
		}
	}
	check(0, 2)
	key := issue(w)
	b.append(t, domain.Event{ID: key.Event, At: start, Author: "operator:test", Body: &domain.KeyIssued{
		Org: key.Org, Project: key.Project, Key: key.Key, Private: key.Secret}})
	check(3, 3)
}
