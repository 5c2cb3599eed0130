package projections_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// filled is a bench with some of everything, all folded.
func filled(t *testing.T) (*bench, *world) {
	t.Helper()
	b, w := bootstrapped(t)
	key := issue(w)
	mustDecide(t, b, key, projections.DecideIssue)
	mustDecide(t, b, projections.PublishPrices{Event: newID[domain.EventID](w), At: start, Book: builtin(t)}, projections.DecideBuiltin)
	mustDecide(t, b, projections.RevokeKey{Event: newID[domain.EventID](w), At: start, Key: key.Key}, projections.DecideRevoke)
	b.append(t, w.call(), w.call(), w.call())
	b.catchUp(t, projections.All()...)
	b.append(t, w.correction(), w.call(), w.correction())
	b.catchUp(t, projections.All()...)
	return b, w
}

func TestRebuildEqualsLive(t *testing.T) {
	t.Parallel()
	b, w := filled(t)
	tables := []string{"balances", "keys", "orgs", "prices", "projects", "requests", "usage"}
	for range 2 { // once more, over the swapped tables
		before := map[string][]string{}
		for _, table := range tables {
			if before[table] = b.rows(t, table); len(before[table]) == 0 {
				t.Fatalf("%s is empty", table)
			}
		}
		for _, p := range projections.All() {
			index, digest := b.checkpoint(t, p.Name())
			done, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{})
			if err != nil || !done.Compared || done.Index != index {
				t.Errorf("%s at %d: %+v, %v", p.Name(), index, done, err)
			}
			if i, d := b.checkpoint(t, p.Name()); i != index || d != digest {
				t.Errorf("%s: checkpoint %d %s, want %d %s", p.Name(), i, d, index, digest)
			}
		}
		for _, table := range tables {
			if diff := cmp.Diff(before[table], b.rows(t, table)); diff != "" {
				t.Errorf("%s:\n%s", table, diff)
			}
		}
	}
	b.append(t, w.call(), w.correction())
	b.catchUp(t, projections.All()...)
	b.checkInvariants(t)
	var left int
	const shadows = `SELECT (SELECT count(*) FROM pg_tables WHERE tablename LIKE 'shadow%') + (SELECT count(*) FROM projections.checkpoints WHERE name LIKE '%shadow')`
	if err := b.pool.QueryRow(t.Context(), shadows).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d shadows are left (%v)", left, err)
	}
}

// An edited row is found, is not replaced unasked, and is when asked.
func TestRebuildFindsEditedRows(t *testing.T) {
	t.Parallel()
	b, _ := filled(t)
	edits := map[string]string{
		"balances": `UPDATE projections.balances SET charge = charge + 0.000000000000000001`,
		"usage":    `DELETE FROM projections.usage WHERE ctid = (SELECT min(ctid) FROM projections.usage)`,
		"requests": `UPDATE projections.requests SET outcome = 'completed', held = NULL, status = 201`,
		"keys":     `UPDATE projections.keys SET revoked_at = NULL`,
		"orgs":     `INSERT INTO projections.orgs VALUES (gen_random_uuid(), now(), 0)`,
		"prices":   `UPDATE projections.prices SET builtin = NOT builtin`,
	}
	for _, p := range projections.All() {
		if _, err := b.pool.Exec(t.Context(), edits[p.Name()]); err != nil {
			t.Fatal(err)
		}
		if err := projections.Verify(t.Context(), b.pool, p); !errors.Is(err, projections.ErrDiverged) {
			t.Errorf("%s: verify says %v", p.Name(), err)
		}
		edited := b.rows(t, p.Name())
		done, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{})
		if !errors.Is(err, projections.ErrDiverged) || done.Difference.None() {
			t.Errorf("%s: rebuild says %+v, %v", p.Name(), done, err)
		}
		if diff := cmp.Diff(edited, b.rows(t, p.Name())); diff != "" {
			t.Errorf("%s was replaced:\n%s", p.Name(), diff)
		}
		done, err = projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{Replace: true})
		if err != nil || done.Difference.None() {
			t.Errorf("%s: replacing says %+v, %v", p.Name(), done, err)
		}
	}
	b.checkInvariants(t)
}

// Rows of another version of a fold are refused by everybody but a rebuild.
func TestRebuildAfterAnotherVersion(t *testing.T) {
	t.Parallel()
	b, w := filled(t)
	p := projections.Balances()
	want := b.rows(t, "balances")
	for _, sql := range []string{`UPDATE projections.checkpoints SET version = 99 WHERE name = 'balances'`, `UPDATE projections.balances SET cost = 1`} {
		if _, err := b.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := projections.CatchUp(t.Context(), b.pool, p); !errors.Is(err, ledger.ErrRebuild) {
		t.Errorf("catching up says %v", err)
	}
	done, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{})
	if err != nil || done.Compared {
		t.Errorf("rebuild says %+v, %v", done, err)
	}
	if diff := cmp.Diff(want, b.rows(t, "balances")); diff != "" {
		t.Error(diff)
	}
	b.append(t, w.call())
	b.catchUp(t, p)
	b.checkInvariants(t)
}

// Rows of events that the ledger has lost are refused at once, and replaced only
// if asked to and if nobody has frozen the ledger for its recovery.
func TestRebuildOfALedgerThatIsBehind(t *testing.T) {
	t.Parallel()
	b, w := filled(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := b.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*projections.Projection{projections.Balances(), projections.Keys()} {
		want := b.rows(t, p.Name())
		exec(`UPDATE projections.checkpoints SET index = index + 1 WHERE name = '` + p.Name() + `'`)
		if _, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{}); !errors.Is(err, projections.ErrAhead) {
			t.Errorf("%s: rebuild says %v", p.Name(), err)
		}
		exec(`UPDATE ledger.head SET frozen = true, reason = 'ledger behind: a test'`)
		if _, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{Replace: true}); !errors.Is(err, projections.ErrAhead) {
			t.Errorf("%s: replacing while the ledger is frozen says %v", p.Name(), err)
		}
		exec(`UPDATE ledger.head SET frozen = false, reason = NULL`)
		done, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{Replace: true})
		if err != nil || done.Compared {
			t.Errorf("%s: replacing says %+v, %v", p.Name(), done, err)
		}
		if diff := cmp.Diff(want, b.rows(t, p.Name())); diff != "" {
			t.Error(diff)
		}
	}
	b.append(t, w.call())
	b.catchUp(t, projections.All()...)
	b.checkInvariants(t)
}

// While some append and others fold, rebuilds find no difference.
func TestRebuildBesideAppendsAndFolds(t *testing.T) {
	t.Parallel()
	b, w := filled(t)
	batches := make([][]domain.Event, 30)
	for i := range batches {
		batches[i] = []domain.Event{w.call(), w.call(), w.correction()}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, p := range projections.All() {
			err := patiently(func() error {
				_, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{})
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	for _, events := range batches {
		b.append(t, events...)
		b.catchUp(t, projections.All()...)
	}
	wg.Wait()
	b.catchUp(t, projections.All()...)
	b.checkInvariants(t)
}

// Several processes fold the same projections at once; some are cut off in the
// middle of a transaction.
func TestFoldersFenceEachOther(t *testing.T) {
	t.Parallel()
	b, w := newBench(t), newWorld(5)
	for range 20 {
		b.append(t, w.call(), w.call(), w.call(), w.correction())
	}
	errCut := errors.New("cut off")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for _, p := range money() {
				err := db.InTx(t.Context(), b.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
					_, err := ledger.Advance(ctx, tx, p, 10)
					return errors.Join(err, errCut)
				})
				if !errors.Is(err, errCut) {
					t.Error(err)
				}
				err = patiently(func() error {
					_, err := projections.CatchUpBy(t.Context(), b.pool, p, 3)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	w.check(t, b.now())
	b.checkInvariants(t)
}

// A batch that can't be folded is halved down to the event at fault, and that
// one alone is left out.
func TestPoisonIsFound(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	b, w := &bench{pool: pool, ledger: ledger.New(pool)}, newWorld(3)
	for range 10 {
		b.append(t, w.call())
	}
	bad := w.call()
	bad.Body.(*domain.RequestCompleted).AskedModel = "poison"
	b.append(t, bad, w.call())
	const trap = `ALTER TABLE projections.requests ADD CONSTRAINT trap CHECK (asked_model <> 'poison')`
	if _, err := database.Pool(t, "").Exec(t.Context(), trap); err != nil {
		t.Fatal(err)
	}
	b.catchUp(t, projections.Requests())
	parked, err := projections.ReadParked(t.Context(), pool, "")
	if err != nil || len(parked) != 1 || parked[0].Index != 10 || parked[0].Projection != "requests" || !strings.Contains(parked[0].Error, "trap") {
		t.Fatalf("parked %+v, %v", parked, err)
	}
	if n := len(b.rows(t, "requests")); n != 11 {
		t.Errorf("%d calls are folded, want all but one", n)
	}
	b.catchUp(t, projections.Balances(), projections.Usage())
	b.checkInvariants(t)
}
