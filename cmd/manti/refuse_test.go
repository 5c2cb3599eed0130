package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"manti/db/dbtest"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What can't work ends at once, and the error says what to set.
func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{}).URL().Reveal()
	onDatabase := environment{"DATABASE_URL": database, "MANTI_SECRET": testSecret}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // the test is over
	file := filepath.Join(folder(t), "file")
	if err := os.WriteFile(file, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		env  environment
		args []string
		want []string
		not  []string
		code int
	}{
		{name: "port taken", args: []string{"--listen", taken.Addr().String()}, want: []string{"address already in use", "MANTI_LISTEN"}, code: 1},
		{name: "operators' port taken", env: environment{"MANTI_ADMIN_LISTEN": taken.Addr().String()}, want: []string{"MANTI_ADMIN_LISTEN"}, code: 1},
		{name: "unknown setting", env: environment{"MANTI_LISTENN": "x"}, want: []string{"MANTI_LISTENN", "help settings"}, code: 1},
		{name: "several mistakes", env: environment{"MANTI_SIM": "maybe", "MANTI_DRAIN_TIMEOUT": "soon"}, want: []string{"MANTI_SIM", "MANTI_DRAIN_TIMEOUT"}, code: 1},
		{name: "no secret", env: environment{"DATABASE_URL": database}, want: []string{"MANTI_SECRET isn't set", "openssl rand -hex 32"}, code: 1},
		{name: "bad secret", env: onDatabase.with("MANTI_SECRET", "too-short-to-be-one"), want: []string{"MANTI_SECRET must be 64"}, not: []string{"too-short-to-be-one"}, code: 1},
		{name: "bad secret with the private Postgres", env: environment{"MANTI_SECRET": "too-short-to-be-one"}, want: []string{"MANTI_SECRET must be 64"}, not: []string{"too-short-to-be-one"}, code: 1},
		{name: "short bootstrap key", env: onDatabase.with("MANTI_BOOTSTRAP_KEY", "hunter2"), want: []string{"MANTI_BOOTSTRAP_KEY", "20"}, not: []string{"hunter2"}, code: 1},
		{name: "database URL that is none", env: onDatabase.with("DATABASE_URL", "postgres://manti:hunter2@[::1/manti"), want: []string{"database URL"}, not: []string{"hunter2"}, code: 1},
		{name: "database that isn't there", env: onDatabase.with("DATABASE_URL", strings.Replace(database, "test_", "no_test_", 1)), want: []string{"does not exist"}, code: 1},
		{name: "base URL that is none", env: onDatabase.with("MANTI_PROVIDERS_OPENAI_API_KEY", "sk-x", "MANTI_PROVIDERS_OPENAI_BASE_URL", "api.openai.com"), want: []string{"base URL", "openai"}, code: 1},
		{name: "certificates that aren't there", env: onDatabase.with("MANTI_EXTRA_CA", "/nowhere/ca.pem"), want: []string{"MANTI_EXTRA_CA"}, code: 1},
		{name: "certificates that are none", env: onDatabase.with("MANTI_EXTRA_CA", file), want: []string{"MANTI_EXTRA_CA", "PEM"}, code: 1},
		{name: "data directory that is a file", args: []string{"--data", file}, want: []string{"MANTI_DATA"}, code: 1},
		{name: "unknown command", args: []string{"sevre"}, want: []string{`"sevre"`, "manti help"}, code: 2},
		{name: "unknown flag", args: []string{"serve", "--port", "80"}, want: []string{"-port"}, code: 2},
		{name: "argument of no use", args: []string{"serve", "now"}, want: []string{`"now"`}, code: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			env := environment{"MANTI_LISTEN": "127.0.0.1:0", "MANTI_DATA": filepath.Join(dir, "data")}
			for k, v := range test.env {
				env[k] = v
			}
			r := command(t, launch{args: test.args, env: env, dir: dir})
			if r.status != test.code || r.out != "" {
				t.Errorf("it ended with %d and printed %q, want %d and nothing", r.status, r.out, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(r.err, want) {
					t.Errorf("the error doesn't say %q: %s", want, r.err)
				}
			}
			for _, not := range test.not {
				if strings.Contains(r.err, not) {
					t.Errorf("the error says %q: %s", not, r.err)
				}
			}
		})
	}
}

// A secret other than the one that the database's keys were made with is found
// out at start, not at each call.
func TestRefusesAnotherSecret(t *testing.T) {
	t.Parallel()
	env := environment{"DATABASE_URL": dbtest.Open(t, dbtest.Options{}).URL().Reveal(), "MANTI_SECRET": testSecret}
	manti(t, env, "key", "create")
	other := env.with("MANTI_SECRET", strings.Repeat("ab", 32))
	for _, args := range [][]string{{"serve", "--listen", "127.0.0.1:0", "--data", folder(t)}, {"key", "list"}} {
		r := command(t, launch{args: args, env: other})
		if r.status != 1 || !strings.Contains(r.err, "MANTI_SECRET isn't the one") || strings.Contains(r.err, testSecret) {
			t.Errorf("manti %s with another secret: %d %s", args[0], r.status, r.err)
		}
	}
}

// A data directory that can't be written is named, with what to set.
func TestRefusesReadOnlyData(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	uid := 0
	if os.Getuid() == 0 {
		uid = nobodyUID // the folder is root's
	} else if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{dir, filepath.Join(dir, "below")} {
		r := command(t, launch{args: []string{"--listen", "127.0.0.1:0", "--data", data}, dir: os.TempDir(), uid: uid})
		if r.status != 1 || !strings.Contains(r.err, "permission denied") || !strings.Contains(r.err, "MANTI_DATA") {
			t.Errorf("data in %s: %d %s", data, r.status, r.err)
		}
	}
}

// Without Postgres' programs, and without a place to fetch them from, the error
// says what to install. The root of the image, which holds nothing but the
// binary, is such a machine.
func TestRefusesWithoutPrograms(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 || raceEnabled {
		t.Skip("only root can hide the machine's programs, from a static binary")
	}
	root := folder(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, filepath.Join(root, "manti")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"data", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(root, dir), nobodyUID, nobodyUID); err != nil {
			t.Fatal(err)
		}
	}
	r := command(t, launch{
		root: root, uid: nobodyUID, args: []string{"--listen", "127.0.0.1:0", "--data", "/data"},
		env: environment{"MANTI_PG_REPOSITORY": "http://127.0.0.1:9/maven2"},
	})
	for _, want := range []string{"no PostgreSQL (15 or newer) was found on this machine", "fetching it failed", "apt install postgresql", "MANTI_PG_BIN", "DATABASE_URL"} {
		if r.status != 1 || !strings.Contains(r.err, want) {
			t.Errorf("it ended with %d, and the error doesn't say %q: %s", r.status, want, r.err)
		}
	}
}

// Settings are read from a file .env too, below the environment's; what is in it
// isn't shown if it can't be read.
func TestReadsDotEnv(t *testing.T) {
	t.Parallel()
	dir, url := folder(t), dbtest.Open(t, dbtest.Options{}).URL().Reveal()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# ours\nDATABASE_URL='" + url + "'\nMANTI_SECRET=" + testSecret + "\nMANTI_LOG_LEVEL=debug\n")
	if r := command(t, launch{args: []string{"key", "create"}, dir: dir}); r.status != 0 || !strings.HasPrefix(r.out, "sk-manti-") {
		t.Errorf("with .env: %d %s %s", r.status, r.out, r.err)
	}
	if r := command(t, launch{args: []string{"key", "create"}, dir: dir, env: environment{"MANTI_SECRET": strings.Repeat("00", 32)}}); r.status != 1 {
		t.Errorf("the environment doesn't win over .env: %d %s", r.status, r.out)
	}
	write("MANTI_SECRET=" + testSecret + "\nthis line says hunter2\n")
	if r := command(t, launch{args: []string{"key", "list"}, dir: dir}); r.status != 1 || !strings.Contains(r.err, ".env") || strings.Contains(r.err, "hunter2") || strings.Contains(r.err, testSecret) {
		t.Errorf("with a .env that is none: %d %s", r.status, r.err)
	}
}
