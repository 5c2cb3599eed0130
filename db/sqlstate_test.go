package db_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"manti/db"
)

func TestMeaningOfErrors(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return fmt.Errorf("append: %w", &pgconn.PgError{Code: code}) }
	tests := []struct {
		name                        string
		err                         error
		outage, refusal, contention bool
	}{
		{"none", nil, false, false, false},
		{"our own", errors.New("own"), false, false, false},
		{"no rows", pgx.ErrNoRows, false, false, false},
		{"cancelled by the caller", context.Canceled, false, false, false},
		{"deadline", context.DeadlineExceeded, true, false, false},
		{"connection lost", fmt.Errorf("query: %w", io.ErrUnexpectedEOF), true, false, false},
		{"connection failure", state("08006"), true, false, false},
		{"serialization failure", state("40001"), true, false, true},
		{"deadlock", state("40P01"), true, false, true},
		{"disk full", state("53100"), true, false, false},
		{"lock not available", state("55P03"), true, false, false},
		{"statement timeout", state("57014"), true, false, false},
		{"starting up", state("57P03"), true, false, false},
		{"idle in transaction", state("25P03"), true, false, false},
		{"now a standby", state("25006"), true, false, false},
		{"aborted transaction", state("25P02"), false, false, false},
		{"bad number", state("22003"), false, true, false},
		{"unique violation", state("23505"), false, true, false},
		{"check violation", state("23514"), false, true, false},
		{"no such table", state("42P01"), false, false, false},
		{"no privilege", state("42501"), false, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := [3]bool{db.IsOutage(test.err), db.IsRefusal(test.err), db.IsContention(test.err)}
			if want := [3]bool{test.outage, test.refusal, test.contention}; got != want {
				t.Errorf("outage, refusal, contention = %v, want %v", got, want)
			}
		})
	}
}
