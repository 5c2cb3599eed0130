package main_test

import (
	"path/filepath"
	"testing"
	"time"

	"manti/db/dbtest"
)

// The clock of the database is set back and forward under load, over the ends of
// months. No call fails, recorded_at never falls, and the books are right. A
// table that takes its times from the clock is the control: they fall.
func TestClockSetUnderLoad(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	const callers, calls = 4, 10
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	pool := database.Pool(t, "")
	for _, statement := range []string{
		`CREATE TABLE public.clock (shift interval NOT NULL)`,
		`INSERT INTO public.clock VALUES ('0')`,
		`GRANT SELECT ON public.clock TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC`,
		`ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock_timestamp`,
		`SET allow_system_table_mods = on; CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
			AS 'SELECT pg_catalog.real_clock_timestamp() + shift FROM public.clock'`,
		`CREATE TABLE public.naive (n bigserial, at timestamptz DEFAULT clock_timestamp())`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	env := sealed(t, provider.env().onDatabase(database.URL()))
	data := folder(t)
	p := serve(t, data, env).ready()
	crowd := gather(t, "http://"+p.addr, callers)
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	for _, clock := range []time.Time{now, month.AddDate(0, 1, 0).Add(-300 * time.Millisecond), now.AddDate(0, -2, 0), month.Add(-300 * time.Millisecond), now.AddDate(0, 3, 0), now} {
		if _, err := pool.Exec(t.Context(), `UPDATE public.clock SET shift = $1 - pg_catalog.real_clock_timestamp()`, clock); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(t.Context(), `INSERT INTO public.naive DEFAULT VALUES`); err != nil {
			t.Fatal(err)
		}
		size := ledgerSize(t, pool)
		p.poll("events at another time", func() bool { return ledgerSize(t, pool) >= size+calls })
	}
	crowd.end()
	p.stop()
	if n := crowd.failed.Load(); n != 0 {
		t.Errorf("%d calls failed: %+v", n, failures(crowd.seen()))
	}
	trial{provider: provider, env: env, url: database.URL(), spools: []string{filepath.Join(data, "spool")}, seen: crowd.seen()}.check(t)
	fell := 0
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM (SELECT at < lag(at) OVER (ORDER BY n) AS fell FROM public.naive) x WHERE fell`).Scan(&fell); err != nil || fell < 2 {
		t.Errorf("the clock fell %d times, %v: the test doesn't test much", fell, err)
	}
}
