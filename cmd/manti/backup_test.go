package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manti/db/local"
)

// A backup of the private Postgres, taken while manti serves, makes a new one:
// with the secret beside it the key works, and the books are the same. Without
// the secret manti says so and doesn't start.
func TestBackupOfThePrivatePostgres(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	testBackup(t, nil)
}

// The same with the newest version of Postgres that manti fetches: the path from
// one major version to the next.
func TestBackupToAnotherMajorVersion(t *testing.T) {
	if os.Getenv("MANTI_TEST_LONG") == "" {
		t.Skip("fetches another version of Postgres: only with MANTI_TEST_LONG=1")
	}
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	programs, err := local.Programs(t.Context(), local.Config{DataDir: folder(t), SystemGlobs: []string{}, FetchCommand: []string{path, local.FetchCommand}})
	if err != nil {
		t.Fatal(err)
	}
	testBackup(t, environment{"MANTI_PG_BIN": programs})
}

// testBackup restores under the other environment.
func testBackup(t *testing.T, other environment) {
	from, to := filepath.Join(folder(t), "data"), filepath.Join(folder(t), "data")
	file := filepath.Join(folder(t), "ledger.tar.gz")
	p := serve(t, from, nil)
	key := welcome(t, p)
	for range 3 {
		if s := call(t.Context(), p.url(""), key, quick, "hello"); !s.whole {
			t.Fatalf("call: %+v", s)
		}
	}
	poll(t, "the calls in the ledger", func() bool { return strings.Contains(manti(t, nil, "balances", "--json", "--data", from), `"calls":3`) })
	// Where the secret is lost, a backup is wanted all the more.
	lost := environment{"MANTI_SECRET": strings.Repeat("1", 64)}
	if r := command(t, launch{args: []string{"spool", "list", "--data", from}, env: lost}); r.status != 0 || !strings.Contains(r.out, filepath.Join(from, "spool")) {
		t.Errorf("list of spools with another secret: %+v", r)
	}
	if r := command(t, launch{args: []string{"backup", file, "--data", from}, env: lost}); r.status != 0 || !strings.Contains(r.err, "neither MANTI_SECRET nor the signing key") {
		t.Fatalf("backup: %+v", r)
	}
	if r := command(t, launch{args: []string{"backup", file, "--data", from}}); r.status != 1 || !strings.Contains(r.err, "is there already") {
		t.Errorf("a second backup into the same file: %+v", r)
	}
	p.stop()
	secret, err := os.ReadFile(filepath.Join(from, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil || len(content) < 1000 {
		t.Fatalf("the backup has %d bytes: %v", len(content), err)
	}
	want := manti(t, nil, "balances", "--json", "--data", from)

	if out := manti(t, other, "restore", "--check", file); !strings.Contains(out, "The file is whole") {
		t.Errorf("check says %q", out)
	}
	if out := manti(t, other, "restore", file, "--data", to); !strings.Contains(out, "files secret and seal.key") {
		t.Errorf("restore says %q", out)
	}
	if r := command(t, launch{args: []string{"restore", file, "--data", to}, env: other}); r.status != 1 || !strings.Contains(r.err, "a ledger already") {
		t.Errorf("a second restore: %+v", r)
	}
	wrong := other.with("MANTI_SECRET", strings.Repeat("0", 64))
	if r := command(t, launch{args: []string{"balances", "--data", to}, env: wrong}); r.status != 1 || !strings.Contains(r.err, "MANTI_SECRET isn't the one") {
		t.Errorf("with another secret: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(to, "secret"), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := manti(t, other, "balances", "--json", "--data", to); got != want {
		t.Errorf("restored balances are %s, want %s", got, want)
	}
	p = serve(t, to, other).ready()
	if s := call(t.Context(), p.url(""), key, quick, "hello again"); !s.whole {
		t.Errorf("the key doesn't work: %+v", s)
	}
	poll(t, "the next call in the ledger", func() bool { return strings.Contains(manti(t, other, "balances", "--json", "--data", to), `"calls":4`) })
	p.stop()
}
