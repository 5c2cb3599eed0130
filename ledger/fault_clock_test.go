package ledger_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// fakeClock gives a database a clock that can be set. It takes the place of
// clock_timestamp() in this one database, for whoever connects from then on.
func fakeClock(t *testing.T, database *dbtest.Database) (set func(time.Time)) {
	t.Helper()
	pool := database.Pool(t, "")
	for _, statement := range []string{
		`CREATE TABLE public.clock (shift interval NOT NULL)`,
		`INSERT INTO public.clock VALUES ('0')`,
		`GRANT SELECT ON public.clock TO PUBLIC`,
		`GRANT USAGE ON SCHEMA public TO PUBLIC`,
		`ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock_timestamp`,
		`SET allow_system_table_mods = on; CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
			AS 'SELECT pg_catalog.real_clock_timestamp() + shift FROM public.clock'`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return func(to time.Time) {
		if _, err := pool.Exec(t.Context(), `UPDATE public.clock SET shift = $1 - pg_catalog.real_clock_timestamp()`, to); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClockSetBackAndForward sets the database's clock, and those by which ids
// are made, back and forward, over the ends of months and far beyond the
// partitions that are there. recorded_at never falls, each event is there once,
// and can be found. The clock itself, noted beside it, is the control: it falls.
func TestClockSetBackAndForward(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	set := fakeClock(t, database)
	super, pool := database.Pool(t, ""), database.Pool(t, db.RoleWriter)
	if _, err := super.Exec(t.Context(), `CREATE TABLE naive (n bigserial, at timestamptz DEFAULT clock_timestamp())`); err != nil {
		t.Fatal(err)
	}
	l, start := ledger.New(pool), now()
	month := time.Date(start.Year(), start.Month(), 1, 0, 0, 0, 0, time.UTC)
	var all []domain.Encoded
	last := time.Time{}
	for _, clock := range []time.Time{
		start,
		month.AddDate(0, 1, 0).Add(-time.Millisecond), // the last of the month
		month.AddDate(0, 1, 0),                        // the first of the next
		start.AddDate(0, 0, -40),
		month.Add(-time.Microsecond), // the end of the last month
		start.Add(-time.Second),
		start.AddDate(0, 3, 3), // behind the months that were made ahead
		start.AddDate(-20, 0, 0),
		time.UnixMilli(0).Add(2 * time.Hour), // a machine without a battery
		start.AddDate(70, 0, 0),
		start,
	} {
		set(clock)
		if err := l.MakePartitions(t.Context()); err != nil {
			t.Fatalf("make partitions at %v: %v", clock, err)
		}
		events := eventsAt(t, clock, month)
		res := mustAppend(t, l, events...)
		if res.Appended != len(events) || !res.RecordedAt.After(last) {
			t.Fatalf("with the clock at %v, after %v: %+v", clock, last, res)
		}
		last, all = res.RecordedAt, append(all, events...)
		if _, err := super.Exec(t.Context(), `INSERT INTO naive DEFAULT VALUES`); err != nil {
			t.Fatal(err)
		}
	}
	checkInvariants(t, pool, 0)
	for range 2 {
		if res := mustAppend(t, l, all...); res.Duplicates != len(all) {
			t.Errorf("appended again: %+v, want %d duplicates", res, len(all))
		}
	}
	for _, enc := range all {
		if _, err := ledger.Get(t.Context(), pool, enc.ID); err != nil {
			t.Errorf("get %s: %v", enc.ID, err)
		}
	}
	checkFell(t, super)
}

// eventsAt are calls whose ids were made by a clock, some of them at the edges
// of months.
func eventsAt(t *testing.T, clock, month time.Time) (events []domain.Encoded) {
	t.Helper()
	for _, when := range []time.Time{clock, clock.Add(time.Millisecond), clock.Add(-time.Hour), month, month.Add(-time.Millisecond), month.AddDate(0, 1, 0)} {
		random := newID[domain.EventID]()
		id := domain.NewID[domain.EventID](when, [10]byte(random[6:]))
		events = append(events, encode(t, domain.Event{ID: id, Body: newCall()}))
	}
	return events
}

// checkFell checks that times taken from the clock fall: else the clock wasn't set.
func checkFell(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	const query = `SELECT count(*) FROM (SELECT at < lag(at) OVER (ORDER BY n) AS fell FROM naive) x WHERE fell`
	if n := count(t, pool, query); n < 4 {
		t.Errorf("the clock fell %d times, want 4 or more: the test doesn't test much", n)
	}
}
