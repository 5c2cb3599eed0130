package projections_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/projections"
)

// A correction stands in place of what it supersedes, in the hour of the call,
// however many there are and however they are cut into batches; one that settles
// a call of unknown outcome takes back what was held for it.
func TestCorrections(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, 2, 100} {
		t.Run(fmt.Sprint("by ", batch), func(t *testing.T) {
			t.Parallel()
			b, w := newBench(t), newWorld(41)
			org := domain.OrgID{7}
			unknown := w.call()
			call, _ := domain.CallOf(unknown.Body)
			*call = domain.RequestCompleted{
				RequestPublic: domain.RequestPublic{Org: org, Project: domain.ProjectID{8}, Model: "m", Outcome: domain.Unknown,
					Provenance: domain.Reported, Charge: price("0"), Held: dec("0.5")},
				Private: domain.RequestPrivate{Provider: "openai", Cost: price("0")},
			}
			correct := func(old domain.Event, charge string) domain.Event {
				was, _ := domain.CallOf(old.Body)
				is := *was
				is.Outcome, is.Held, is.Charge = domain.Completed, dec("0"), price(charge)
				is.Supersedes, is.Request = old.ID, unknown.ID
				w.clock = w.clock.Add(2 * time.Hour) // it is made later, and says so in its id
				return domain.Event{ID: newID[domain.EventID](w), At: unknown.At, Author: "operator:test",
					Body: &domain.UsageCorrected{Call: is, Basis: domain.FromProvider}}
			}
			first := correct(unknown, "0.25")
			second := correct(first, "0.125")
			third := correct(second, "0.3")
			want := projections.Balance{Org: org, Currency: domain.USD, Calls: 1}
			for i, step := range []struct {
				events       []domain.Event
				charge, held string
			}{
				{[]domain.Event{unknown}, "0", "0.5"},
				{[]domain.Event{first, second}, "0.125", "0"}, // a correction of a correction, in one append
				{[]domain.Event{third}, "0.3", "0"},
			} {
				b.append(t, step.events...)
				b.catchUpBy(t, batch)
				want.Charge, want.Held = dec(step.charge), dec(step.held)
				balances, err := projections.ReadBalances(t.Context(), b.pool, org)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]projections.Balance{want}, balances, decimals); diff != "" {
					t.Errorf("step %d: balances (-want +got):\n%s", i, diff)
				}
				hours := 0
				for row, err := range projections.ReadUsage(t.Context(), b.pool, projections.UsageFilter{By: []projections.Dimension{projections.ByHour}}) {
					hours++
					if err != nil || row.Calls != 1 || !row.Time.Equal(unknown.At.Truncate(time.Hour)) || !row.Charge.Equal(want.Charge) || !row.Held.Equal(want.Held) {
						t.Errorf("step %d: usage %+v, %v", i, row, err)
					}
				}
				if hours != 1 {
					t.Errorf("step %d: usage in %d hours", i, hours)
				}
				last := step.events[len(step.events)-1]
				for row, err := range projections.ReadRequests(t.Context(), b.pool, projections.RequestFilter{ID: unknown.ID}) {
					if err != nil || row.Event != last.ID || !row.At.Equal(unknown.At) || !row.Charge.Amount.Equal(want.Charge) || !row.Held.Equal(want.Held) {
						t.Errorf("step %d: call %+v, %v", i, row, err)
					}
				}
			}
			b.checkInvariants(t)
		})
	}
}
