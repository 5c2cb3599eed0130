package main_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/shopspring/decimal"

	"manti/db/dbtest"
	"manti/domain"
)

// Every command has help that names it, and says what it was called with wrongly.
func TestHelp(t *testing.T) {
	t.Parallel()
	all := manti(t, nil, "help")
	names := regexp.MustCompile(`(?m)^  ([a-z]+(?: [a-z]+)?)  `).FindAllStringSubmatch(all, -1)
	if len(names) < 14 {
		t.Fatalf("the help lists %d commands:\n%s", len(names), all)
	}
	for _, m := range names {
		words := strings.Fields(m[1])
		if out := manti(t, nil, append([]string{"help"}, words...)...); !strings.HasPrefix(out, "manti "+m[1]) {
			t.Errorf("help %s: %s", m[1], out)
		}
		r := command(t, launch{args: append(words, "-h")})
		if r.status != 0 || !strings.Contains(r.err, "manti "+m[1]) || r.out != "" {
			t.Errorf("%s -h: %+v", m[1], r)
		}
		if r := command(t, launch{args: append(words, "--no-such-flag")}); r.status != 2 || !strings.Contains(r.err, "no-such-flag") {
			t.Errorf("%s --no-such-flag: %+v", m[1], r)
		}
	}
	for _, args := range [][]string{{"--help"}, {"-h"}} {
		if out := manti(t, nil, args...); out != all {
			t.Errorf("%v: %s", args, out)
		}
	}
	if r := command(t, launch{args: []string{"help", "nothing"}}); r.status != 2 {
		t.Errorf("help nothing: %+v", r)
	}
	for _, arg := range []string{"version", "--version"} {
		if out := manti(t, nil, arg); out != "manti "+testVersion+"\n" {
			t.Errorf("%s: %q", arg, out)
		}
	}
}

// health is what a container's engine asks: 0 only from a server that takes
// calls.
func TestHealth(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	p := serve(t, folder(t), env).ready()
	for name, r := range map[string]result{
		"by flag":     command(t, launch{args: []string{"health", "--url", "http://" + p.addr + "/"}}),
		"by settings": command(t, launch{args: []string{"health"}, env: environment{"MANTI_LISTEN": strings.Replace(p.addr, "127.0.0.1", "", 1)}}),
	} {
		if r.status != 0 || !strings.Contains(r.out, `"ready":true`) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	stream := openStream(t, p, endlessName)
	p.signal(syscall.SIGTERM)
	p.poll("the server to drain", func() bool { return p.status("/readyz") != http.StatusOK })
	if r := command(t, launch{args: []string{"health", "--url", "http://" + p.addr}}); r.status != 1 {
		t.Errorf("while draining: %+v", r)
	}
	p.kill()
	_ = stream
	if r := command(t, launch{args: []string{"health", "--url", "http://" + p.addr}}); r.status != 1 || r.err == "" {
		t.Errorf("without a server: %+v", r)
	}
}

// Operators may have a listener of their own, which callers don't reach.
func TestOperatorsListener(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	for _, own := range []bool{false, true} {
		if own {
			env = env.with("MANTI_ADMIN_LISTEN", "127.0.0.1:0")
		}
		p := serve(t, folder(t), env).ready()
		operators := p.addr
		if own {
			operators = p.await(regexp.MustCompile(`"msg":"serving operators","address":"([^"]+)"`))[1]
			for path, want := range map[string]int{"/metrics": http.StatusNotFound, "/healthz": http.StatusOK, "/readyz": http.StatusOK} {
				if got := p.status(path); got != want {
					t.Errorf("callers get %d from %s, want %d", got, path, want)
				}
			}
			resp, err := client.Post("http://"+operators+"/v1/chat/completions", "application/json", nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close() // only its status counts
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("operators' calls get %d", resp.StatusCode)
			}
		}
		if s := call(t.Context(), "http://"+p.addr, testKey, ask{quick.path, quickModel, false}, "count me"); !s.whole {
			t.Errorf("call: %+v", s)
		}
		p.poll("the call to be shipped and counted", func() bool {
			metrics := fetch(t, "http://"+operators+"/metrics")
			return strings.Contains(metrics, `manti_calls_total{endpoint="chat.completions",status="200"} 1`) && strings.Contains(metrics, "manti_spool_unshipped_records 0")
		})
		for _, path := range []string{"/healthz", "/readyz"} {
			fetch(t, "http://"+operators+path)
		}
		p.stop()
	}
}

// migrate prepares an empty database, and says who owns what.
func TestMigrate(t *testing.T) {
	t.Parallel()
	env := environment{"DATABASE_URL": dbtest.Open(t, dbtest.Options{Empty: true}).URL().Reveal(), "MANTI_SECRET": testSecret}
	for range 2 {
		if out := manti(t, env, "migrate"); !strings.Contains(out, "The schema is up to date. Roles: ") {
			t.Errorf("migrate: %s", out)
		}
	}
	if r := command(t, launch{args: []string{"usage"}, env: env}); r.status != 0 || !strings.Contains(r.out, "No usage in this range.") {
		t.Errorf("usage of an empty ledger: %+v", r)
	}
}

// usage, export and balances say what the provider served, to the token and to
// the last digit.
func TestUsageCommands(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	p := serve(t, folder(t), env).ready()
	for i := range 3 {
		for _, a := range asks() {
			if s := call(t.Context(), "http://"+p.addr, testKey, a, "usage "+itoa(i)); !s.whole {
				t.Fatalf("call: %+v", s)
			}
		}
	}
	p.stop()
	var want domain.Usage
	for _, c := range provider.Calls() {
		want = want.Add(domain.Usage(c.Usage))
	}
	charge := decimal.Zero
	for _, e := range readLedger(t, database.Pool(t, "")) {
		charge = charge.Add(e.Charge)
	}

	table := manti(t, env, "usage")
	total := regexp.MustCompile(`(?m)^total +24 +0 +0 +` + tokens(want, domain.InputTokens) + ` .* ` + regexp.QuoteMeta(charge.String()) + ` +USD *$`)
	if !total.MatchString(table) || !strings.Contains(table, steadyModel) || !strings.Contains(table, claudeModel) {
		t.Errorf("the table has no line like %s:\n%s", total, table)
	}
	if out := manti(t, env, "usage", "--from", "2999-01-01"); !strings.Contains(out, "No usage in this range.") {
		t.Errorf("usage of days to come:\n%s", out)
	}

	rows, err := csv.NewReader(strings.NewReader(manti(t, env, "export", "usage", "--csv"))).ReadAll()
	if err != nil || len(rows) < 3 {
		t.Fatalf("export: %v, %v", rows, err)
	}
	sums := sumColumns(t, rows)
	if !sums["charge"].Equal(charge) || sums["calls"].String() != "24" {
		t.Errorf("the export sums up to %s calls and a charge of %s, want 24 and %s", sums["calls"], sums["charge"], charge)
	}
	for m := range domain.Meter(domain.MeterCount) {
		if got := sums[m.String()].String(); got != itoa(int(want[m])) {
			t.Errorf("the export has %s of %s, the provider %d", got, m, want[m])
		}
	}

	var one map[string]string
	if err := json.Unmarshal([]byte(manti(t, env, "usage", "--json", "--by", "model,provider", "--model", claudeModel)), &one); err != nil {
		t.Fatal(err)
	}
	if one["calls"] != "12" || one["provider"] != "anthropic" || one["model"] != claudeModel {
		t.Errorf("usage of one model: %v", one)
	}
	var owed struct {
		Calls  int
		Charge decimal.Decimal
	}
	if err := json.Unmarshal([]byte(manti(t, env, "balances", "--json")), &owed); err != nil || owed.Calls != 24 || !owed.Charge.Equal(charge) {
		t.Errorf("balances: %+v, %v, want 24 calls and %s", owed, err, charge)
	}
	for _, args := range [][]string{{"usage", "--by", "moon"}, {"usage", "--from", "yesterday"}, {"usage", "--org", "acme"}, {"balances", "all"}, {"rebuild", "moon"}, {"rebuild"}} {
		if r := command(t, launch{args: args, env: env}); r.status != 2 || r.out != "" {
			t.Errorf("%v: %+v, want a mistake in the command line", args, r)
		}
	}
}

func tokens(u domain.Usage, m domain.Meter) string { return itoa(int(u[m])) }

// sumColumns sums the columns of numbers in a table with a head.
func sumColumns(t testing.TB, rows [][]string) map[string]decimal.Decimal {
	t.Helper()
	sums := map[string]decimal.Decimal{}
	for _, row := range rows[1:] {
		for i, name := range rows[0] {
			if d, err := decimal.NewFromString(row[i]); err == nil {
				sums[name] = sums[name].Add(d)
			}
		}
	}
	return sums
}

// All projections can be built anew while calls are served, and come out as they
// were; rows that somebody has changed are found, and replaced if that is asked
// for.
func TestRebuildUnderLoad(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	p := serve(t, folder(t), env).ready()
	crowd := gather(t, "http://"+p.addr, 6)
	p.poll("calls", func() bool { return crowd.whole.Load() > 20 })
	for range 3 {
		out := manti(t, env, "rebuild", "all")
		if strings.Count(out, "equal to the live rows") != strings.Count(out, "\n") || strings.Count(out, "\n") < 5 {
			t.Errorf("rebuild all:\n%s", out)
		}
	}
	crowd.end()
	if n := crowd.failed.Load(); n != 0 {
		t.Errorf("%d calls failed: %+v", n, failures(crowd.seen()))
	}
	pool := database.Pool(t, "")
	checkBalances(t, pool)
	p.stop()
	checkBooks(t, provider.Calls(), readLedger(t, pool))

	if _, err := pool.Exec(t.Context(), `UPDATE projections.balances SET charge = charge + 1`); err != nil {
		t.Fatal(err)
	}
	if r := command(t, launch{args: []string{"rebuild", "balances"}, env: env}); r.status != 1 || !strings.Contains(r.err, "not what the ledger says") {
		t.Errorf("rebuild over rows that somebody has changed: %+v", r)
	}
	if out := manti(t, env, "rebuild", "--replace", "balances"); !strings.Contains(out, "row differs") {
		t.Errorf("rebuild --replace: %s", out)
	}
	checkBalances(t, pool)
}

// demo fills a ledger of its own, and no other.
func TestDemo(t *testing.T) {
	t.Parallel()
	empty := environment{"DATABASE_URL": dbtest.Open(t, dbtest.Options{Empty: true}).URL().Reveal(), "MANTI_SECRET": testSecret}
	if out := manti(t, empty, "demo", "--calls", "700", "--days", "10"); !strings.Contains(out, "700 calls over 10 days") {
		t.Errorf("demo: %s", out)
	}
	var calls int
	for d := json.NewDecoder(strings.NewReader(manti(t, empty, "balances", "--json"))); d.More(); {
		var b struct{ Calls int }
		if err := d.Decode(&b); err != nil {
			t.Fatal(err)
		}
		calls += b.Calls
	}
	if calls != 700 {
		t.Errorf("the demo's balances are of %d calls", calls)
	}
	if r := command(t, launch{args: []string{"demo"}, env: empty}); r.status != 1 || !strings.Contains(r.err, "holds a demo already") {
		t.Errorf("a second demo: %+v", r)
	}
	used := environment{"DATABASE_URL": dbtest.Open(t, dbtest.Options{}).URL().Reveal(), "MANTI_SECRET": testSecret}
	manti(t, used, "key", "create")
	if r := command(t, launch{args: []string{"demo"}, env: used}); r.status != 1 || !strings.Contains(r.err, "not the demo's") {
		t.Errorf("a demo in a ledger with other events: %+v", r)
	}
	if r := command(t, launch{args: []string{"demo", "--calls", "0"}, env: empty}); r.status != 2 {
		t.Errorf("a demo of nothing: %+v", r)
	}
}
