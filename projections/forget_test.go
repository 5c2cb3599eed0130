package projections_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// said puts people's data into a call.
func said(e domain.Event, endUser string, user domain.UserID) domain.Event {
	body := e.Body.(*domain.RequestCompleted)
	body.Erasable = domain.RequestErasable{EndUser: endUser, Session: "a session", Tags: map[string]string{"team": "red"}}
	body.User = user
	return e
}

// proofs is all that proofs rest on, of the events below an index.
func (s *shop) proofs(t *testing.T, below int64) []string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT encode(leaf, 'hex') || encode(canonical, 'hex') || recorded_at FROM ledger.events WHERE index < $1 ORDER BY index`, below)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *shop) erasable(t *testing.T) []int64 {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT index FROM ledger.erasable ORDER BY index`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestForget(t *testing.T) {
	t.Parallel()
	user := domain.UserID{7}
	for _, test := range []struct {
		name   string
		person projections.Person
		erased []int64 // of the events 2 to 6, of which 6 corrects 2
	}{
		{"an end user", projections.Person{EndUser: "ada"}, []int64{2, 5, 6}},
		{"a user", projections.Person{User: user}, []int64{3, 5}},
		{"nobody", projections.Person{EndUser: "eve"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			events := []domain.Event{
				said(s.sell("plain", "", 1_000_000, 0), "ada", domain.UserID{}), said(s.sell("old", "", 1, 0), "ben", user),
				said(s.sell("old", "", 1, 0), "ben", domain.UserID{}), said(s.sell("old", "", 1, 0), "ada", user),
			}
			s.append(t, events...)
			s.correct(t, s.rerate(t, false), projections.Batches([]int64{2})) // the correction carries the strings on
			s.checkForget(t, test.person, test.erased)
		})
	}
}

func (s *shop) checkForget(t *testing.T, person projections.Person, erased []int64) {
	t.Helper()
	size, before := s.size(t), s.proofs(t, 100)
	charge, cost, held := s.owed(t)
	all := s.erasable(t)
	dry, err := projections.DryForget(t.Context(), s.pool, person)
	if err != nil || dry.Parts != len(erased) || !slices.Equal(s.erasable(t), all) {
		t.Fatalf("dry: %+v, %v", dry, err)
	}
	done, err := projections.Forget(t.Context(), s.ledger, s.pool, person, "operator:root")
	if err != nil || done.Parts != len(erased) || done.Through != size {
		t.Fatalf("%+v, %v", done, err)
	}
	left := slices.DeleteFunc(all, func(index int64) bool { return slices.Contains(erased, index) })
	if diff := cmp.Diff(left, s.erasable(t)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, s.proofs(t, size)); diff != "" {
		t.Errorf("what proofs rest on has changed:\n%s", diff)
	}
	s.checkOwed(t, charge, cost, held)
	s.checkForgotten(t, size, person, erased)
	s.catchUp(t, projections.All()...)
	s.checkInvariants(t)
	if again, err := projections.Forget(t.Context(), s.ledger, s.pool, person, "operator:root"); err != nil || again.Parts != 0 {
		t.Errorf("a second time: %+v, %v", again, err)
	}
}

// checkForgotten holds the event, if there must be one, against what was erased;
// all events decode without their strings.
func (s *shop) checkForgotten(t *testing.T, size int64, person projections.Person, erased []int64) {
	t.Helper()
	entries, err := ledger.Read(t.Context(), s.pool, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var said []*domain.PersonForgotten
	for _, e := range entries {
		if f, ok := e.Event.Body.(*domain.PersonForgotten); ok {
			said = append(said, f)
		}
	}
	if len(erased) == 0 {
		if len(said) != 0 {
			t.Errorf("nothing was erased, and the ledger says %+v", said[0])
		}
		return
	}
	want := []*domain.PersonForgotten{{User: person.User, Indexes: erased, Through: size}}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("what the ledger says of it (-want +got):\n%s", diff)
	}
}

// A correction of a call that was forgotten meanwhile doesn't bring back what
// was erased.
func TestCorrectionOfAForgottenCall(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.append(t, said(s.sell("plain", "", 1_000_000, 0), "ada", domain.UserID{}))
	a := s.rerate(t, false)
	if _, err := projections.DryCorrect(t.Context(), s.pool, a, projections.Batches([]int64{2})); err != nil {
		t.Fatal(err)
	}
	if done, err := projections.Forget(t.Context(), s.ledger, s.pool, projections.Person{EndUser: "ada"}, "operator:root"); err != nil || done.Parts != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if done := s.correct(t, a, projections.Batches([]int64{2})); done.Calls != 1 {
		t.Fatalf("%d corrections", done.Calls)
	}
	if left := s.erasable(t); len(left) != 0 {
		t.Errorf("the strings are back at %d", left)
	}
}

// What was rejected keeps its bytes: that is said.
func TestForgetNamesRejectedRecords(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := said(s.sell("plain", "", 1, 0), "ada", domain.UserID{})
	s.append(t, e)
	e.Body.(*domain.RequestCompleted).AskedModel = "other"
	enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ledger.Append(t.Context(), []domain.Encoded{enc}); err != nil {
		t.Fatal(err)
	}
	for person, want := range map[projections.Person]int{{EndUser: "ada"}: 1, {EndUser: "ben"}: 0, {User: domain.UserID{7}}: 0} {
		if f, err := projections.DryForget(t.Context(), s.pool, person); err != nil || f.Rejected != want {
			t.Errorf("%+v: %+v, %v", person, f, err)
		}
	}
}

// An erasure that fails erases nothing.
func TestForgetIsOneTransaction(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.append(t, said(s.sell("plain", "", 1, 0), "ada", domain.UserID{}))
	_, err := s.ledger.Command(t.Context(), nil, func(ctx context.Context, tx pgx.Tx, now time.Time) ([]domain.Event, error) {
		events, _, err := projections.DecideForget(ctx, tx, projections.ForgetParts{Indexes: []int64{2}, At: now, Author: "operator:root"})
		if err == nil {
			events[0].ID = domain.EventID{} // which the ledger refuses
		}
		return events, err
	})
	if err == nil || len(s.erasable(t)) != 1 {
		t.Errorf("%d parts are left after %v", len(s.erasable(t)), err)
	}
}
