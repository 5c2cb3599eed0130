package projections_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"manti/projections"
)

// Each projection is checked once a night, by however many replicas; one that
// died over it is replaced; the next night it is due again.
func TestChecksAreNightly(t *testing.T) {
	t.Parallel()
	b, _ := filled(t)
	due := func() (names []string) {
		t.Helper()
		ps, err := projections.DueChecks(t.Context(), b.pool, projections.All())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			names = append(names, p.Name())
		}
		return names
	}
	if got := due(); len(got) != len(projections.All()) {
		t.Errorf("due: %v", got)
	}
	var checked atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for _, p := range projections.All() {
				check, done, err := projections.CheckNightly(t.Context(), b.pool, p)
				if err != nil || done && (!check.OK || !check.Compared || check.Index == 0) {
					t.Errorf("%+v, %v", check, err)
				}
				if done {
					checked.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := checked.Load(); n != int64(len(projections.All())) {
		t.Errorf("%d checks", n)
	}
	if got := due(); len(got) != 0 {
		t.Errorf("still due: %v", got)
	}
	mustExec(t, b.pool, `UPDATE projections.checks SET night = night - 1 WHERE projection = 'usage';
		UPDATE projections.checks SET checked_at = NULL, started_at = started_at - interval '1 day' WHERE projection = 'keys'`)
	if got := strings.Join(due(), " "); got != "keys usage" {
		t.Errorf("due: %s", got)
	}
	mustExec(t, b.pool, `UPDATE projections.keys SET revoked_at = NULL`)
	check, done, err := projections.CheckNightly(t.Context(), b.pool, projections.Keys())
	if err != nil || !done || check.OK || !check.Compared || !strings.Contains(check.Difference, "revoked_at is null") {
		t.Errorf("%+v, %t, %v", check, done, err)
	}
	last, err := projections.LastChecks(t.Context(), b.pool)
	if err != nil || len(last) != len(projections.All()) {
		t.Fatalf("%+v, %v", last, err)
	}
	for _, c := range last {
		if c.OK != (c.Projection != "keys") || (c.Difference == "") != c.OK {
			t.Errorf("%+v", c)
		}
	}
	mustExec(t, b.pool, `UPDATE projections.checkpoints SET version = 99 WHERE name = 'usage'`)
	check, done, err = projections.CheckNightly(t.Context(), b.pool, projections.Usage())
	if err != nil || !done || check.Compared || !strings.Contains(check.Difference, "rebuild") {
		t.Errorf("%+v, %t, %v", check, done, err)
	}
}
