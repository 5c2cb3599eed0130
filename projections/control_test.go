package projections_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// decide runs a decision as a command, and returns how many events it made.
func decide[C any](t *testing.T, b *bench, c C, f func(context.Context, pgx.Tx, C) ([]domain.Event, error)) (int, error) {
	t.Helper()
	var reads []ledger.Projection
	for _, p := range projections.Control() {
		reads = append(reads, p)
	}
	n := 0
	err := patiently(func() error {
		entries, err := b.ledger.Command(t.Context(), reads, decision(c, f))
		n = len(entries)
		return err
	})
	return n, err
}

func decision[C any](c C, f func(context.Context, pgx.Tx, C) ([]domain.Event, error)) ledger.Decide {
	return func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) { return f(ctx, tx, c) }
}

func mustDecide[C any](t *testing.T, b *bench, c C, f func(context.Context, pgx.Tx, C) ([]domain.Event, error)) int {
	t.Helper()
	n, err := decide(t, b, c, f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func hash(s string) domain.KeySecret {
	return domain.KeySecret{Hash: fmt.Sprintf("%x", sha256.Sum256([]byte(s))), Hint: "abcd"}
}

// issue is a key that may be issued in the default project.
func issue(w *world) projections.IssueKey {
	w.clock = w.clock.Add(time.Second)
	id := newID[domain.KeyID](w)
	return projections.IssueKey{
		Event: newID[domain.EventID](w), At: w.clock, Author: "operator:root", Key: id,
		Org: projections.DefaultOrg(), Project: projections.DefaultProject(), Secret: hash(id.String()), Name: "ci",
	}
}

func bootstrapped(t *testing.T) (*bench, *world) {
	t.Helper()
	b, w := newBench(t), newWorld(7)
	mustDecide(t, b, projections.Bootstrap{At: start, Author: "system:bootstrap"}, projections.DecideBootstrap)
	return b, w
}

func TestBootstrapHappensOnce(t *testing.T) {
	t.Parallel()
	b, w := newBench(t), newWorld(1)
	c := projections.Bootstrap{At: start, Author: "system:bootstrap"}
	if n := mustDecide(t, b, c, projections.DecideBootstrap); n != 2 {
		t.Errorf("%d events, want an organisation and a project", n)
	}
	if n := mustDecide(t, b, c, projections.DecideBootstrap); n != 0 {
		t.Errorf("%d events the second time", n)
	}
	if n := mustDecide(t, b, issue(w), projections.DecideIssue); n != 1 {
		t.Errorf("%d events for a key in the default project", n)
	}
}

// Replicas that start at once on an empty ledger make one of everything.
func TestReplicasStartAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			w := newWorld(uint64(i))
			if _, err := decide(t, b, projections.Bootstrap{At: start.Add(time.Duration(i) * time.Second)}, projections.DecideBootstrap); err != nil {
				t.Error(err)
			}
			publish := projections.PublishPrices{Event: newID[domain.EventID](w), At: start, Book: builtin(t)}
			if _, err := decide(t, b, publish, projections.DecideBuiltin); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for table, want := range map[string]int{"orgs": 1, "projects": 1, "prices": 1} {
		if rows := b.rows(t, table); len(rows) != want {
			t.Errorf("%s: %v", table, rows)
		}
	}
	if head, err := ledger.ReadHead(t.Context(), b.pool); err != nil || head.Size != 3 {
		t.Errorf("the ledger has %d events (%v)", head.Size, err)
	}
}

func TestKeysAreIssuedAndRevoked(t *testing.T) {
	t.Parallel()
	b, w := bootstrapped(t)
	c := issue(w)
	c.Expires = w.clock.Add(time.Hour)
	mustDecide(t, b, c, projections.DecideIssue)
	if n := mustDecide(t, b, c, projections.DecideIssue); n != 0 {
		t.Errorf("%d events for a key that was issued", n)
	}
	keys, err := projections.ListKeys(t.Context(), b.pool, c.Org)
	if err != nil {
		t.Fatal(err)
	}
	want := projections.KeyRow{
		ID: c.Key, Org: c.Org, Project: c.Project, Name: "ci", Hint: "abcd", Issued: c.At, IssuedBy: c.Author, Expires: c.Expires,
	}
	if diff := cmp.Diff([]projections.KeyRow{want}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	r := projections.RevokeKey{Event: newID[domain.EventID](w), At: w.clock, Author: "operator:x", Key: c.Key}
	if n := mustDecide(t, b, r, projections.DecideRevoke); n != 1 {
		t.Errorf("%d events", n)
	}
	r.Event = newID[domain.EventID](w)
	if n := mustDecide(t, b, r, projections.DecideRevoke); n != 0 {
		t.Errorf("%d events for a key that was revoked", n)
	}
	if keys, _ = projections.ListKeys(t.Context(), b.pool, domain.OrgID{}); len(keys) != 1 || keys[0].Revoked != w.clock || keys[0].RevokedBy != "operator:x" {
		t.Errorf("keys %+v", keys)
	}
	// Erasing takes the name, and nothing else.
	if _, err := b.pool.Exec(t.Context(), `DELETE FROM ledger.erasable`); err != nil {
		t.Fatal(err)
	}
	if keys, _ = projections.ListKeys(t.Context(), b.pool, domain.OrgID{}); len(keys) != 1 || keys[0].Name != "" {
		t.Errorf("keys %+v", keys)
	}
	b.checkInvariants(t)
}

func TestKeyDecisionsRefuse(t *testing.T) {
	t.Parallel()
	b, w := bootstrapped(t)
	there := issue(w)
	mustDecide(t, b, there, projections.DecideIssue)
	tests := []struct {
		name   string
		change func(*projections.IssueKey)
		code   domain.Code
	}{
		{"no id", func(c *projections.IssueKey) { c.Key = domain.KeyID{} }, domain.CodeInvalid},
		{"no hash", func(c *projections.IssueKey) { c.Secret.Hash = "" }, domain.CodeInvalid},
		{"long name", func(c *projections.IssueKey) { c.Name = strings.Repeat("x", 257) }, domain.CodeInvalid},
		{"expired", func(c *projections.IssueKey) { c.Expires = c.At }, domain.CodeInvalid},
		{"unknown project", func(c *projections.IssueKey) { c.Project = newID[domain.ProjectID](w) }, domain.CodeNotFound},
		{"another's project", func(c *projections.IssueKey) { c.Org = newID[domain.OrgID](w) }, domain.CodeNotFound},
		{"another's secret", func(c *projections.IssueKey) { c.Secret = there.Secret }, domain.CodeConflict},
		{"another's id", func(c *projections.IssueKey) { c.Key = there.Key }, domain.CodeConflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := issue(w)
			tt.change(&c)
			_, err := decide(t, b, c, projections.DecideIssue)
			if refused, ok := errors.AsType[*domain.Error](err); !ok || refused.Code != tt.code {
				t.Errorf("error %v, want %s", err, tt.code)
			}
		})
	}
	_, err := decide(t, b, projections.RevokeKey{Key: newID[domain.KeyID](w)}, projections.DecideRevoke)
	if domain.ErrorOf(err).Code != domain.CodeNotFound {
		t.Errorf("revoking an unknown key: %v", err)
	}
}

func TestPricesArePublished(t *testing.T) {
	t.Parallel()
	b, w := newBench(t), newWorld(1)
	book := func(input string) *domain.PriceBook {
		made, _ := build(t, strings.Replace(small, "1.000000001", input, 1), nil)
		return made
	}
	publish := func(book *domain.PriceBook, f func(context.Context, pgx.Tx, projections.PublishPrices) ([]domain.Event, error)) (int, error) {
		w.clock = w.clock.Add(time.Second)
		return decide(t, b, projections.PublishPrices{Event: newID[domain.EventID](w), At: w.clock, Author: "operator:root", Book: book}, f)
	}
	operator, shipped := projections.DecidePublish, projections.DecideBuiltin
	steps := []struct {
		name   string
		book   *domain.PriceBook
		decide func(context.Context, pgx.Tx, projections.PublishPrices) ([]domain.Event, error)
		events int
		err    error
		holds  string // the input rate that holds then
	}{
		{"first start", book("1"), shipped, 1, nil, "1"},
		{"second start", book("1"), shipped, 0, nil, "1"},
		{"upgrade", book("2"), shipped, 1, nil, "2"},
		{"the old program starts again", book("1"), shipped, 0, nil, "2"},
		{"an operator publishes what holds", book("2"), operator, 0, projections.ErrSamePrices, "2"},
		{"an operator publishes", book("3"), operator, 1, nil, "3"},
		{"upgrade under an operator's list", book("4"), shipped, 0, nil, "3"},
		{"nothing to refuse later", &domain.PriceBook{Models: []domain.ModelCard{{Provider: "p", Name: "n"}}}, operator, 0, domain.ErrPrice, "3"},
		{"an operator goes back", book("1"), operator, 1, nil, "1"},
		{"and again", book("3"), operator, 1, nil, "3"},
	}
	for _, s := range steps {
		n, err := publish(s.book, s.decide)
		if n != s.events || !errors.Is(err, s.err) {
			t.Errorf("%s: %d events, error %v", s.name, n, err)
		}
		current, err := projections.CurrentBook(t.Context(), b.pool)
		if err != nil {
			t.Fatal(err)
		}
		if got := current.Models[0].Prices[0].Cost.Tiers[0].Rates["input"].String(); got != s.holds {
			t.Errorf("%s: %s holds, want %s", s.name, got, s.holds)
		}
	}
	versions, err := projections.ListPriceVersions(t.Context(), b.pool)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range versions {
		if v.Number != i+1 || v.Builtin != (i < 2) {
			t.Errorf("version %d: %+v", i+1, v)
		}
	}
	b.checkInvariants(t)
}

func TestSnapshotAndChanges(t *testing.T) {
	t.Parallel()
	b, w := bootstrapped(t)
	first, second := issue(w), issue(w)
	mustDecide(t, b, first, projections.DecideIssue)
	before, err := projections.LoadSnapshot(t.Context(), b.pool)
	if err != nil {
		t.Fatal(err)
	}
	if len(before.Keys) != 1 || before.Keys[0].Hash != first.Secret.Hash || before.Book != nil || before.Index != 3 {
		t.Errorf("snapshot %+v", before)
	}
	// None of these is folded: neither reader waits for that.
	book := builtin(t)
	digest, err := projections.BookDigest(book)
	if err != nil {
		t.Fatal(err)
	}
	version := newID[domain.EventID](w)
	b.append(t, w.call(),
		domain.Event{ID: second.Event, At: start, Body: &domain.KeyIssued{Org: second.Org, Project: second.Project, Key: second.Key, Private: second.Secret}},
		domain.Event{ID: newID[domain.EventID](w), At: start, Body: &domain.KeyRevoked{Key: first.Key}},
		domain.Event{ID: version, At: start, Body: &domain.PricesPublished{Number: 1, Digest: digest, Private: book}}, w.call())
	changes, err := projections.ReadChanges(t.Context(), b.pool, before.Index)
	if err != nil {
		t.Fatal(err)
	}
	if changes.Index != 8 || len(changes.Issued) != 1 || changes.Issued[0].ID != second.Key || len(changes.Revoked) != 1 || changes.Revoked[0] != first.Key {
		t.Errorf("changes %+v", changes)
	}
	for _, folded := range []bool{false, true} {
		if folded {
			b.catchUp(t, projections.Control()...)
		}
		after, err := projections.LoadSnapshot(t.Context(), b.pool)
		if err != nil {
			t.Fatal(err)
		}
		if len(after.Keys) != 2 || !after.Keys[0].Revoked || after.Keys[1].Revoked || after.Index != 8 || after.Book == nil || after.Book.Version != version {
			t.Errorf("folded %t: snapshot %+v", folded, after)
		}
		if got, err := projections.BookDigest(after.Book); err != nil || got != digest {
			t.Errorf("the book came back as another: %s, want %s (%v)", got, digest, err)
		}
	}
	if changes, err = projections.ReadChanges(t.Context(), b.pool, 8); err != nil || changes.Index != 8 || len(changes.Issued) != 0 {
		t.Errorf("changes %+v, %v", changes, err)
	}
}

// Whoever listens hears of a control event when it is folded, and not of calls.
func TestControlEventsNotify(t *testing.T) {
	t.Parallel()
	b, w := bootstrapped(t)
	conn, err := b.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "LISTEN "+projections.ControlChannel); err != nil {
		t.Fatal(err)
	}
	b.append(t, w.call())
	b.catchUp(t, projections.All()...)
	// A rebuild concerns nobody either.
	if _, err := projections.Rebuild(t.Context(), b.pool, projections.Keys(), projections.RebuildConfig{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Exec(t.Context(), `SELECT pg_notify($1, 'marker')`, projections.ControlChannel); err != nil {
		t.Fatal(err)
	}
	mustDecide(t, b, issue(w), projections.DecideIssue)
	for _, want := range []string{"marker", ""} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		got, err := conn.Conn().WaitForNotification(ctx)
		cancel()
		if err != nil || got.Payload != want {
			t.Fatalf("got %v, %v, want %q", got, err, want)
		}
	}
}
