package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	base := tally{calls: 10, tokens: domain.Usage{domain.InputTokens: 100, domain.OutputTokens: 50}}
	for _, tt := range []struct {
		name   string
		ledger tally
		want   string // the line that differs
	}{
		{"same", base, ""},
		{"a call lost", tally{9, base.tokens}, "calls 10 9 DIFFERENT"},
		{"a call twice", tally{11, base.tokens}, "calls 10 11 DIFFERENT"},
		{"tokens lost", tally{10, domain.Usage{domain.InputTokens: 100, domain.OutputTokens: 49}}, "output 50 49 DIFFERENT"},
		{"another class", tally{10, domain.Usage{domain.InputTokens: 90, domain.CacheReadTokens: 10, domain.OutputTokens: 50}}, "cache_read 0 10 DIFFERENT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := compare(&out, base, tt.ledger)
			said := strings.Join(strings.Fields(out.String()), " ")
			if tt.want == "" && (err != nil || !strings.Contains(said, "calls 10 10 OK") || strings.Contains(said, "DIFFERENT")) {
				t.Errorf("error %v, said %q", err, said)
			}
			if tt.want != "" && (!errors.Is(err, errDifferent) || !strings.Contains(said, tt.want)) {
				t.Errorf("error %v, said %q, want %q", err, said, tt.want)
			}
		})
	}
}

// TestBooks reads a real ledger: the calls since it was opened, each with its
// attempts.
func TestBooks(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Options{})
	book := ledger.New(d.Pool(t, db.RoleWriter))
	add := func(n, attempts int) {
		t.Helper()
		var batch []domain.Encoded
		for range n {
			batch = append(batch, newCall(t, attempts))
		}
		if res, err := book.Append(t.Context(), batch); err != nil || res.Appended != n {
			t.Fatalf("append: %+v, %v", res, err)
		}
	}
	add(3, 1) // of others, before
	b, err := openBooks(t.Context(), d.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.conn.Close(context.Background()) }() // it was for reading
	add(4, 1)
	add(1, 3)
	got, err := b.drained(t.Context(), 7)
	want := tally{calls: 7, tokens: domain.Usage{domain.InputTokens: 5 * 12, domain.CacheReadTokens: 5 * 3, domain.OutputTokens: 5 * 25, domain.ReasoningTokens: 5 * 2}}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.drained(ctx, 8); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an eighth call that never comes: %v", err)
	}
}

func newCall(t *testing.T, attempts int) domain.Encoded {
	t.Helper()
	var random [10]byte
	_, _ = rand.Read(random[:]) // it never fails
	at := time.Now().UTC().Truncate(time.Microsecond)
	usage := domain.Metered{domain.InputTokens: 12, domain.CacheReadTokens: 3, domain.OutputTokens: 25, domain.ReasoningTokens: 2}
	price := domain.Price{Amount: decimal.RequireFromString("0.01"), Currency: domain.XTS, Version: domain.NewID[domain.EventID](at, random)}
	call := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Dialect: "openai", Endpoint: "chat.completions", AskedModel: "gpt-4o", Model: "gpt-4o", FirstByte: at, Ended: at,
			Outcome: domain.Completed, Status: 200, Usage: usage, Provenance: domain.Reported, Charge: price,
		},
		Private: domain.RequestPrivate{Provider: "openai", Cost: price, Spool: domain.NewID[domain.SpoolID](at, random), Epoch: 1},
	}
	for range attempts {
		call.Private.Attempts = append(call.Private.Attempts, domain.Attempt{Provider: "openai", Model: "gpt-4o", Started: at, Ended: at, Status: 200})
	}
	event, err := domain.Encode(domain.Event{ID: domain.NewID[domain.EventID](at, random), At: at, Body: call}, domain.Salt{1}, domain.Salt{2})
	if err != nil {
		t.Fatal(err)
	}
	return event
}
