package projections_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// While projections are rebuilt again and again, some append, some issue keys
// and some read. Nobody gets an error, nobody waits for a lock until it times
// out, and whoever reads sees one version: sums that belong together and never
// fall, and no key that was there and is gone.
func TestRebuildHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b, w := bootstrapped(t)
	mustDecide(t, b, projections.PublishPrices{Event: newID[domain.EventID](w), At: start, Book: builtin(t)}, projections.DecideBuiltin)
	b.catchUp(t, projections.All()...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	loop := func(what string, do func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				// A machine under load may exceed other timeouts; this one is ours.
				if err := do(); err != nil && ctx.Err() == nil && (!db.IsOutage(err) || db.SQLState(err) == "55P03") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
	writer, issuer := newWorld(31), newWorld(32)
	loop("append", func() error {
		e := writer.call()
		call := e.Body.(*domain.RequestCompleted)
		call.Charge, call.Private.Cost = price("0.01"), price("0.01")
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			return err
		}
		_, err = b.ledger.Append(ctx, []domain.Encoded{enc})
		return err
	})
	loop("issue a key", func() error {
		_, err := b.ledger.Command(ctx, []ledger.Projection{projections.Keys(), projections.Orgs()},
			decision(issue(issuer), projections.DecideIssue))
		return err
	})
	loop("fold", func() error {
		for _, p := range projections.All() {
			if _, err := projections.CatchUp(ctx, b.pool, p); err != nil {
				return err
			}
		}
		return nil
	})
	seen := map[string]int64{}
	rises := func(what string, n int64) {
		if n < seen[what] {
			t.Errorf("%s fell from %d to %d", what, seen[what], n)
		}
		seen[what] = n
	}
	read := func() error {
		balances, err := projections.ReadBalances(ctx, b.pool, domain.OrgID{})
		if err != nil {
			return err
		}
		calls := int64(0)
		for _, sum := range balances {
			calls += sum.Calls
			if !sum.Charge.Equal(decimal.New(sum.Calls, -2)) {
				t.Errorf("%d calls of 0.01 make %s", sum.Calls, sum.Charge)
			}
		}
		rises("calls", calls)
		snapshot, err := projections.LoadSnapshot(ctx, b.pool)
		if err != nil {
			return err
		}
		rises("keys", int64(len(snapshot.Keys)))
		if snapshot.Book == nil {
			t.Error("there is no price book")
		}
		return nil
	}
	loop("read", func() error { return read() })
	for range 4 {
		for _, p := range []*projections.Projection{projections.Balances(), projections.Keys(), projections.Prices()} {
			err := patiently(func() error {
				_, err := projections.Rebuild(ctx, b.pool, p, projections.RebuildConfig{})
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	cancel()
	wg.Wait()
	if seen["calls"] == 0 || seen["keys"] == 0 {
		t.Errorf("nothing was read: %v", seen)
	}
	b.catchUp(t, projections.All()...)
	b.checkInvariants(t)
}

func price(s string) domain.Price { return domain.Price{Amount: dec(s), Currency: domain.USD} }

// A report that reads for long makes a swap wait, and neither fails; those who
// come after it are hardly held up.
func TestSwapWaitsForALongReport(t *testing.T) {
	t.Parallel()
	b, _ := filled(t)
	reading, rebuilt := make(chan struct{}), make(chan error, 1)
	release := make(chan struct{})
	go func() {
		<-reading
		_, err := projections.Rebuild(t.Context(), b.pool, projections.Usage(), projections.RebuildConfig{})
		rebuilt <- err
	}()
	err := db.InTx(t.Context(), b.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT count(*) FROM projections.usage`); err != nil {
			return err
		}
		close(reading)
		go func() { // others read meanwhile, until the rebuild has had to wait
			defer close(release)
			for range 200 {
				for _, err := range projections.ReadUsage(ctx, b.pool, projections.UsageFilter{}) {
					if err != nil {
						t.Errorf("a reader behind the swap: %v", err)
						return
					}
				}
			}
		}()
		<-release
		_, err := tx.Exec(ctx, `SELECT count(*) FROM projections.usage`)
		return err
	})
	if err != nil {
		t.Errorf("the report: %v", err)
	}
	if err := <-rebuilt; err != nil {
		t.Errorf("the rebuild: %v", err)
	}
	b.checkInvariants(t)
}
