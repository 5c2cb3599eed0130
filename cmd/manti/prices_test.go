package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"manti/db/dbtest"
)

// Prices that are published hold for the next call within a second; what was
// charged before stays as it was, by the version that it names.
func TestPublishPrices(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env, dir := provider.env().onDatabase(database.URL()), folder(t)
	p := serve(t, folder(t), env).ready()
	pool := database.Pool(t, "")
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ours := file("ours.yaml", `
source: a contract of the test's
models:
  - provider: openai
    name: `+quickModel+`
    prices:
      - rates: {input: 3, output: 7}
        charge: {rates: {input: 11, output: 13}}
`)
	before := callAt(t, p, pool)
	if out := manti(t, env, "prices", "diff", ours); !strings.Contains(out, "openai/"+quickModel) || !strings.Contains(out, "0.15") || !strings.Contains(out, "11") {
		t.Errorf("diff:\n%s", out)
	}
	if after := callAt(t, p, pool); after.version != before.version {
		t.Error("a diff has published something")
	}

	if out := manti(t, env, "prices", "publish", ours); !strings.Contains(out, "Published as ") {
		t.Errorf("publish:\n%s", out)
	}
	published := time.Now()
	var after priced
	p.poll("the new prices to hold", func() bool {
		after = callAt(t, p, pool)
		return after.version != before.version
	})
	t.Logf("the new prices held %v after the command had ended", time.Since(published).Round(time.Millisecond))
	after.check(t, "3", "7", "11", "13")
	before.check(t, "0.15", "0.6", "0.15", "0.6")
	if again := readPriced(t, pool, before.id); again != before {
		t.Errorf("a call from before became %+v, was %+v", again, before)
	}

	if out := manti(t, env, "prices", "publish", ours); !strings.HasPrefix(out, "Nothing published: ") {
		t.Errorf("published again:\n%s", out)
	}
	if out := manti(t, env, "prices", "diff", ours); out != "No difference.\n" {
		t.Errorf("diff of what holds:\n%s", out)
	}
	for name, text := range map[string]string{
		"float":   "models: [{provider: openai, name: x, prices: [{rates: {input: 1e-3}}]}]",
		"unknown": "model: []",
		"nothing": "models: [{provider: openai, name: no-such-model, markup: 2}]",
	} {
		if r := command(t, launch{args: []string{"prices", "publish", file(name, text)}, env: env}); r.status != 1 || !strings.Contains(r.err, name) {
			t.Errorf("publish of a bad file (%s): %+v", name, r)
		}
	}
	if r := command(t, launch{args: []string{"prices", "publish", filepath.Join(dir, "missing")}, env: env}); r.status != 1 {
		t.Errorf("publish of no file: %+v", r)
	}

	manti(t, env, "prices", "publish", file("markup.yaml", `markup: "1.5"`))
	p.poll("the markup to hold", func() bool { return callAt(t, p, pool).version != after.version })
	callAt(t, p, pool).check(t, "0.15", "0.6", "0.225", "0.9")
}

// priced is what a call cost and was charged.
type priced struct {
	id, version  string
	in, out      int64
	cost, charge string
}

// callAt makes a call and returns how it was priced.
func callAt(t testing.TB, p *process, pool *pgxpool.Pool) priced {
	t.Helper()
	s := call(t.Context(), "http://"+p.addr, testKey, ask{quick.path, quickModel, false}, "what does it cost?")
	if !s.whole {
		t.Fatalf("call: %+v", s)
	}
	awaitQuery(t, pool, "the call to be in the ledger", `SELECT EXISTS (SELECT FROM ledger.ids WHERE id = $1)`, s.id)
	return readPriced(t, pool, s.id)
}

func readPriced(t testing.TB, pool *pgxpool.Pool, id string) priced {
	t.Helper()
	c := priced{id: id}
	err := pool.QueryRow(t.Context(), `SELECT charge_price::text, input, output, trim_scale(cost)::text, trim_scale(charge)::text FROM ledger.events WHERE request_id = $1::uuid`, id).
		Scan(&c.version, &c.in, &c.out, &c.cost, &c.charge)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check computes the call anew from rates per million.
func (c priced) check(t testing.TB, costIn, costOut, chargeIn, chargeOut string) {
	t.Helper()
	amount := func(in, out string) string {
		sum := decimal.RequireFromString(in).Mul(decimal.New(c.in, 0)).Add(decimal.RequireFromString(out).Mul(decimal.New(c.out, 0)))
		return sum.Shift(-6).String()
	}
	if c.cost != amount(costIn, costOut) || c.charge != amount(chargeIn, chargeOut) {
		t.Errorf("%d and %d tokens cost %s and were charged %s, want %s and %s", c.in, c.out, c.cost, c.charge, amount(costIn, costOut), amount(chargeIn, chargeOut))
	}
}
