package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/projections"
)

// books is what /readyz says of the books: how far roles protect the ledger, how
// the nightly checks ended, and whether events are missing in figures. Anybody may
// read /readyz, so it names no login, no row and no amount: the log does.
type books struct {
	lines atomic.Pointer[[]string] // nil until the database has answered
}

// booksEvery is how often the database is asked.
const booksEvery = 15 * time.Second

func (b *books) notes() []string {
	if lines := b.lines.Load(); lines != nil {
		return *lines
	}
	return nil
}

// follow keeps the notes up to date until ctx ends. While the database doesn't
// answer they stay as they were.
func (b *books) follow(ctx context.Context, pool *pgxpool.Pool, roles db.Roles) {
	for ctx.Err() == nil {
		checks, err := projections.LastChecks(ctx, pool)
		if err == nil {
			var parked []projections.Parked
			if parked, err = projections.ReadParked(ctx, pool, ""); err == nil {
				lines := booksNotes(roles, checks, parked)
				b.lines.Store(&lines)
			}
		}
		sleep(ctx, booksEvery)
	}
}

func booksNotes(roles db.Roles, checks []projections.Check, parked []projections.Parked) []string {
	notes := []string{separationNote(roles.Separation), checksNote(checks)}
	if len(parked) > 0 {
		notes = append(notes, fmt.Sprintf("parked: %d times an event could not be folded into a projection, and figures lack it; projections.parked says which", len(parked)))
	}
	return notes
}

func separationNote(s db.Separation) string {
	switch s {
	case db.SeparationFull:
		return "separation of roles: full: this server's login can't change what is in the ledger"
	case db.SeparationShared:
		return "separation of roles: shared: this server's login could make itself the ledger's owner; the log says how to separate them"
	}
	return "separation of roles: none: one login does everything; the log says how to separate them"
}

// checksNote sums up the last check of each projection.
func checksNote(checks []projections.Check) string {
	if len(checks) == 0 {
		return "nightly check: none has ended yet"
	}
	var differ, unknown []string
	oldest := checks[0].Checked
	for _, c := range checks {
		if c.Checked.Before(oldest) {
			oldest = c.Checked
		}
		switch {
		case !c.Compared:
			unknown = append(unknown, c.Projection)
		case !c.OK:
			differ = append(differ, c.Projection)
		}
	}
	note := fmt.Sprintf("nightly check: %d projections are what the ledger says", len(checks)-len(differ)-len(unknown))
	if len(differ) > 0 {
		note += "; NOT what it says: " + strings.Join(slices.Sorted(slices.Values(differ)), ", ")
	}
	if len(unknown) > 0 {
		note += "; could not be compared: " + strings.Join(slices.Sorted(slices.Values(unknown)), ", ")
	}
	if len(differ)+len(unknown) > 0 {
		note += " (projections.checks says why)"
	}
	return note + "; the oldest of these checks ended " + oldest.UTC().Format(time.RFC3339)
}
