package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// names is a control projection: the names of organisations, each once.
type names struct {
	version int
	fails   *bool
}

func (names) Name() string   { return "test.names" }
func (n names) Version() int { return n.version }
func (names) Control() bool  { return true }

func (n names) Fold(ctx context.Context, tx pgx.Tx, b *ledger.Batch) error {
	if n.fails != nil && *n.fails {
		return errors.New("it doesn't fold")
	}
	entries, err := b.Entries(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		org, ok := e.Event.Body.(*domain.OrgCreated)
		if !ok {
			continue
		}
		if _, err := tx.Exec(ctx, `INSERT INTO projections.test_names (index, name) VALUES ($1, $2)`, e.Index, org.Erasable.Name); err != nil {
			return err
		}
		b.Digest = fmt.Append(b.Digest, e.Index, ";")
	}
	return nil
}

func withNames(t *testing.T) *pgxpool.Pool {
	t.Helper()
	database := dbtest.Open(t, dbtest.Options{})
	admin := database.Pool(t, db.RoleOwner)
	if _, err := admin.Exec(t.Context(), `CREATE TABLE projections.test_names (index bigint PRIMARY KEY, name text NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	return database.Pool(t, db.RoleWriter)
}

// takeNumber creates the organisation whose name is how many there were.
func takeNumber(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
	n := 0
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM projections.test_names`).Scan(&n); err != nil {
		return nil, err
	}
	return []domain.Event{{ID: newID[domain.EventID](), Author: "system:test", Body: &domain.OrgCreated{Org: newID[domain.OrgID](), Erasable: domain.Named{Name: fmt.Sprint(n)}}}}, nil
}

func TestCommandReadsItsOwnWrites(t *testing.T) {
	t.Parallel()
	pool := withNames(t)
	l := ledger.New(pool)
	reads := []ledger.Projection{names{version: 1}}
	for i := range 3 {
		mustAppend(t, l, calls(t, 4)...)
		entries, err := l.Command(t.Context(), reads, takeNumber)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(i*5 + 4); len(entries) != 1 || entries[0].Index != want {
			t.Fatalf("got %+v, want one entry at %d", entries, want)
		}
		if n := count(t, pool, `SELECT count(*) FROM projections.test_names`); n != i+1 {
			t.Errorf("the projection has %d rows after command %d", n, i+1)
		}
		if n := count(t, pool, `SELECT index FROM projections.checkpoints WHERE name = 'test.names'`); n != i*5+5 {
			t.Errorf("the checkpoint is at %d", n)
		}
		got, err := ledger.Get(t.Context(), pool, entries[0].Event.ID)
		if err != nil || !got.RecordedAt.Equal(entries[0].RecordedAt) || !got.Event.At.Equal(entries[0].RecordedAt) {
			t.Errorf("read back %+v, %v", got, err)
		}
		checkInvariants(t, pool, 0)
	}
	var digest string
	if err := pool.QueryRow(t.Context(), `SELECT convert_from(digest, 'UTF8') FROM projections.checkpoints`).Scan(&digest); err != nil || digest != "4;9;14;" {
		t.Errorf("digest %q, %v", digest, err)
	}
}

func TestRacingCommandsDecideOnDifferentStates(t *testing.T) {
	t.Parallel()
	pool := withNames(t)
	l := ledger.New(pool)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 3 {
				if _, err := l.Command(t.Context(), []ledger.Projection{names{version: 1}}, takeNumber); err != nil {
					t.Error(err)
				}
				if _, err := l.Append(t.Context(), calls(t, 2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	checkInvariants(t, pool, 0)
	rows, err := pool.Query(t.Context(), `SELECT name::int FROM projections.test_names ORDER BY index`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int, 18)
	for i := range want {
		want[i] = i
	}
	if !slices.Equal(got, want) {
		t.Errorf("got numbers %v", got)
	}
}

func TestCommandIsAllOrNothing(t *testing.T) {
	t.Parallel()
	failed := errors.New("no")
	fails := true
	org := func(id domain.EventID) domain.Event {
		return domain.Event{ID: id, Body: &domain.OrgCreated{Org: newID[domain.OrgID]()}}
	}
	there := newID[domain.EventID]()
	tests := []struct {
		name   string
		reads  ledger.Projection
		events []domain.Event
		err    error
		want   error
	}{
		{name: "decide fails", err: failed, want: failed},
		{name: "no id", events: []domain.Event{org(newID[domain.EventID]()), org(domain.EventID{})}, want: ledger.ErrRefused},
		{name: "an id twice", events: []domain.Event{org(domain.EventID{1}), org(domain.EventID{1})}, want: ledger.ErrRefused},
		{name: "an id that is there", events: []domain.Event{org(newID[domain.EventID]()), org(there)}, want: ledger.ErrExists},
		{name: "supersedes nothing", events: []domain.Event{org(newID[domain.EventID]()), {ID: newID[domain.EventID](), Body: superseding(newID[domain.EventID]())}}, want: ledger.ErrRefused},
		{name: "the fold of another version", reads: names{version: 2}, events: []domain.Event{org(newID[domain.EventID]())}, want: ledger.ErrRebuild},
		{name: "a fold that fails", reads: names{version: 1, fails: &fails}, events: []domain.Event{org(newID[domain.EventID]())}, want: ledger.ErrUnfolded},
	}
	pool := withNames(t)
	l := ledger.New(pool)
	_, err := l.Command(t.Context(), []ledger.Projection{names{version: 1}}, func(context.Context, pgx.Tx, time.Time) ([]domain.Event, error) {
		return []domain.Event{org(there)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			reads := test.reads
			if reads == nil {
				reads = names{version: 1}
			}
			_, err := l.Command(t.Context(), []ledger.Projection{reads}, func(context.Context, pgx.Tx, time.Time) ([]domain.Event, error) {
				return test.events, test.err
			})
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 1 {
				t.Errorf("there are %d events", n)
			}
			checkInvariants(t, pool, 0)
		})
	}
}

func TestCommandOfNothingAppendsNothing(t *testing.T) {
	t.Parallel()
	pool := withNames(t)
	entries, err := ledger.New(pool).Command(t.Context(), nil, func(context.Context, pgx.Tx, time.Time) ([]domain.Event, error) { return nil, nil })
	if err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v", entries, err)
	}
	checkInvariants(t, pool, 0)
}

func TestControlProjectionSkipsUsageByIndex(t *testing.T) {
	t.Parallel()
	pool := withNames(t)
	l := ledger.New(pool)
	events := calls(t, 30)
	for i := range 5 {
		events[i*6] = encode(t, domain.Event{Body: &domain.OrgCreated{Org: newID[domain.OrgID](), Erasable: domain.Named{Name: "x"}}})
	}
	mustAppend(t, l, events...)
	var places []int64
	for caughtUp := false; !caughtUp; {
		err := db.InTx(t.Context(), pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
			at, err := ledger.Advance(ctx, tx, names{version: 1}, 2)
			places, caughtUp = append(places, at.Index), at.CaughtUp()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{7, 19, 30}; !slices.Equal(places, want) {
		t.Errorf("checkpoints at %v, want %v", places, want)
	}
	if n := count(t, pool, `SELECT count(*) FROM projections.test_names`); n != 5 {
		t.Errorf("folded %d", n)
	}
}
