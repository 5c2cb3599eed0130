package main_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"manti/db/dbtest"
)

// A spool whose server was killed is listed, emptied by hand, and then at rest;
// one that a server runs on is left alone.
func TestOrphanedSpool(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	data, env := folder(t), provider.env().onDatabase(database.URL())
	pool := database.Pool(t, "")
	dir := filepath.Join(data, "spool")
	p := serve(t, data, env).ready()
	if s := call(t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", quickModel, true}, "before"); !s.whole {
		t.Fatalf("call: %+v", s)
	}
	awaitQuery(t, pool, "the spool to be known", `SELECT count(*) = 1 FROM ledger.spools`)
	openStream(t, p, slowModel)
	p.poll("a stream to be under way", func() bool { return open(provider.Calls()) == 1 })
	if r := command(t, launch{args: []string{"spool", "ship", dir}, env: env}); r.status != 1 || !strings.Contains(r.err, "is in use by process") {
		t.Errorf("ship of a spool in use: %d %s", r.status, r.err)
	}
	p.kill()
	if _, err := pool.Exec(t.Context(), `UPDATE ledger.spools SET last_seen = last_seen - interval '11 minutes'`); err != nil {
		t.Fatal(err)
	}
	list := func() (row struct{ State, Dir string }) {
		t.Helper()
		if err := json.Unmarshal([]byte(manti(t, env, "spool", "list", "--json", dir)), &row); err != nil {
			t.Fatal(err)
		}
		return row
	}
	if got := list(); got.State != "not seen for 10 minutes" || got.Dir != dir {
		t.Errorf("listed as %+v", got)
	}
	if out := manti(t, env, "spool", "ship", dir); !strings.Contains(out, "the spool in "+dir+" is empty") {
		t.Errorf("ship: %s", out)
	}
	if got := list(); got.State != "at rest" {
		t.Errorf("listed as %+v", got)
	}
	checkLedger(t, pool)
	checkBooks(t, provider.Calls(), readLedger(t, pool))
	if r := command(t, launch{args: []string{"spool", "ship", folder(t)}, env: env}); r.status != 1 || !strings.Contains(r.err, "is no spool") {
		t.Errorf("ship of nothing: %d %s", r.status, r.err)
	}
}
