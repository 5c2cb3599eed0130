package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"manti/db"
	"manti/projections"
)

func TestBooksNotes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 2, 3, 0, 7, 0, time.UTC)
	good := projections.Check{Projection: "usage", Checked: at.Add(time.Minute), OK: true, Compared: true}
	tests := []struct {
		name   string
		roles  db.Roles
		checks []projections.Check
		parked []projections.Parked
		want   []string
	}{
		{"nothing yet", db.Roles{Separation: db.SeparationNone}, nil, nil, []string{
			"separation of roles: none: one login does everything; the log says how to separate them",
			"nightly check: none has ended yet",
		}},
		{"all is well", db.Roles{Separation: db.SeparationFull}, []projections.Check{{Projection: "balances", Checked: at, OK: true, Compared: true}, good}, nil, []string{
			"separation of roles: full: this server's login can't change what is in the ledger",
			"nightly check: 2 projections are what the ledger says; the oldest of these checks ended 2026-11-02T03:00:07Z",
		}},
		{
			"nothing is well", db.Roles{Separation: db.SeparationShared, Reason: "ada is a superuser"},
			[]projections.Check{{Projection: "balances", Checked: at, Compared: true, Difference: "charge is 7"}, {Projection: "keys", Checked: at, Difference: "secret"}, good},
			make([]projections.Parked, 2), []string{
				"separation of roles: shared: this server's login could make itself the ledger's owner; the log says how to separate them",
				"nightly check: 1 projections are what the ledger says; NOT what it says: balances; could not be compared: keys (projections.checks says why); the oldest of these checks ended 2026-11-02T03:00:07Z",
				"parked: 2 times an event could not be folded into a projection, and figures lack it; projections.parked says which",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, booksNotes(test.roles, test.checks, test.parked)); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}
