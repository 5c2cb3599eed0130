package ledger_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"
	"golang.org/x/mod/sumdb/tlog"

	"manti/db"
	"manti/domain"
	"manti/ledger"
)

var decimals = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })

func newID[I ~[16]byte]() I {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return domain.NewID[I](time.Now(), random)
}

func salt() (s domain.Salt) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

// newCall is a call as most are.
func newCall() *domain.RequestCompleted {
	at, price := now(), newID[domain.EventID]()
	usage := domain.Metered{domain.InputTokens: 1200, domain.CacheReadTokens: 300, domain.OutputTokens: 250}
	credential := newID[domain.CredentialID]()
	return &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Org: newID[domain.OrgID](), Project: newID[domain.ProjectID](), Key: newID[domain.KeyID](),
			Dialect: "openai", Endpoint: "chat.completions", Stream: true, AskedModel: "gpt-4o", Model: "gpt-4o-2024-08-06", Tier: "default",
			FirstByte: at.Add(80 * time.Millisecond), FirstToken: at.Add(100 * time.Millisecond), Ended: at.Add(time.Second),
			Outcome: domain.Completed, Status: 200, Usage: usage, Provenance: domain.Reported,
			Charge: domain.Price{Amount: dec("0.005875"), Currency: domain.USD, Version: price},
		},
		Private: domain.RequestPrivate{
			Provider: "openai", Host: "api.openai.com", Credential: credential,
			Cost: domain.Price{Amount: dec("0.005875"), Currency: domain.USD, Version: price},
			Attempts: []domain.Attempt{{Provider: "openai", Host: "api.openai.com", Model: "gpt-4o-2024-08-06", Credential: credential, RequestID: "req_0123456789abcdef",
				Started: at, FirstByte: at.Add(80 * time.Millisecond), Ended: at.Add(time.Second), Status: 200, Usage: usage, Cost: dec("0.005875")}},
			RawUsage:     domain.RawJSON(`{"prompt_tokens":1500,"completion_tokens":250,"total_tokens":1750,"prompt_tokens_details":{"cached_tokens":300,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`),
			RouteVersion: "r1", ConfigVersion: "c1", Replica: "a", Spool: newID[domain.SpoolID](), Epoch: 3,
		},
		Erasable: domain.RequestErasable{EndUser: "user-17", Client: "openai-python/1.2.3"},
	}
}

// superseding is a call that replaces another event.
func superseding(id domain.EventID) *domain.RequestCompleted {
	call := newCall()
	call.Supersedes, call.Request = id, id
	return call
}

func encode(t testing.TB, e domain.Event) domain.Encoded {
	t.Helper()
	if e.ID.IsZero() {
		e.ID = newID[domain.EventID]()
	}
	if e.At.IsZero() {
		e.At = now()
	}
	enc, err := domain.Encode(e, salt(), salt())
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func calls(t testing.TB, n int) []domain.Encoded {
	t.Helper()
	all := make([]domain.Encoded, n)
	for i := range all {
		all[i] = encode(t, domain.Event{Body: newCall()})
	}
	return all
}

func mustAppend(t testing.TB, l *ledger.Ledger, events ...domain.Encoded) ledger.Result {
	t.Helper()
	res, err := l.Append(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Appended + res.Duplicates + len(res.Rejected); got != len(events) {
		t.Fatalf("the result accounts for %d of %d events: %+v", got, len(events), res)
	}
	return res
}

// checkInvariants holds the whole ledger, from index first on, against what it
// promises.
func checkInvariants(t testing.TB, pool *pgxpool.Pool, first int64) {
	t.Helper()
	ctx := context.Background()
	head, err := ledger.ReadHead(ctx, pool)
	if err != nil {
		t.Fatal(err)
	}
	const query = `SELECT index, recorded_at, canonical, leaf FROM ledger.events ORDER BY index`
	rows, err := pool.Query(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	next, last := first, time.Time{}
	for rows.Next() {
		var index int64
		var at time.Time
		var canonical, leaf []byte
		if err := rows.Scan(&index, &at, &canonical, &leaf); err != nil {
			t.Fatal(err)
		}
		if index != next {
			t.Fatalf("index %d follows %d", index, next-1)
		}
		if at.Before(last) {
			t.Fatalf("recorded_at fell from %v to %v at index %d", last, at, index)
		}
		if want := tlog.RecordHash(domain.LogEntry(at, canonical)); tlog.Hash(leaf) != want {
			t.Fatalf("leaf %d: got %x, want %v", index, leaf, want)
		}
		next, last = next+1, at
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if head.Size != next || !last.IsZero() && !head.RecordedAt.Equal(last) {
		t.Fatalf("head %+v, but the last event is %d of %v", head, next-1, last)
	}
	checkNone(t, pool, "ids that aren't of their event, or missing", `SELECT count(*) FROM ledger.events e FULL JOIN ledger.ids i ON i.id = e.id AND i.index = e.index WHERE e.id IS NULL OR i.id IS NULL`)
	checkNone(t, pool, "erasable parts of no event", `SELECT count(*) FROM ledger.erasable x LEFT JOIN ledger.events e ON e.index = x.index AND e.id = x.id WHERE e.id IS NULL`)
	checkNone(t, pool, "supersessions that aren't their event's", `SELECT count(*) FROM ledger.events e FULL JOIN ledger.supersedes s ON s.by = e.id AND s.by_index = e.index AND s.id = e.supersedes
		WHERE (e.supersedes IS NOT NULL OR s.id IS NOT NULL) AND (e.id IS NULL OR s.id IS NULL)`)
}

func checkNone(t testing.TB, pool *pgxpool.Pool, what, query string) {
	t.Helper()
	if n := count(t, pool, query); n != 0 {
		t.Fatalf("%d %s", n, what)
	}
}

func count(t testing.TB, pool *pgxpool.Pool, query string, args ...any) (n int) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func wantContains(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("got error %v, want one with %q", err, text)
	}
}

func wantIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}

func hex(b []byte) string { return fmt.Sprintf("%x", b) }

// checkRow compares the texts of all columns of a table's one row; NULL is "".
// Every column must be named, in want or in ignored.
func checkRow(t testing.TB, pool *pgxpool.Pool, table string, want map[string]string, ignored ...string) {
	t.Helper()
	got := make(map[string]string)
	rows, err := pool.Query(t.Context(), `SELECT key, COALESCE(value, '') FROM `+table+` row, jsonb_each_text(to_jsonb(row))`)
	if err != nil {
		t.Fatal(err)
	}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { got[name] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range ignored {
		delete(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", table, diff)
	}
}

// asUser is the URL with another login, whose password is its name.
func asUser(t testing.TB, u db.URL, name string) db.URL {
	t.Helper()
	parsed, err := url.Parse(u.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(name, name)
	query := parsed.Query()
	query.Del("user")
	query.Del("password")
	parsed.RawQuery = query.Encode()
	return db.URL(parsed.String())
}
