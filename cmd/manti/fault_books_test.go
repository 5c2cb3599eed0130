package main_test

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"
	"golang.org/x/mod/sumdb/tlog"

	"manti/db"
	"manti/domain"
	"manti/ledger/seal"
	"manti/projections"
	"manti/proxy/sim"
)

// What must hold after every fault, in one place.

// trial is what a test of a fault has done: against which provider, in which
// ledger, and what the callers saw.
type trial struct {
	provider *provider
	url      db.URL
	env      environment // that commands on this ledger need, with sealed
	spools   []string    // that must have been shipped
	seen     []seen
	// unknown are the calls that can't be but unknown: their ends weren't durable
	// when the process was killed.
	unknown map[string]bool
}

// check holds the provider's books, the ledger, its tree and its balances
// against each other, once the servers have stopped.
func (tr trial) check(t testing.TB) map[string]entry {
	t.Helper()
	pool, calls := openPool(t, tr.url), tr.provider.Calls()
	ledger := readLedger(t, pool)
	checkLedger(t, pool)
	checkBooks(t, calls, ledger)
	checkDigits(t, calls, ledger)
	checkSeen(t, tr.seen, ledger)
	checkUnknown(t, tr.unknown, ledger)
	foldBalances(t, pool)
	checkBalances(t, pool)
	tr.reconcile(t, pool)
	tr.checkSealed(t, pool)
	return ledger
}

// sealKey is the tests' own; it signs for nobody else.
var sealKey = sync.OnceValues(func() (domain.Secret, error) { return seal.NewKey("manti.test/faults") })

// sealed lets whoever has this environment seal, with one memory for all of them.
func sealed(t testing.TB, env environment) environment {
	t.Helper()
	key, err := sealKey()
	if err != nil {
		t.Fatal(err)
	}
	return env.with("MANTI_SEAL_KEY", key.Reveal(), "MANTI_CHECKPOINTS", filepath.Join(folder(t), "checkpoints"))
}

// checkSealed seals what is there, on top of what was sealed during the fault:
// the sealer proves from its memory that all of that still holds. Then all is
// computed anew.
func (tr trial) checkSealed(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	manti(t, tr.env, "seal", "--once")
	if sizes := checkTree(t, pool); len(sizes) == 0 || slices.Max(sizes) != ledgerSize(t, pool) {
		t.Errorf("checkpoints of %d events were signed, there are %d", sizes, ledgerSize(t, pool))
	}
	manti(t, tr.env, "verify", "--spool", strings.Join(tr.spools, ","))
}

// checkDigits holds each amount against what the provider's own count of tokens
// gives at the prices that hold: equal digit by digit where the call is known,
// covered by what is held where it isn't.
func checkDigits(t testing.TB, calls []sim.Call, ledger map[string]entry) {
	t.Helper()
	book, err := projections.BuiltinPrices()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		e := ledger[c.ClientID]
		served := served(t, book, c)
		switch {
		case e.Outcome == domain.Unknown:
			if e.Held.LessThan(served) {
				t.Errorf("call %s is unknown and holds %s, but was served for %s", e.ID, e.Held, served)
			}
		case c.Outcome == sim.Completed && c.Reported:
			if !e.Charge.Equal(served) || !e.Cost.Equal(served) {
				t.Errorf("call %s (%s): cost %s, charge %s; what the provider served is %s", e.ID, e.Outcome, e.Cost, e.Charge, served)
			}
		}
	}
}

// served is what the provider's count of a call costs.
func served(t testing.TB, book *domain.PriceBook, c sim.Call) decimal.Decimal {
	t.Helper()
	for _, provider := range []string{"openai", "anthropic"} {
		if card := book.Find(provider, c.Model); card != nil {
			return domain.BillFor(card, card, c.BegunAt, domain.Usage(c.Usage), domain.ServedAs("", "", "")).Charge.Amount
		}
	}
	t.Fatalf("no price for %s", c.Model)
	return decimal.Zero
}

// checkUnknown: unknown are exactly those whose end wasn't durable.
func checkUnknown(t testing.TB, want map[string]bool, ledger map[string]entry) {
	t.Helper()
	for id, e := range ledger {
		if (e.Outcome == domain.Unknown) != want[id] {
			t.Errorf("call %s is %s; its end was not durable: %v", id, e.Outcome, want[id])
		}
	}
	for id := range want {
		if _, ok := ledger[id]; !ok {
			t.Errorf("call %s, which was cut off, isn't in the ledger", id)
		}
	}
}

// checkTree computes each leaf and the root from the stored bytes, and holds
// what was signed against that. It returns the sizes that were signed.
func checkTree(t testing.TB, pool *pgxpool.Pool) (sizes []int64) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT index, recorded_at, canonical, leaf FROM ledger.events ORDER BY index`)
	if err != nil {
		t.Fatal(err)
	}
	var tree tree
	var index int64
	var at, last time.Time
	var canonical, leaf []byte
	_, err = pgx.ForEachRow(rows, []any{&index, &at, &canonical, &leaf}, func() error {
		hash := tlog.RecordHash(domain.LogEntry(at, canonical))
		if !slices.Equal(hash[:], leaf) || index != int64(len(tree.roots)) || at.Before(last) {
			t.Errorf("index %d of %v, after %d of %v, has leaf %x; its bytes have %v", index, at, len(tree.roots)-1, last, leaf, hash)
		}
		last = at
		return tree.add(hash)
	})
	if err != nil {
		t.Fatal(err)
	}
	notes, err := pool.Query(t.Context(), `SELECT note FROM ledger.checkpoints`)
	if err != nil {
		t.Fatal(err)
	}
	var note string
	_, err = pgx.ForEachRow(notes, []any{&note}, func() error {
		c, err := seal.ParseCheckpoint([]byte(note))
		if err != nil {
			return err
		}
		if c.Size > int64(len(tree.roots)) || c.Size > 0 && tree.roots[c.Size-1] != c.Root {
			t.Errorf("checkpoint %s isn't of these %d events", c, len(tree.roots))
		}
		sizes = append(sizes, c.Size)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

// A tree is the RFC 6962 tree of some leaves, by the module that Go's own
// checksum database uses, with its root after each.
type tree struct {
	hashes []tlog.Hash
	roots  []tlog.Hash
}

func (tr *tree) add(leaf tlog.Hash) error {
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		all := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			all[i] = tr.hashes[x]
		}
		return all, nil
	})
	n := int64(len(tr.roots))
	more, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
	if err != nil {
		return err
	}
	tr.hashes = append(tr.hashes, more...)
	root, err := tlog.TreeHash(n+1, reader)
	tr.roots = append(tr.roots, root)
	return err
}

// foldBalances folds what the servers that have stopped left to fold.
func foldBalances(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	if _, err := projections.CatchUp(t.Context(), pool, projections.Balances()); err != nil {
		t.Fatal(err)
	}
}

// outcomes counts the ledger's calls by how they ended.
func outcomes(ledger map[string]entry) map[domain.Outcome]int {
	all := map[domain.Outcome]int{}
	for _, e := range ledger {
		all[e.Outcome]++
	}
	return all
}

// complaints is a test that notes what fails.
type complaints struct {
	testing.TB
	n int
}

func (c *complaints) Helper()               {}
func (c *complaints) Errorf(string, ...any) { c.n++ }

// The checks are the controls of all tests of faults: each way for a book to be
// wrong must be found.
func TestTheChecksOfFaultsFindFaults(t *testing.T) {
	t.Parallel()
	usage := domain.Usage{domain.InputTokens: 1000, domain.OutputTokens: 2000}
	book, err := projections.BuiltinPrices()
	if err != nil {
		t.Fatal(err)
	}
	whole := sim.Call{ClientID: "whole", Model: steadyModel, BegunAt: time.Now(), Outcome: sim.Completed, Reported: true, Usage: sim.Tokens(usage)}
	cut := sim.Call{ClientID: "cut", Model: claudeModel, BegunAt: time.Now(), Outcome: sim.Cut, Usage: sim.Tokens(usage)}
	amount, held := served(t, book, whole), served(t, book, cut)
	one := decimal.New(1, -domain.MaxScale)
	for _, test := range []struct {
		name  string
		wrong func(all map[string]entry)
	}{
		{"nothing", nil},
		{"a call is missing", func(all map[string]entry) { delete(all, "whole") }},
		{"a call that nobody served", func(all map[string]entry) { e := all["whole"]; e.ID = "other"; all["other"] = e }},
		{"a call is there twice", func(all map[string]entry) { e := all["whole"]; e.Events = 2; all["whole"] = e }},
		{"a token", func(all map[string]entry) { e := all["whole"]; e.Usage[domain.OutputTokens]++; all["whole"] = e }},
		{"the last digit of the charge", func(all map[string]entry) { e := all["whole"]; e.Charge = e.Charge.Add(one); all["whole"] = e }},
		{"the last digit of the cost", func(all map[string]entry) { e := all["whole"]; e.Cost = e.Cost.Sub(one); all["whole"] = e }},
		{"too little is held", func(all map[string]entry) { e := all["cut"]; e.Held = e.Held.Sub(one); all["cut"] = e }},
		{"an unknown call is charged", func(all map[string]entry) { e := all["cut"]; e.Charge = one; all["cut"] = e }},
		{"a durable end became unknown", func(all map[string]entry) {
			all["whole"] = entry{ID: "whole", Events: 1, Outcome: domain.Unknown, Held: amount}
		}},
	} {
		all := map[string]entry{
			"whole": {ID: "whole", Events: 1, Outcome: domain.Completed, Provenance: string(domain.Reported), Usage: usage, Cost: amount, Charge: amount},
			"cut":   {ID: "cut", Events: 1, Outcome: domain.Unknown, Held: held},
		}
		if test.wrong != nil {
			test.wrong(all)
		}
		found := &complaints{TB: t}
		calls := []sim.Call{whole, cut}
		checkBooks(found, calls, all)
		checkDigits(found, calls, all)
		checkUnknown(found, map[string]bool{"cut": true}, all)
		if (found.n == 0) != (test.wrong == nil) {
			t.Errorf("%s: %d complaints", test.name, found.n)
		}
	}
}
