package main_test

import (
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/proxy/sim"
)

// A record that Postgres refuses for what it is keeps no other out: it stands in
// ledger.rejected with all its bytes, its neighbours land, and people are told.
// Once its reason is gone, the record completes the books.
func TestRefusedRecordUnderLoad(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	const callers, calls = 6, 40
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	pool := database.Pool(t, "")
	p := serve(t, folder(t), sealed(t, provider.env().onDatabase(database.URL()))).ready()
	if _, err := pool.Exec(t.Context(), `ALTER TABLE ledger.events ADD CONSTRAINT refuse_on_purpose CHECK (model <> '`+claudeModel+`' OR NOT stream) NOT VALID`); err != nil {
		t.Fatal(err)
	}
	crowd := gather(t, "http://"+p.addr, callers)
	p.poll("calls", func() bool { return crowd.whole.Load() >= calls })
	p.await(regexp.MustCompile(`"msg":"a record can't be in the ledger; it is kept in ledger.rejected".*"sqlstate":"23514"`))
	crowd.end()
	p.stop()
	if n := crowd.failed.Load(); n != 0 {
		t.Errorf("%d calls failed: %+v", n, failures(crowd.seen()))
	}

	refused := rejectedCalls(t, pool)
	ledgerNow := readLedger(t, pool)
	for _, c := range provider.Calls() {
		_, landed := ledgerNow[c.ClientID]
		enc, kept := refused[c.ClientID]
		if want := c.Model == claudeModel && c.Stream; kept != want || landed == want {
			t.Errorf("call %s of %s (stream %v): in the ledger %v, refused %v", c.ClientID, c.Model, c.Stream, landed, kept)
		}
		if kept {
			checkRefused(t, c, enc)
		}
	}
	if len(refused) < 5 || len(ledgerNow) < 5 {
		t.Errorf("%d refused, %d landed: the test doesn't test much", len(refused), len(ledgerNow))
	}
	foldBalances(t, pool)
	checkBalances(t, pool)
	checkTree(t, pool)

	if _, err := pool.Exec(t.Context(), `ALTER TABLE ledger.events DROP CONSTRAINT refuse_on_purpose`); err != nil {
		t.Fatal(err)
	}
	for _, enc := range refused {
		if res, err := ledger.New(database.Pool(t, db.RoleWriter)).Append(t.Context(), []domain.Encoded{enc}); err != nil || res.Appended != 1 {
			t.Fatalf("append what was refused: %+v, %v", res, err)
		}
	}
	whole := readLedger(t, pool)
	checkBooks(t, provider.Calls(), whole)
	checkDigits(t, provider.Calls(), whole)
	checkSeen(t, crowd.seen(), whole)
	checkUnknown(t, nil, whole)
	foldBalances(t, pool)
	checkBalances(t, pool)
}

// rejectedCalls are the records that were set aside, by call.
func rejectedCalls(t *testing.T, pool *pgxpool.Pool) map[string]domain.Encoded {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT record FROM ledger.rejected`)
	if err != nil {
		t.Fatal(err)
	}
	records, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]domain.Encoded{}
	for _, record := range records {
		enc, err := domain.ParseRecord(record)
		if err != nil {
			t.Fatalf("a record in ledger.rejected isn't what was sent: %v", err)
		}
		all[enc.ID.String()] = enc
	}
	return all
}

// checkRefused: nothing of what is known of the call is missing in its record.
func checkRefused(t *testing.T, c sim.Call, enc domain.Encoded) {
	t.Helper()
	event, err := domain.Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	call, ok := event.Body.(*domain.RequestCompleted)
	if !ok || call.Outcome != domain.Completed || domain.Usage(call.Usage) != domain.Usage(c.Usage) || !call.Charge.Amount.IsPositive() {
		t.Errorf("the record of call %s in ledger.rejected is %+v, the provider served %v", c.ClientID, event.Body, c.Usage)
	}
}
