package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manti/db/dbtest"
	"manti/ledger/spool"
)

// An accepted loss is signed and verified only where the outside memory has the
// operator's word: recover writes it where the memory is at hand, seal --accept
// elsewhere, and an event in the database alone is nothing.
func TestRecoverAcceptsOutside(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	for _, atHand := range []bool{true, false} {
		t.Run(map[bool]string{true: "memory at hand", false: "memory elsewhere"}[atHand], func(t *testing.T) {
			t.Parallel()
			database := dbtest.Open(t, dbtest.Options{})
			run := func(env environment, status int, says string, args ...string) string {
				t.Helper()
				r := here(t, env, args...)
				if r.status != status || !strings.Contains(r.out+r.err, says) {
					t.Fatalf("manti %s: want %d and %q: %+v", strings.Join(args, " "), status, says, r)
				}
				return strings.TrimSpace(r.out)
			}
			memory, records := filepath.Join(folder(t), "checkpoints"), folder(t)
			if empty, err := spool.Open(spool.Config{Dir: records, SegmentBytes: 8 << 20, MaxRecordBytes: 1 << 20}); err != nil {
				t.Fatal(err)
			} else if err := empty.Close(); err != nil {
				t.Fatal(err)
			}
			env := environment{}.onDatabase(database.URL()).with("MANTI_CHECKPOINTS", memory, "MANTI_DATA", folder(t), "MANTI_SECRET", strings.Repeat("5e", 32))
			env = env.with("MANTI_SEAL_KEY", run(env, 0, "", "seal", "keygen", "--origin", "lost.example/ledger"))
			run(env, 0, "", "migrate")
			pool := database.Pool(t, "")
			run(env, 0, "", "key", "create", "--name", "kept")
			var kept int64
			if err := pool.QueryRow(t.Context(), `SELECT size FROM ledger.head`).Scan(&kept); err != nil {
				t.Fatal(err)
			}
			run(env, 0, "of lost.example/ledger, ", "seal", "--once")
			run(env, 0, "", "key", "create", "--name", "lost")
			run(env, 0, "of lost.example/ledger, ", "seal", "--once")
			for _, statement := range []string{`DO $$ DECLARE t regclass; BEGIN
				FOR t IN SELECT tgrelid::regclass FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'ledger'::regnamespace AND NOT tgisinternal LOOP
					EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', t); END LOOP; END $$`,
				fmt.Sprintf(`DELETE FROM ledger.erasable WHERE index >= %d`, kept), fmt.Sprintf(`DELETE FROM ledger.ids WHERE index >= %d`, kept),
				fmt.Sprintf(`DELETE FROM ledger.events WHERE index >= %d`, kept), fmt.Sprintf(`DELETE FROM ledger.checkpoints WHERE size > %d`, kept),
				`UPDATE ledger.head SET (size, recorded_at) = (SELECT max(index) + 1, max(recorded_at) FROM ledger.events)`,
				`DO $$ DECLARE r record; BEGIN
				FOR r IN SELECT tgrelid::regclass AS tbl, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'ledger'::regnamespace AND NOT tgisinternal LOOP
					EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', r.tbl, r.tgname); END LOOP; END $$`,
			} {
				if _, err := pool.Exec(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			away := env
			if !atHand {
				away = env.with("MANTI_CHECKPOINTS", folder(t))
			}
			out := run(away, 0, "is lost.example/ledger#2", "recover", "--spool", records, "--against", memory, "--accept-loss", "--cause", "a test")
			if !atHand {
				if _, err := os.Stat(filepath.Join(memory, "accepted")); err == nil || !strings.Contains(out, "There is no outside memory in") {
					t.Errorf("%v: %s", err, out)
				}
				run(env, 1, "manti seal --accept lost.example/ledger#2", "seal", "--once")
				run(env, 1, "nothing outside the database has accepted origin", "verify", "--projections=false")
				_, command, _ := strings.Cut(out, "\n    manti ")
				command, _, _ = strings.Cut(command, "\n")
				run(env, 0, fmt.Sprintf("has accepted: the ledger is lost.example/ledger#2 from index %d on", kept), strings.Fields(command)...)
			}
			run(env, 3, "nothing is signed under lost.example/ledger#2 yet", "verify", "--projections=false")
			run(env, 0, fmt.Sprintf("of lost.example/ledger#2, %d events", kept+1), "seal", "--once")
			run(env, 0, "Nothing is wrong.", "verify", "--projections=false")
			if err := os.Remove(filepath.Join(memory, "accepted")); err != nil {
				t.Fatal(err)
			}
			run(env, 3, "accepted nowhere outside the database", "verify", "--projections=false")
		})
	}
}
