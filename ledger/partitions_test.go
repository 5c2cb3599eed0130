package ledger_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// beginAt lets the ledger begin n events before the end of partition no.
func beginAt(t *testing.T, database *dbtest.Database, no, n int64) (first int64) {
	t.Helper()
	first = (no+1)*ledger.PartitionEvents - n
	if _, err := database.Pool(t, db.RoleWriter).Exec(t.Context(), `UPDATE ledger.head SET size = $1`, first); err != nil {
		t.Fatal(err)
	}
	return first
}

func TestAppendGoesOnIntoTheNextPartition(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	first := beginAt(t, database, 1, 25) // 2 is the first that the migration didn't make
	l := ledger.New(pool)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				if _, err := l.Append(t.Context(), calls(t, 7)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	checkInvariants(t, pool, first)
	super := database.Pool(t, "")
	if n := count(t, super, `SELECT count(*) FROM ledger.events_00002`); n != 4*3*7-25 {
		t.Errorf("the new partition has %d events", n)
	}
	checkNone(t, super, "unguarded tables", `SELECT count(*) FROM pg_class c WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')
		AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'refuse_truncate' AND tgenabled = 'A')`)
	checkNone(t, super, "unguarded partitions", `SELECT count(*) FROM pg_inherits WHERE inhparent IN ('ledger.events'::regclass, 'ledger.ids'::regclass)
		AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = inhrelid AND tgname = 'refuse_change' AND tgenabled = 'A')`)
	for _, table := range []string{"events_00002", "events_00000", "ids_default"} {
		if state := try(t, super, `TRUNCATE ledger.`+table, true); state != stateNoPrivilege {
			t.Errorf("TRUNCATE %s: %q", table, state)
		}
	}
}

func TestPartitionsAreMadeAhead(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	beginAt(t, database, 3, 1)
	l := ledger.New(database.Pool(t, db.RoleWriter))
	for range 2 {
		if err := l.MakePartitions(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	super := database.Pool(t, "")
	if n := count(t, super, `SELECT count(*) FROM pg_class WHERE oid IN (to_regclass('ledger.events_00003'), to_regclass('ledger.events_00004'))`); n != 2 {
		t.Errorf("%d of the two partitions are there", n)
	}
	if n := count(t, super, `SELECT count(*) FROM pg_class WHERE oid = to_regclass('ledger.events_00005')`); n != 0 {
		t.Error("a partition was made too early")
	}
	if state := try(t, database.Pool(t, db.RoleWriter), `SELECT ledger.make_partitions(1::bigint << 40)`, false); state != "22023" {
		t.Errorf("any number of partitions can be made: %q", state)
	}
}

func TestIdsFindTheirMonth(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	l := ledger.New(pool)
	at := func(when time.Time) domain.EventID { return domain.NewID[domain.EventID](when, [10]byte{1}) }
	thisMonth := time.Now().UTC()
	events := []domain.Encoded{
		encode(t, domain.Event{ID: at(thisMonth), Body: newCall()}),
		encode(t, domain.Event{ID: at(thisMonth.AddDate(-10, 0, 0)), Body: newCall()}),
		encode(t, domain.Event{ID: domain.EventID{0xff, 1}, Body: newCall()}),
	}
	mustAppend(t, l, events...)
	mustAppend(t, l, events...)
	checkInvariants(t, pool, 0)
	super := database.Pool(t, "")
	if n := count(t, super, `SELECT count(*) FROM ledger.ids_default`); n != 2 {
		t.Errorf("the default partition has %d ids", n)
	}
	if n := count(t, super, `SELECT count(*) FROM ledger.ids_`+thisMonth.Format("2006_01")); n != 1 {
		t.Errorf("this month's partition has %d ids", n)
	}
	// A month of which the default partition has ids can't have a partition any more, and needs none.
	if _, err := super.Exec(t.Context(), `SELECT ledger.make_ids_partition(now() - interval '10 years')`); err != nil {
		t.Error(err)
	}
	mustAppend(t, l, events...)
}

func TestClosedPartitionIsPrunedByTime(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	first := beginAt(t, database, 0, 3)
	l := ledger.New(pool)
	res := mustAppend(t, l, calls(t, 2)...)
	if err := l.ClosePartition(t.Context(), 0); err == nil {
		t.Error("a partition was closed that isn't full")
	}
	mustAppend(t, l, calls(t, 5)...)
	for range 2 {
		if err := l.ClosePartition(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	checkInvariants(t, pool, first)
	rows, err := pool.Query(t.Context(), `EXPLAIN SELECT FROM ledger.events WHERE recorded_at > '`+res.RecordedAt.AddDate(1, 0, 0).Format(time.RFC3339)+`'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "events_00000") {
			t.Errorf("the closed partition is read: %s", line)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
