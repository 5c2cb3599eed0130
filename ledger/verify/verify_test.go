package verify_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
	"manti/ledger/spool"
	"manti/ledger/verify"
)

func TestNothingIsWrongWithAWholeLedger(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	for name, change := range map[string]func(*verify.Config){
		"all":     nil,
		"since":   func(c *verify.Config) { c.Since = 260 },
		"sample":  func(c *verify.Config) { c.Sample = 50 },
		"percent": func(c *verify.Config) { c.SamplePercent = 100 },
		"one":     func(c *verify.Config) { c.Workers = 1 },
	} {
		r := b.check(t, change)
		if r.Wrong != 0 || !r.Proven() {
			t.Errorf("%s: %d wrong, proven %v:\n%s", name, r.Wrong, r.Proven(), lines(r))
		}
		if r.Size != bookSize || r.Sealed != sealedSize || r.Checkpoints != 2 || r.Erased != 1 || r.Unsealed <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Without a checkpoint from outside, or a key, nothing is proven.
func TestWhatIsNotProven(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	for name, change := range map[string]func(*verify.Config){
		"no outside": func(c *verify.Config) { c.Outside = nil },
		"no key":     func(c *verify.Config) { c.Keys = seal.Keys{} },
	} {
		if r := b.check(t, change); r.Wrong != 0 || r.Proven() {
			t.Errorf("%s: %d wrong, proven %v:\n%s", name, r.Wrong, r.Proven(), lines(r))
		}
	}
	other := seal.Keys{}.With(newSigner(t))
	if r := b.check(t, func(c *verify.Config) { c.Keys, c.Outside = other, nil }); r.Wrong != 2 || r.Sealed != 0 {
		t.Errorf("with another key: %+v", r)
	}
	cfg := b.config(b.database.Pool(t, db.RoleAuditor))
	cfg.Keys = other
	if _, err := verify.Run(t.Context(), cfg); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("a checkpoint from outside of another key: %v", err)
	}
	cfg.Since = bookSize + 1
	cfg.Keys = b.keys
	if _, err := verify.Run(t.Context(), cfg); err == nil {
		t.Error("since an event that isn't there")
	}
}

func TestAnEmptyLedgerIsWhole(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.Options{}).Pool(t, db.RoleAuditor)
	for _, workers := range []int{1, 3} {
		r, err := verify.Run(t.Context(), verify.Config{Pool: pool, Workers: workers})
		if err != nil || r.Wrong != 0 || r.Size != 0 || r.Proven() {
			t.Errorf("%d workers: %+v %v", workers, r, err)
		}
	}
}

// What is recorded and sealed meanwhile raises no alarm.
func TestALedgerInUseIsWhole(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	writer := b.database.Pool(t, db.RoleWriter)
	l := ledger.New(writer)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := l.Append(ctx, []domain.Encoded{encode(t, domain.Event{Body: fullCall()}), encode(t, domain.Event{Body: plainCall()})})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		b.seal(t)
		if r := b.check(t, nil); r.Wrong != 0 || !r.Proven() || r.Size < bookSize {
			t.Errorf("%d wrong, proven %v:\n%s", r.Wrong, r.Proven(), lines(r))
		}
	}
	cancel()
	wg.Wait()
}

// A spool's shipped records are held against the ledger, those that no checkpoint
// covers too.
func TestShippedRecordsAreInTheLedger(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	dir := t.TempDir()
	sp, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New(b.database.Pool(t, db.RoleWriter))
	var events []domain.Encoded
	for range 3 {
		e := encode(t, domain.Event{Body: plainCall()})
		events = append(events, e)
		record := e.AppendRecord(nil)
		if _, err := sp.Start(e.ID, []byte("start"), len(record)); err != nil {
			t.Fatal(err)
		}
		if err := sp.End(e.ID, record); err != nil {
			t.Fatal(err)
		}
	}
	res := mustAppend(t, l, events[:2]...)
	places := spool.Places{}
	for i, p := range res.Places {
		places.Places = append(places.Places, spool.Place{ID: events[i].ID, Index: p.Index, At: p.RecordedAt})
	}
	batch, err := sp.Next(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sp.Append(spool.Placed, [16]byte{}, places.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if err := sp.Ack(batch); err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	with := func(c *verify.Config) { c.Spools = []string{dir} }
	if r := b.check(t, with); r.Wrong != 0 || r.SpoolRecords != 2 {
		t.Fatalf("%d wrong, %d records:\n%s", r.Wrong, r.SpoolRecords, lines(r))
	}
	// Two events that nobody has sealed, replaced as a whole.
	b.exec(t, triggersOff)
	for _, statement := range []string{
		`DELETE FROM ledger.events WHERE index = 314`, `DELETE FROM ledger.erasable WHERE index = 314`, `DELETE FROM ledger.ids WHERE index = 314`,
		`UPDATE ledger.head SET size = 314`, `UPDATE ledger.events SET recorded_at = recorded_at + interval '5 us' WHERE index = 313`, rehash,
		`UPDATE ledger.head SET recorded_at = (SELECT recorded_at FROM ledger.events WHERE index = 313)`,
	} {
		b.exec(t, statement)
	}
	b.exec(t, triggersOn)
	if r := b.check(t, nil); r.Wrong != 0 {
		t.Errorf("the database alone shows it:\n%s", lines(r))
	}
	r := b.check(t, with)
	if len(r.Findings) != 2 || r.Findings[0].Index != 313 || r.Findings[1].Index != verify.NoIndex {
		t.Errorf("with the spool:\n%s", lines(r))
	}
	// An operator accepts the loss: places from before are void, events aren't.
	mustAppend(t, l, encode(t, domain.Event{Author: "operator:me", Body: &domain.OriginStarted{Origin: origin + "#2", Size: 314, Cause: "a test"}}))
	if r := b.check(t, with); len(r.Findings) != 3 || len(r.Unaccepted) != 1 {
		t.Errorf("after a loss that nobody accepted:\n%s", lines(r))
	}
	b.accept(t, origin+"#2")
	if r := b.check(t, with); len(r.Findings) != 1 || r.Findings[0].Index != verify.NoIndex {
		t.Errorf("after a loss that was accepted:\n%s", lines(r))
	}
	mustAppend(t, l, events[1])
	if r := b.check(t, with); r.Wrong != 0 || r.SpoolRecords != 2 {
		t.Errorf("appended anew: %d records:\n%s", r.SpoolRecords, lines(r))
	}
}

// pg_class.relhasrules stays true after the last rule is gone, until a vacuum.
func TestARuleThatIsGoneIsNoRule(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.exec(t, `CREATE RULE r AS ON INSERT TO ledger.answers DO INSTEAD NOTHING`)
	b.exec(t, `DROP RULE r ON ledger.answers`)
	if r := b.check(t, nil); r.Wrong != 0 {
		t.Errorf("wrong:\n%s", lines(r))
	}
}

// A tile of a higher level is held against the tree too.
func TestTilesOfTwoLevels(t *testing.T) {
	t.Parallel()
	rows := verify.Tiles(256*256 + 300)
	if len(rows) != 3 || rows["0"] != 257 || rows["1"] != 1 || rows["edge"] != 44+1+1 {
		t.Errorf("got %v", rows)
	}
}
