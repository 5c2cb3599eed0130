package projections_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

func newBench(t testing.TB) *bench {
	t.Helper()
	pool := dbtest.New(t)
	return &bench{pool: pool, ledger: ledger.New(pool)}
}

// reset forgets a projection.
func (b *bench) reset(t testing.TB, p string, table string) {
	t.Helper()
	for _, sql := range []string{"TRUNCATE projections." + table, "UPDATE projections.checkpoints SET index = 0, digest = '' WHERE name = '" + p + "'"} {
		if _, err := b.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

func money() []*projections.Projection {
	return []*projections.Projection{projections.Balances(), projections.Requests(), projections.Usage()}
}

// Whatever the batches, and however appends and folds alternate, the rows are
// what a plain computation over all events gives, and the digest is the same.
func TestFoldsEqualARecomputation(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			b, w := newBench(t), newWorld(seed)
			for range 6 {
				var events []domain.Event
				for range 1 + w.rand.IntN(25) {
					if w.rand.IntN(4) == 0 {
						events = append(events, w.correction())
					} else {
						events = append(events, w.call())
					}
				}
				b.append(t, events...)
				for _, p := range money() {
					if w.rand.IntN(2) == 0 {
						b.catchUp(t, p)
					}
				}
			}
			b.catchUp(t, money()...)
			w.check(t, b.now())
			digests, rows := map[string]string{}, map[string][]string{}
			for _, p := range money() {
				_, digests[p.Name()] = b.checkpoint(t, p.Name())
				rows[p.Name()] = b.rows(t, p.Name())
			}
			for _, size := range []int{1, 7, 10000} {
				for _, p := range money() {
					b.reset(t, p.Name(), p.Name())
					if _, err := projections.CatchUpBy(t.Context(), b.pool, p, size); err != nil {
						t.Fatal(err)
					}
					index, digest := b.checkpoint(t, p.Name())
					if index != int64(len(w.events)) || digest != digests[p.Name()] {
						t.Errorf("%s by %d: index %d, digest %s, want %d, %s", p.Name(), size, index, digest, len(w.events), digests[p.Name()])
					}
				}
				w.check(t, b.now())
			}
			b.checkInvariants(t)
		})
	}
}

// books is what can be asked, now or of the past.
type books struct {
	projections.Querier
	usage func(projections.UsageFilter) iter.Seq2[projections.UsageRow, error]
}

func (b *bench) now() books {
	return books{b.pool, func(f projections.UsageFilter) iter.Seq2[projections.UsageRow, error] {
		return projections.ReadUsage(context.Background(), b.pool, f)
	}}
}

func past(then *projections.Past) books {
	return books{then, func(f projections.UsageFilter) iter.Seq2[projections.UsageRow, error] {
		return projections.ReadPastUsage(context.Background(), then, f)
	}}
}

// check compares all rows with what the events say.
func (w *world) check(t *testing.T, b books) {
	t.Helper()
	w.checkBalances(t, b)
	w.checkUsage(t, b)
	w.checkRequests(t, b)
}

// before is the world as it was before the event at the index.
func (w *world) before(index int) *world { return &world{events: w.events[:index]} }

// standing are the events that none supersedes, with the time of admission.
func (w *world) standing() map[domain.EventID]standing {
	all := map[domain.EventID]standing{}
	admitted := map[domain.EventID]time.Time{}
	maps.Copy(admitted, w.admitted)
	for i, e := range w.events {
		body, there := domain.CallOf(e.Body)
		if !there {
			continue
		}
		if _, known := admitted[e.ID]; !known && body.Supersedes.IsZero() {
			admitted[e.ID] = e.At
		}
		delete(all, body.Supersedes)
		all[e.ID] = standing{index: int64(i), id: e.ID, at: admitted[body.RequestID(e.ID)], RequestCompleted: body}
	}
	return all
}

type standing struct {
	index int64
	id    domain.EventID
	at    time.Time
	*domain.RequestCompleted
}

func (w *world) checkBalances(t *testing.T, b books) {
	t.Helper()
	type key struct {
		org      domain.OrgID
		currency domain.Currency
	}
	want := map[key]projections.Balance{}
	at := func(org domain.OrgID, c domain.Currency, change func(*projections.Balance)) {
		sum := want[key{org, c}]
		sum.Org, sum.Currency = org, c
		change(&sum)
		want[key{org, c}] = sum
	}
	for _, s := range w.standing() {
		at(s.Org, s.Private.Cost.Currency, func(b *projections.Balance) { b.Cost = b.Cost.Add(s.Private.Cost.Amount) })
		at(s.Org, s.Charge.Currency, func(b *projections.Balance) {
			b.Charge, b.Held = b.Charge.Add(s.Charge.Amount), b.Held.Add(s.Held)
			b.Calls++
		})
	}
	balances, err := projections.ReadBalances(t.Context(), b, domain.OrgID{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[key]projections.Balance{}
	for _, sum := range balances {
		sum.Incomplete = 0 // see TestParkedEventsMarkFigures
		zero := sum.Calls == 0 && sum.Cost.IsZero() && sum.Charge.IsZero() && sum.Held.IsZero()
		if _, wanted := want[key{sum.Org, sum.Currency}]; wanted || !zero { // a correction leaves zeros behind
			got[key{sum.Org, sum.Currency}] = sum
		}
	}
	if diff := cmp.Diff(want, got, decimals); diff != "" {
		t.Errorf("balances (-want +got):\n%s", diff)
	}
}

func (w *world) checkUsage(t *testing.T, b books) {
	t.Helper()
	type key struct {
		hour            time.Time
		org             domain.OrgID
		project         domain.ProjectID
		key             domain.KeyID
		model, provider string
		cost, charge    domain.Currency
	}
	keyOf := func(r projections.UsageRow) key {
		return key{r.Time, r.Org, r.Project, r.Key, r.Model, r.Provider, r.CostCurrency, r.ChargeCurrency}
	}
	want := map[key]projections.UsageRow{}
	for _, s := range w.standing() {
		r := projections.UsageRow{
			Time: s.at.Truncate(time.Hour), Org: s.Org, Project: s.Project, Key: s.Key, Model: s.Model,
			Provider: s.Private.Provider, CostCurrency: s.Private.Cost.Currency, ChargeCurrency: s.Charge.Currency,
		}
		if sum, ok := want[keyOf(r)]; ok {
			r = sum
		}
		r.Calls++
		switch s.Outcome {
		case domain.Unknown:
			r.Unknown++
		case domain.Broken, domain.ProviderError:
			r.Failed++
		}
		for m, n := range s.Usage {
			r.Meters[m] = r.Meters[m].Add(decimal.NewFromInt(n))
		}
		r.Cost, r.Charge, r.Held = r.Cost.Add(s.Private.Cost.Amount), r.Charge.Add(s.Charge.Amount), r.Held.Add(s.Held)
		want[keyOf(r)] = r
	}
	got := map[key]projections.UsageRow{}
	by := []projections.Dimension{projections.ByHour, projections.ByOrg, projections.ByProject, projections.ByKey, projections.ByModel, projections.ByProvider}
	for r, err := range b.usage(projections.UsageFilter{By: by}) {
		if err != nil {
			t.Fatal(err)
		}
		r.Incomplete = 0
		got[keyOf(r)] = r
	}
	if diff := cmp.Diff(want, got, decimals); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

func (w *world) checkRequests(t *testing.T, b books) {
	t.Helper()
	type row struct {
		ID, Event domain.EventID
		Index     int64
		At        time.Time
		Org       domain.OrgID
		Key       *domain.KeyID
		Model     string
		Outcome   domain.Outcome
		Input     *int64
		Charge    decimal.Decimal
		Held      decimal.NullDecimal
	}
	want := map[domain.EventID]row{}
	for _, s := range w.standing() {
		r := row{ID: s.RequestID(s.id), Event: s.id, Index: s.index, At: s.at, Org: s.Org, Model: s.Model, Outcome: s.Outcome, Charge: s.Charge.Amount}
		if !s.Key.IsZero() {
			r.Key = &s.Key
		}
		if n := s.Usage[domain.InputTokens]; n != 0 {
			r.Input = &n
		}
		r.Held = decimal.NullDecimal{Decimal: s.Held, Valid: !s.Held.IsZero()}
		want[r.ID] = r
	}
	rows, err := b.Query(t.Context(), `SELECT id, event_id, index, at, org_id, key_id, model, outcome, input, charge, held FROM projections.requests`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	got := map[domain.EventID]row{}
	for _, r := range all {
		r.At = r.At.UTC()
		got[r.ID] = r
	}
	if diff := cmp.Diff(want, got, decimals); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
