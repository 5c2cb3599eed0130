package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	program "manti/cmd/manti"
	"manti/db/dbtest"
)

// here runs a command in the process of the test.
func here(t testing.TB, env environment, args ...string) result {
	t.Helper()
	list := []string{"HOME=" + t.TempDir()}
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	status, out, errs := program.InProcess(t.Context(), args, list)
	return result{status, out, errs}
}

// verify says by its exit status whether the ledger is what was signed, in use or
// not, and what is wrong.
func TestVerify(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	must := func(env environment, args ...string) string {
		t.Helper()
		r := here(t, env, args...)
		if r.status != 0 {
			t.Fatalf("manti %s: %+v", strings.Join(args, " "), r)
		}
		return strings.TrimSpace(r.out)
	}
	key := must(env, "seal", "keygen", "--origin", "test/ledger")
	data, memory := folder(t), filepath.Join(folder(t), "checkpoints")
	env = env.with("MANTI_SEAL_KEY", key, "MANTI_CHECKPOINTS", memory, "MANTI_DATA", data)
	must(env, "migrate")
	verify := func(env environment, args ...string) result {
		t.Helper()
		return here(t, env, append([]string{"verify"}, args...)...)
	}
	alone := func() result { return command(t, launch{args: []string{"verify"}, env: env}) }
	if r := verify(env); r.status != 3 || !strings.Contains(r.err, "no checkpoint from outside") || !strings.Contains(r.out, "The ledger has 0 events") {
		t.Errorf("an empty ledger: %+v", r)
	}
	p := serve(t, data, env).ready()
	for range 5 {
		if s := call(t.Context(), p.url(""), testKey, ask{quick.path, quickModel, false}, "hello"); !s.whole {
			t.Fatalf("call: %+v", s)
		}
	}
	p.poll("the calls to be shipped", func() bool { return strings.Contains(fetch(t, p.url("/metrics")), "manti_spool_unshipped_records 0") })
	must(env, "seal", "--once")
	if r := alone(); r.status != 0 || !strings.Contains(r.out, "Nothing is wrong.") || !strings.Contains(r.out, "Projection balances") || strings.Contains(r.out, key) {
		t.Errorf("a server's ledger: %+v", r)
	}
	p.stop()
	must(env, "seal", "--once")

	outside, err := os.ReadFile(filepath.Join(memory, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(outside) }))
	defer page.Close()
	elsewhere := env.with("MANTI_CHECKPOINTS", folder(t))
	vkey := must(env, "seal", "key")
	for name, c := range map[string]struct {
		env    environment
		args   []string
		status int
		says   string
	}{
		"by file":             {elsewhere, []string{"--against", filepath.Join(memory, "checkpoint")}, 0, "Nothing is wrong."},
		"by directory":        {elsewhere, []string{"--against", memory}, 0, "Nothing is wrong."},
		"by URL":              {elsewhere, []string{"--against", page.URL}, 0, "Nothing is wrong."},
		"with a verifier key": {env.with("MANTI_SEAL_KEY", ""), []string{"--key", vkey}, 0, "Nothing is wrong."},
		"a sample":            {env, []string{"--sample", "3"}, 0, "chosen at random"},
		"since":               {env, []string{"--since", "2", "--projections=false"}, 0, "Nothing is wrong."},
		"nothing outside":     {elsewhere, nil, 3, "restored backup can't be excluded"},
		"no key":              {env.with("MANTI_SEAL_KEY", ""), nil, 3, "no key is known"},
		"another key":         {env, []string{"--key", "test/other+00000000+AAAA"}, 2, "--key"},
		"a strange sample":    {env, []string{"--sample", "101%"}, 2, "--sample"},
		"a strange since":     {env, []string{"--since", "once"}, 2, "--since"},
		"both":                {env, []string{"--since", "1", "--sample", "1"}, 2, "exclude each other"},
		"no such file":        {env, []string{"--against", "/nowhere"}, 1, "/nowhere"},
		"no database":         {env.with("DATABASE_URL", "postgres://127.0.0.1:1/x"), nil, 1, "connect"},
	} {
		if r := verify(c.env, c.args...); r.status != c.status || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%s: want %d and %q: %+v", name, c.status, c.says, r)
		}
	}
	pool := database.Pool(t, "")
	for _, statement := range []string{`ALTER TABLE ledger.events DISABLE TRIGGER refuse_change`, `UPDATE ledger.events SET charge = charge + 1 WHERE kind = 'RequestCompleted' AND index = (SELECT min(index) FROM ledger.events WHERE kind = 'RequestCompleted')`,
		`UPDATE projections.balances SET calls = calls + 1`} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	r := alone()
	for _, says := range []string{"WRONG  event ", "ledger.events.charge: is not what the event says: expected ", "is not enabled always", "WRONG  projection balances"} {
		if r.status != 1 || !strings.Contains(r.out, says) {
			t.Errorf("want 1 and %q: %+v", says, r)
		}
	}
	var verdict struct {
		Status   int
		Wrong    int64
		Findings []struct{ Table, Column string }
	}
	if r := verify(env, "--json"); json.Unmarshal([]byte(r.out), &verdict) != nil || verdict.Status != 1 || verdict.Findings[0].Column != "charge" {
		t.Errorf("--json: %+v", r)
	}
}
