package projections_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// trapped is a bench whose folder is the writer and whose projections of calls
// refuse the model "poison", until it is disarmed.
func trapped(t *testing.T) (b *bench, disarm func()) {
	t.Helper()
	database := dbtest.Open(t, dbtest.Options{})
	b = &bench{pool: database.Pool(t, db.RoleWriter)}
	b.ledger = ledger.New(b.pool)
	super := database.Pool(t, "")
	mustExec(t, super, `CREATE FUNCTION projections.poisoned(currency text) RETURNS boolean LANGUAGE sql AS $$ SELECT currency = 'XPT' $$;
		ALTER TABLE projections.balances ADD CONSTRAINT trap CHECK (NOT projections.poisoned(currency));
		ALTER TABLE projections.usage ADD CONSTRAINT trap CHECK (NOT projections.poisoned(charge_currency));
		ALTER TABLE projections.requests ADD CONSTRAINT trap CHECK (NOT projections.poisoned(charge_currency))`)
	return b, func() {
		mustExec(t, super, `CREATE OR REPLACE FUNCTION projections.poisoned(currency text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$`)
	}
}

func mustExec(t testing.TB, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// poison makes an event one that the traps refuse.
func poison(e domain.Event) domain.Event {
	call, _ := domain.CallOf(e.Body)
	call.Charge.Currency = "XPT"
	return e
}

// Events that can't be folded are left out, whether calls, corrections, or
// corrections of what was left out; all others are folded, and what is there is
// exact: what the events say if those that are parked had never been. A rebuild
// that can takes them in.
func TestParkedEventsAreLeftOutExactly(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{2, 1000} {
		t.Run(fmt.Sprint("by ", batch), func(t *testing.T) {
			t.Parallel()
			b, disarm := trapped(t)
			w := newWorld(uint64(batch))
			var bad []int64
			for range 3 {
				var events []domain.Event
				for range 12 {
					e := w.call()
					if n := len(w.events); w.rand.IntN(2) == 0 {
						w.events = w.events[:n-1]
						w.open = w.open[:len(w.open)-1]
						e = w.correction()
					}
					if w.rand.IntN(4) == 0 {
						bad = append(bad, int64(len(w.events)-1))
						poison(e)
					}
					events = append(events, e)
				}
				b.append(t, events...)
				if w.rand.IntN(2) == 0 {
					b.catchUpBy(t, batch)
				}
			}
			b.catchUpBy(t, batch)
			// Requests never sees a row that is replaced within its batch.
			for _, p := range []*projections.Projection{projections.Balances(), projections.Usage()} {
				if got := b.parked(t, p.Name()); !slices.Equal(got, bad) {
					t.Errorf("%s: parked %v, want %v", p.Name(), got, bad)
				}
			}
			b.checkInvariants(t)
			w.without(bad).check(t, b.now())
			for _, p := range money() {
				parked := int64(len(b.parked(t, p.Name())))
				if d, err := projections.Refold(t.Context(), b.pool, p, nil); err != nil || !d.None() || d.Parked != parked {
					t.Errorf("refold: %v, %d parked, %v", d, d.Parked, err)
				}
				done, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{})
				if err != nil || done.Parked+done.Unparked != parked || !done.Difference.None() {
					t.Errorf("a rebuild that can't: %+v, %v", done, err)
				}
			}
			w.without(bad).check(t, b.now())
			disarm()
			for _, p := range money() {
				parked := int64(len(b.parked(t, p.Name())))
				done, err := projections.Rebuild(t.Context(), b.pool, p, projections.RebuildConfig{})
				if err != nil || done.Unparked != parked || done.Parked != 0 {
					t.Errorf("a rebuild that can: %+v, %v", done, err)
				}
				if got := b.parked(t, p.Name()); len(got) != 0 {
					t.Errorf("%s: still parked: %v", p.Name(), got)
				}
			}
			w.check(t, b.now())
			b.checkInvariants(t)
		})
	}
}

func (b *bench) catchUpBy(t *testing.T, batch int) {
	t.Helper()
	for _, p := range money() {
		err := patiently(func() error {
			_, err := projections.CatchUpBy(t.Context(), b.pool, p, batch)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// parked are the indexes that a projection has left out, whether superseded since or not.
func (b *bench) parked(t *testing.T, projection string) (indexes []int64) {
	t.Helper()
	err := b.pool.QueryRow(t.Context(), `SELECT array_agg(index ORDER BY index) FROM projections.parked WHERE projection = $1`, projection).Scan(&indexes)
	if err != nil {
		t.Fatal(err)
	}
	return indexes
}

// without is the world without some of its events: what supersedes one of them
// supersedes what that superseded.
func (w *world) without(indexes []int64) *world {
	left := &world{}
	gone := map[domain.EventID]domain.EventID{}
	first := map[domain.EventID]time.Time{}
	for i, e := range w.events {
		call, _ := domain.CallOf(e.Body)
		if call.Supersedes.IsZero() {
			first[e.ID] = e.At
		}
		if slices.Contains(indexes, int64(i)) {
			gone[e.ID] = call.Supersedes
			e.Body = nil // it keeps its place
		} else {
			body := *call
			for target, is := gone[body.Supersedes]; is; target, is = gone[body.Supersedes] {
				body.Supersedes = target
			}
			e.Body = &body
		}
		left.events = append(left.events, e)
	}
	left.admitted = first
	return left
}

// Figures say how many events they may lack; what a later event has superseded
// is missing nowhere.
func TestParkedEventsMarkFigures(t *testing.T) {
	t.Parallel()
	b, _ := trapped(t)
	w := newWorld(21)
	good, bad := w.call(), w.call()
	goodCall, _ := domain.CallOf(good.Body)
	badCall, _ := domain.CallOf(bad.Body)
	goodCall.Org, badCall.Org = domain.OrgID{1}, domain.OrgID{2}
	goodCall.Charge.Currency, badCall.Charge.Currency = domain.USD, domain.USD
	goodCall.Private.Cost.Currency, badCall.Private.Cost.Currency = domain.USD, domain.USD
	fix := domain.Event{ID: newID[domain.EventID](w), At: bad.At, Author: "operator:test", Body: &domain.UsageCorrected{Call: *badCall, Basis: domain.Manual}}
	correction, _ := domain.CallOf(fix.Body)
	correction.Supersedes, correction.Request = bad.ID, bad.ID
	other := w.call()
	otherCall, _ := domain.CallOf(other.Body)
	*otherCall = *badCall
	b.append(t, good, poison(bad), other)
	b.catchUp(t, money()...)
	marks := func() map[domain.OrgID]int64 {
		t.Helper()
		balances, err := projections.ReadBalances(t.Context(), b.pool, domain.OrgID{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[domain.OrgID]int64{}
		for _, sum := range balances {
			got[sum.Org] = sum.Incomplete
		}
		for _, by := range [][]projections.Dimension{{projections.ByOrg}, {projections.ByDay, projections.ByOrg}} {
			for row, err := range projections.ReadUsage(t.Context(), b.pool, projections.UsageFilter{By: by}) {
				if err != nil || row.Incomplete != got[row.Org] {
					t.Errorf("usage by %v: %+v, %v", by, row, err)
				}
			}
		}
		return got
	}
	if diff := cmp.Diff(map[domain.OrgID]int64{{1}: 0, {2}: 1}, marks()); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	elsewhere := projections.UsageFilter{From: bad.At.Add(48 * time.Hour)}
	parked, err := projections.ReadParked(t.Context(), b.pool, "usage")
	if err != nil || len(parked) != 1 || len(elsewhere.Missing(parked)) != 0 || len((projections.UsageFilter{Org: domain.OrgID{2}}).Missing(parked)) != 1 {
		t.Errorf("parked %+v, %v", parked, err)
	}
	b.append(t, fix)
	b.catchUp(t, money()...)
	if diff := cmp.Diff(map[domain.OrgID]int64{{1}: 0, {2}: 0}, marks()); diff != "" {
		t.Errorf("marks after a correction (-want +got):\n%s", diff)
	}
	b.checkInvariants(t)
}

// What isn't the events' fault parks none.
func TestOnlyEventsAreParked(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	b, w := &bench{pool: database.Pool(t, db.RoleWriter)}, newWorld(22)
	b.ledger = ledger.New(b.pool)
	b.append(t, w.call(), w.call())
	mustExec(t, database.Pool(t, ""), `ALTER TABLE projections.balances DROP COLUMN held`)
	_, err := projections.CatchUp(t.Context(), b.pool, projections.Balances())
	if stops, ok := errors.AsType[*projections.PoisonError](err); !ok || stops.Index != 0 {
		t.Errorf("error %v", err)
	}
	if got := b.parked(t, "balances"); len(got) != 0 {
		t.Errorf("parked %v", got)
	}
}

// If very many events can't be folded, the fold is at fault, and stops.
func TestParkingHasAnEnd(t *testing.T) {
	t.Parallel()
	b, _ := trapped(t)
	w := newWorld(23)
	var events []domain.Event
	for range 105 {
		events = append(events, poison(w.call()))
	}
	b.append(t, events...)
	_, err := projections.CatchUpBy(t.Context(), b.pool, projections.Balances(), 1)
	if stops, ok := errors.AsType[*projections.PoisonError](err); !ok || stops.Index != 100 {
		t.Errorf("error %v", err)
	}
	if got := b.parked(t, "balances"); len(got) != 100 {
		t.Errorf("%d are parked", len(got))
	}
}

// While an event about keys is parked, no key is issued, but keys end, also the
// one that was never folded; and the key of the event is shut out.
func TestParkedControlEventsAreSafe(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	b, w := &bench{pool: pool, ledger: ledger.New(pool)}, newWorld(24)
	mustDecide(t, b, projections.Bootstrap{At: start, Author: "system:bootstrap"}, projections.DecideBootstrap)
	key, second := issue(w), issue(w)
	second.Secret.Hint = "trap"
	mustDecide(t, b, key, projections.DecideIssue)
	super := database.Pool(t, "")
	mustExec(t, super, `ALTER TABLE projections.keys ADD CONSTRAINT trap CHECK (hint <> 'trap' AND revoked_at IS NULL)`)
	b.append(t, domain.Event{ID: second.Event, At: start, Author: "operator:test", Body: &domain.KeyIssued{
		Org: second.Org, Project: second.Project, Key: second.Key, Private: second.Secret}})
	revocation := domain.Event{ID: newID[domain.EventID](w), At: start, Author: "operator:test", Body: &domain.KeyRevoked{
		Org: key.Org, Project: key.Project, Key: key.Key}}
	b.append(t, revocation)
	b.catchUp(t, projections.All()...)
	if got := b.parked(t, "keys"); len(got) != 2 {
		t.Fatalf("parked %v", got)
	}
	keys, err := projections.ListKeys(t.Context(), pool, domain.OrgID{})
	if err != nil || len(keys) != 1 || !keys[0].Shut {
		t.Errorf("keys %+v, %v", keys, err)
	}
	snapshot, err := projections.LoadSnapshot(t.Context(), pool)
	if err != nil || len(snapshot.Keys) != 1 || !snapshot.Keys[0].Revoked || len(snapshot.Unread) != 2 {
		t.Errorf("snapshot %+v, %v", snapshot, err)
	}
	third := issue(w)
	if _, err := decide(t, b, third, projections.DecideIssue); !errors.Is(err, projections.ErrParked) {
		t.Errorf("issuing: %v", err)
	}
	if n := mustDecide(t, b, projections.RevokeKey{Event: newID[domain.EventID](w), At: start, Key: second.Key}, projections.DecideRevoke); n != 1 {
		t.Errorf("revoking the key that isn't folded: %d events", n)
	}
	mustExec(t, super, `ALTER TABLE projections.keys DROP CONSTRAINT trap`)
	if _, err := projections.Rebuild(t.Context(), pool, projections.Keys(), projections.RebuildConfig{}); err != nil {
		t.Fatal(err)
	}
	mustDecide(t, b, third, projections.DecideIssue)
	snapshot, err = projections.LoadSnapshot(t.Context(), pool)
	if err != nil || len(snapshot.Unread) != 0 || len(snapshot.Keys) != 3 {
		t.Errorf("snapshot after the rebuild %+v, %v", snapshot, err)
	}
}

// A program that doesn't know a kind goes on: it shuts out the key that such an
// event names and passes over the others, whether it was running or starts.
func TestControlKindsOfANewerProgram(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	b, w := &bench{pool: pool, ledger: ledger.New(pool)}, newWorld(25)
	mustDecide(t, b, projections.Bootstrap{At: start, Author: "system:bootstrap"}, projections.DecideBootstrap)
	key, other, later := issue(w), issue(w), issue(w)
	mustDecide(t, b, key, projections.DecideIssue)
	mustDecide(t, b, other, projections.DecideIssue)
	before, err := projections.LoadSnapshot(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	super := database.Pool(t, "")
	for _, values := range []string{fmt.Sprintf("'KeySuspended', '%x'", key.Key[:]), "'BudgetSet', NULL"} {
		mustExec(t, super, `INSERT INTO ledger.events (index, recorded_at, at, id, v, control, kind, key_id, leaf, canonical)
			SELECT size, now(), now(), gen_random_uuid(), 1, true, `+values+`, sha256(''), convert_to('{"v":1,"kind":"New"}' || repeat('x', 64), 'UTF8') FROM ledger.head;
			UPDATE ledger.head SET size = size + 1`)
	}
	mustDecide(t, b, later, projections.DecideIssue)
	changes, err := projections.ReadChanges(t.Context(), pool, before.Index)
	if err != nil || len(changes.Unread) != 2 || !slices.Equal(changes.Revoked, []domain.KeyID{key.Key}) || len(changes.Issued) != 1 || changes.Issued[0].ID != later.Key {
		t.Errorf("changes %+v, %v", changes, err)
	}
	b.catchUp(t, projections.All()...)
	for _, p := range projections.All() {
		if got := b.parked(t, p.Name()); len(got) != 0 {
			t.Errorf("%s has parked %v", p.Name(), got)
		}
	}
	snapshot, err := projections.LoadSnapshot(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range snapshot.Keys {
		if k.Revoked != (k.ID == key.Key) {
			t.Errorf("key %+v", k)
		}
	}
	if len(snapshot.Keys) != 3 || snapshot.Index != changes.Index {
		t.Errorf("snapshot %+v", snapshot)
	}
}
