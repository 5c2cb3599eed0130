package projections_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// shop is a ledger with two price versions and calls under the first.
type shop struct {
	*bench
	*world
	first, second *domain.PriceBook
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{bench: newBench(t), world: newWorld(3)}
	s.first = s.publish(t, 1, "2", "3", "old", "plain", "fast")
	s.second = s.publish(t, 2, "1.5", "2.5", "plain", "fast")
	s.catchUp(t, projections.Prices())
	return s
}

// publish prices models by their input; output costs four times as much.
func (s *shop) publish(t *testing.T, number int, cost, charge string, models ...string) *domain.PriceBook {
	t.Helper()
	list := func(input string) domain.PriceList {
		tiers := func(factor int64) []domain.RateTier {
			rate := dec(input).Mul(decimal.NewFromInt(factor))
			return []domain.RateTier{{Rates: domain.Rates{"input": rate, "output": rate.Mul(dec("4"))}}}
		}
		return domain.PriceList{Currency: domain.USD, Tiers: tiers(1), Variants: []domain.RateVariant{{Speed: "fast", Tiers: tiers(6)}}}
	}
	book := &domain.PriceBook{}
	for _, m := range models {
		charged := list(charge)
		book.Models = append(book.Models, domain.ModelCard{Provider: "openai", Name: m, Kind: domain.ChatModel, Prices: []domain.ModelPrice{{Cost: list(cost), Charge: &charged}}})
	}
	e := domain.Event{ID: newID[domain.EventID](s.world), At: s.clock, Author: "operator:root", Body: &domain.PricesPublished{Number: number, Digest: strings.Repeat("ab", 32), Private: book}}
	s.append(t, e)
	book.Version = e.ID
	return book
}

// sell makes a call of the model by the first book; speed isn't in the event.
func (s *shop) sell(model, speed string, input, output int64) domain.Event {
	e := s.call()
	body := e.Body.(*domain.RequestCompleted)
	body.Model, body.Private.Provider, body.Outcome, body.Held = model, "openai", domain.Completed, decimal.Zero
	body.Usage = domain.Metered{domain.InputTokens: input, domain.OutputTokens: output}
	body.Private.Attempts = []domain.Attempt{{Provider: "openai", Model: model, Started: e.At, RequestID: "req-" + e.ID.String()}}
	card := s.first.Find("openai", model)
	bill := domain.BillFor(card, card, e.At, domain.Usage(body.Usage), domain.ServedAs("", speed, ""))
	bill.Charge.Version, bill.Cost.Version = s.first.Version, s.first.Version
	body.Charge, body.Private.Cost = bill.Charge, bill.Cost
	return e
}

// lose makes a call whose end nobody knows.
func (s *shop) lose(held string) domain.Event {
	e := s.sell("plain", "", 0, 0)
	body := e.Body.(*domain.RequestCompleted)
	body.Outcome, body.Provenance, body.Held, body.Status = domain.Unknown, domain.NoUsage, dec(held), 0
	return e
}

func (s *shop) all(t *testing.T) iter.Seq2[[]int64, error] {
	return projections.CallFilter{}.Indexes(t.Context(), s.pool)
}

func (s *shop) amendment(basis domain.Basis, change projections.Change) *projections.Amendment {
	return &projections.Amendment{Basis: basis, Author: "operator:root", Reason: "a test", Change: change}
}

func (s *shop) rerate(t *testing.T, cost bool) *projections.Amendment {
	t.Helper()
	change, err := projections.NewBooks(s.pool).Rerate(t.Context(), s.second.Version, cost)
	if err != nil {
		t.Fatal(err)
	}
	return s.amendment(domain.Rerate, change)
}

// correct runs an amendment, and holds it against what was shown before.
func (s *shop) correct(t *testing.T, a *projections.Amendment, chosen iter.Seq2[[]int64, error]) *projections.CorrectionTable {
	t.Helper()
	before := s.size(t)
	shown, err := projections.DryCorrect(t.Context(), s.pool, a, chosen)
	if err != nil {
		t.Fatal(err)
	}
	if now := s.size(t); now != before {
		t.Errorf("showing what would be done appended %d events", now-before)
	}
	done, err := projections.Correct(t.Context(), s.ledger, a, chosen)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tableText(shown), tableText(done)); diff != "" {
		t.Errorf("what was done isn't what was shown (-shown +done):\n%s", diff)
	}
	if now := s.size(t); now != before+int64(done.Calls) {
		t.Errorf("%d events for %d corrections", now-before, done.Calls)
	}
	s.catchUp(t, money()...)
	s.checkInvariants(t)
	return done
}

func tableText(table *projections.CorrectionTable) []string {
	lines := []string{fmt.Sprint(table.Calls, " ", table.Refused)}
	for _, r := range table.Rows() {
		lines = append(lines, fmt.Sprint(r.Org, r.Project, r.Key, r.Model, r.Currency, " ", r.Calls, " ", r.Old, " ", r.New, " ", r.Difference()))
	}
	return lines
}

func (s *shop) size(t *testing.T) int64 {
	t.Helper()
	head, err := ledger.ReadHead(t.Context(), s.pool)
	if err != nil {
		t.Fatal(err)
	}
	return head.Size
}

// owed is the sum of charges, costs and held in the balances.
func (s *shop) owed(t *testing.T) (charge, cost, held string) {
	t.Helper()
	s.catchUp(t, projections.Balances())
	err := s.pool.QueryRow(t.Context(), `SELECT trim_scale(COALESCE(sum(charge), 0))::text, trim_scale(COALESCE(sum(cost), 0))::text, trim_scale(COALESCE(sum(held), 0))::text FROM projections.balances`).Scan(&charge, &cost, &held)
	if err != nil {
		t.Fatal(err)
	}
	return charge, cost, held
}

func (s *shop) checkOwed(t *testing.T, wantCharge, wantCost, wantHeld string) {
	t.Helper()
	if charge, cost, held := s.owed(t); charge != wantCharge || cost != wantCost || held != wantHeld {
		t.Errorf("charge %s, cost %s, held %s; want %s, %s, %s", charge, cost, held, wantCharge, wantCost, wantHeld)
	}
}

// standing is a call's event as it stands.
func (s *shop) standing(t *testing.T, id domain.EventID) (ledger.Entry, *domain.RequestCompleted) {
	t.Helper()
	index, err := projections.StandingCall(t.Context(), s.pool, id)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := ledger.ReadIndexes(t.Context(), s.pool, []int64{index})
	if err != nil {
		t.Fatal(err)
	}
	call, _ := domain.CallOf(entries[0].Event.Body)
	return entries[0], call
}

func TestRerate(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	one, quick := s.sell("plain", "", 1_000_000, 0), s.sell("fast", "fast", 1_000_000, 1_000_000)
	refused := s.sell("plain", "", 0, 0)
	refused.Body.(*domain.RequestCompleted).Outcome = domain.ProviderError
	s.append(t, one, quick, refused, s.lose("7"))
	s.checkOwed(t, "93", "62", "7")

	done := s.correct(t, s.rerate(t, false), s.all(t))
	if done.Calls != 2 || done.Refused != 0 {
		t.Errorf("%d calls corrected, %d refused", done.Calls, done.Refused)
	}
	s.checkOwed(t, "77.5", "62", "7")
	entry, call := s.standing(t, one.ID)
	c, ok := entry.Event.Body.(*domain.UsageCorrected)
	if !ok || c.Basis != domain.Rerate || c.Reason != "a test" || entry.Event.Author != "operator:root" || !entry.Event.At.Equal(one.At) ||
		call.Charge.Version != s.second.Version || call.Private.Cost.Version != s.first.Version || call.Supersedes != one.ID {
		t.Errorf("got %+v by %s at %s", entry.Event.Body, entry.Event.Author, entry.Event.At)
	}

	if again := s.correct(t, s.rerate(t, false), s.all(t)); again.Calls != 0 {
		t.Errorf("%d calls corrected the second time", again.Calls)
	}
	if cost := s.correct(t, s.rerate(t, true), s.all(t)); cost.Calls != 2 {
		t.Errorf("%d calls got another cost", cost.Calls)
	}
	s.checkOwed(t, "77.5", "46.5", "7")
}

func TestRerateNamesWhatItCannotPrice(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	gone, odd, good := s.sell("old", "", 100, 0), s.sell("plain", "", 100, 0), s.sell("plain", "", 100, 0)
	odd.Body.(*domain.RequestCompleted).Charge.Amount = dec("0.5") // of another model too, say
	abroad := s.sell("plain", "", 100, 0)
	abroad.Body.(*domain.RequestCompleted).Charge.Currency = domain.XTS
	s.append(t, gone, odd, good, abroad)
	done := s.correct(t, s.rerate(t, false), s.all(t))
	if done.Calls != 1 || done.Refused != 3 {
		t.Errorf("%d calls corrected, %d refused", done.Calls, done.Refused)
	}
	for i, want := range []struct {
		id  domain.EventID
		why string
	}{{gone.ID, "no price for openai/old"}, {odd.ID, "aren't its usage times the rates"}, {abroad.ID, "aren't its usage times the rates"}} {
		if r := done.Refusals[i]; r.Call != want.id || !strings.Contains(r.Err.Error(), want.why) {
			t.Errorf("refusal %d: %+v, want one of %s with %q", i, r, want.id, want.why)
		}
	}
}

func TestRerateChoosesCalls(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var events []domain.Event
	for i := range 40 {
		events = append(events, s.sell([]string{"plain", "fast"}[i%2], "", 1000, 10))
	}
	s.append(t, events...)
	at := func(i int) time.Time { return events[i].At }
	first := events[0].Body.(*domain.RequestCompleted)
	key, org := 0, 0
	for _, e := range events {
		call := e.Body.(*domain.RequestCompleted)
		if call.Key == first.Key {
			key++
		}
		if call.Org == first.Org {
			org++
		}
	}
	tests := []struct {
		name   string
		filter projections.CallFilter
		want   int
	}{
		{"all", projections.CallFilter{}, 40},
		{"a time", projections.CallFilter{From: at(10), To: at(20)}, 10},
		{"a model", projections.CallFilter{Model: "fast"}, 20},
		{"an organisation", projections.CallFilter{Org: first.Org}, org},
		{"a key", projections.CallFilter{Key: first.Key}, key},
		{"nothing", projections.CallFilter{From: at(39).Add(time.Hour)}, 0},
		{"what is unsettled", projections.CallFilter{Unsettled: true}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			table, err := projections.DryCorrect(t.Context(), s.pool, s.rerate(t, false), test.filter.Indexes(t.Context(), s.pool))
			if err != nil || table.Calls != test.want {
				t.Errorf("%d calls, want %d (%v)", table.Calls, test.want, err)
			}
		})
	}
}

// A correction that was interrupted goes on where it stopped.
func TestRerateIsInterrupted(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var events []domain.Event
	for range 2300 { // three batches
		events = append(events, s.sell("plain", "", 1_000_000, 0))
	}
	s.append(t, events...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := s.rerate(t, false)
	batches := 0
	chosen := func(yield func([]int64, error) bool) {
		for indexes, err := range s.all(t) {
			if batches++; batches == 3 {
				cancel()
			}
			if !yield(indexes, err) {
				return
			}
		}
	}
	done, err := projections.Correct(ctx, s.ledger, a, chosen)
	if !errors.Is(err, context.Canceled) || done.Calls != 2000 {
		t.Fatalf("%d calls corrected, error %v", done.Calls, err)
	}
	if rest := s.correct(t, s.rerate(t, false), s.all(t)); rest.Calls != 300 {
		t.Errorf("%d calls were left", rest.Calls)
	}
	s.checkOwed(t, "5750", "4600", "0")
}

// Whoever corrects a call first wins; the other finds it done, or corrects the
// correction.
func TestCorrectionsRace(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var events []domain.Event
	for range 200 {
		events = append(events, s.sell("plain", "", 1_000_000, 0))
	}
	s.append(t, events...)
	a := s.rerate(t, false)
	var mu sync.Mutex
	total := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var done *projections.CorrectionTable
			err := patiently(func() (err error) {
				done, err = projections.Correct(t.Context(), s.ledger, a, s.all(t))
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			total += done.Calls
		})
	}
	wg.Wait()
	if total != 200 || s.size(t) != 2+200+200 {
		t.Errorf("%d corrections, %d events", total, s.size(t))
	}
	s.checkOwed(t, "500", "400", "0")
}

// What was superseded between the choice and the head is left alone.
func TestCorrectLeavesWhatIsSuperseded(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.sell("plain", "", 1_000_000, 0)
	s.append(t, e)
	stale := projections.Batches([]int64{2})
	if done := s.correct(t, s.rerate(t, false), stale); done.Calls != 1 {
		t.Fatalf("%d corrections", done.Calls)
	}
	done, err := projections.Correct(t.Context(), s.ledger, s.rerate(t, false), stale)
	if err != nil || done.Calls != 0 || s.size(t) != 4 {
		t.Errorf("%d corrections, %d events: %v", done.Calls, s.size(t), err)
	}
}

func TestUnknownCallsAreSettled(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	old, young, simulated := s.lose("3"), s.lose("4"), s.lose("5")
	for _, price := range []*domain.Price{&simulated.Body.(*domain.RequestCompleted).Charge, &simulated.Body.(*domain.RequestCompleted).Private.Cost} {
		price.Currency = domain.XTS
	}
	s.append(t, old, young, s.sell("plain", "", 1_000_000, 0), simulated)
	unsettled := func(f projections.CallFilter) iter.Seq2[[]int64, error] {
		f.Unsettled = true
		return f.Indexes(t.Context(), s.pool)
	}
	if done := s.correct(t, s.amendment(domain.Waive, projections.Waive), unsettled(projections.CallFilter{To: young.At})); done.Calls != 1 {
		t.Errorf("%d calls waived", done.Calls)
	}
	s.checkOwed(t, "3", "2", "9")
	if done := s.correct(t, s.amendment(domain.Estimate, projections.Estimate), unsettled(projections.CallFilter{})); done.Calls != 2 {
		t.Errorf("%d calls estimated", done.Calls)
	}
	s.checkOwed(t, "12", "11", "0")
	for _, policy := range []projections.Change{projections.Waive, projections.Estimate} {
		if done := s.correct(t, s.amendment(domain.Waive, policy), unsettled(projections.CallFilter{})); done.Calls != 0 {
			t.Errorf("%d calls settled again", done.Calls)
		}
	}
	if _, call := s.standing(t, simulated.ID); call.Charge.Currency != domain.XTS || !call.Charge.Amount.Equal(dec("5")) || call.Outcome != domain.Unknown {
		t.Errorf("the simulator's call stands as %+v", call.RequestPublic)
	}
}

func TestRestateOneCall(t *testing.T) {
	t.Parallel()
	amount := func(s string) *decimal.Decimal { d := dec(s); return &d }
	tests := []struct {
		name         string
		figures      projections.Figures
		charge, cost string
		priced       bool   // both by the call's own version
		refused      string // "" if not
	}{
		{"another output", projections.Figures{Meters: map[domain.Meter]int64{domain.OutputTokens: 1_000_000}}, "15", "10", true, ""},
		{"only what is named", projections.Figures{Meters: map[domain.Meter]int64{domain.OutputTokens: 1_000_000}, Whole: true}, "12", "8", true, ""},
		{"an amount", projections.Figures{Charge: amount("0.5")}, "0.5", "2", false, ""},
		{"usage and an amount", projections.Figures{Meters: map[domain.Meter]int64{domain.InputTokens: 0}, Cost: amount("1")}, "0", "1", false, ""},
		{"a meter without a rate", projections.Figures{Meters: map[domain.Meter]int64{domain.WebSearches: 1}}, "3", "2", true, ""},
		{"a negative meter", projections.Figures{Meters: map[domain.Meter]int64{domain.InputTokens: -1}}, "", "", false, "can't be -1"},
		{"a negative amount", projections.Figures{Charge: amount("-1")}, "", "", false, "can't be -1"},
		{"too many decimals", projections.Figures{Charge: amount("0.0000000000000000001")}, "", "", false, "decimals"},
	}
	s := newShop(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := s.sell("plain", "", 1_000_000, 0)
			s.append(t, e)
			test.figures.Provenance = domain.Given
			change, err := projections.NewBooks(s.pool).Restate(t.Context(), test.figures)
			if err != nil {
				t.Fatal(err)
			}
			entry, _ := s.standing(t, e.ID)
			done := s.correct(t, s.amendment(domain.Manual, change), projections.Batches([]int64{entry.Index}))
			if test.refused != "" {
				if done.Refused != 1 || !strings.Contains(done.Refusals[0].Err.Error(), test.refused) {
					t.Errorf("got %+v, want a refusal with %q", done.Refusals, test.refused)
				}
				return
			}
			_, call := s.standing(t, e.ID)
			if done.Calls != 1 || !call.Charge.Amount.Equal(dec(test.charge)) || !call.Private.Cost.Amount.Equal(dec(test.cost)) {
				t.Errorf("%d corrections: charge %s, cost %s", done.Calls, call.Charge.Amount, call.Private.Cost.Amount)
			}
			if priced := call.Charge.Version == s.first.Version && call.Private.Cost.Version == s.first.Version; priced != test.priced {
				t.Errorf("both by their version: %t", priced)
			}
			entry, _ = s.standing(t, e.ID) // now the correction: corrected to the same, nothing changes
			if again := s.correct(t, s.amendment(domain.Manual, change), projections.Batches([]int64{entry.Index})); again.Calls != 0 {
				t.Errorf("%d corrections the second time", again.Calls)
			}
		})
	}
	if _, err := projections.StandingCall(t.Context(), s.pool, domain.EventID{1}); !isCode(err, domain.CodeNotFound) {
		t.Errorf("an unknown call: %v", err)
	}
}

func isCode(err error, code domain.Code) bool {
	e, ok := errors.AsType[*domain.Error](err)
	return ok && e.Code == code
}

func TestReconcileWithABill(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	equal, more, lost, cheap, other := s.sell("plain", "", 1_000_000, 0), s.sell("plain", "", 1_000_000, 0), s.lose("9"), s.sell("plain", "", 1_000_000, 0), s.sell("plain", "", 1, 0)
	s.append(t, equal, more, lost, cheap, other)
	text := "request_id,provider_request_id,input,output,cost\n" +
		fmt.Sprintf("%s,,1000000,,\n", equal.ID) +
		fmt.Sprintf(",req-%s,1000000,1000000,\n", more.ID) +
		fmt.Sprintf("%s,,1000000,0,\n", lost.ID) +
		fmt.Sprintf("%s,req-%s,1000000,0,1.99\n", cheap.ID, cheap.ID) +
		",nobody,5,,\n"
	bill, err := projections.ReadBill(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	change, err := projections.NewBooks(s.pool).Reconcile(t.Context(), bill)
	if err != nil {
		t.Fatal(err)
	}
	a := s.amendment(domain.FromProvider, change)
	if done := s.correct(t, a, bill.Indexes(t.Context(), s.pool)); done.Calls != 3 || done.Refused != 0 {
		t.Errorf("%d corrections, refused %+v", done.Calls, done.Refusals)
	}
	if diff := cmp.Diff([]string{"nobody"}, bill.Missing()); diff != "" || bill.Lines() != 5 {
		t.Errorf("%d lines, missing (-want +got):\n%s", bill.Lines(), diff)
	}
	s.checkOwed(t, "24.000003", "15.990002", "0")
	if _, call := s.standing(t, lost.ID); call.Provenance != domain.Reported || call.Usage[domain.InputTokens] != 1_000_000 {
		t.Errorf("the lost call stands as %+v", call.RequestPublic)
	}
	if done := s.correct(t, a, bill.Indexes(t.Context(), s.pool)); done.Calls != 0 {
		t.Errorf("%d corrections the second time", done.Calls)
	}
}

func TestBillsAreRefused(t *testing.T) {
	t.Parallel()
	id := domain.EventID{1}.String()
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "it is empty"},
		{"no name", "input\n5\n", "needs a column"},
		{"a misspelt meter", "request_id,inputs\n" + id + ",5\n", `"inputs"`},
		{"a column twice", "request_id,input,input\n", "twice"},
		{"no call", "request_id,input\n,5\n", "line 2: it names no call"},
		{"a call twice", "request_id\n" + id + "\n" + id + "\n", "line 3"},
		{"no id", "request_id\nx\n", "line 2"},
		{"no number", "request_id,input\n" + id + ",1.5\n", "line 2"},
		{"an exponent", "request_id,cost\n" + id + ",1e3\n", "line 2"},
		{"a slip of the keyboard", "request_id,cost\n" + id + ",1000000000000000000\n", "more than 18 digits"},
		{"a short line", "request_id,input\n" + id + "\n", "fields"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := projections.ReadBill(strings.NewReader(test.text))
			if !errors.Is(err, projections.ErrBill) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func FuzzReadBill(f *testing.F) {
	f.Add("request_id,provider_request_id,input,cost\n01a20320-a200-7464-a464-646464646464,req_1,10,0.5\n")
	f.Add("\ufeffprovider_request_id,output\n\"a,b\",7\n")
	f.Fuzz(func(t *testing.T, text string) {
		bill, err := projections.ReadBill(strings.NewReader(text))
		if err == nil && len(bill.Missing()) != bill.Lines() {
			t.Errorf("%d lines, of which %d are missing before anybody looked", bill.Lines(), len(bill.Missing()))
		}
	})
}

func TestRejectionsAreAnswered(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.sell("plain", "", 10, 0)
	s.append(t, e)
	e.Body.(*domain.RequestCompleted).AskedModel = "other"
	enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := s.ledger.Append(t.Context(), []domain.Encoded{enc}); err != nil || len(res.Rejected) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	digest := ""
	if err := s.pool.QueryRow(t.Context(), `SELECT encode(digest, 'hex') FROM ledger.rejected`).Scan(&digest); err != nil {
		t.Fatal(err)
	}
	r, err := projections.FindRejected(t.Context(), s.pool, digest[:8])
	if err != nil || r.ID != e.ID || r.Answered || fmt.Sprintf("%x", r.Digest) != digest {
		t.Fatalf("%+v, %v", r, err)
	}
	answer := projections.AnswerRejection{Digest: r.Digest, Author: "operator:root", Cause: "a test"}
	for i, want := range []int{1, 0} {
		if n := mustDecide(t, s.bench, answer, projections.DecideAnswer); n != want {
			t.Errorf("time %d: %d events", i, n)
		}
	}
	if r, err = projections.FindRejected(t.Context(), s.pool, digest); err != nil || !r.Answered {
		t.Errorf("%+v, %v", r, err)
	}
	entries, err := ledger.ReadControl(t.Context(), s.pool, 2, 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d control events, %v", len(entries), err)
	}
	body := entries[0].Event.Body.(*domain.RejectionAnswered)
	if body.Digest != digest || body.Cause != "a test" {
		t.Errorf("%+v", body)
	}
	if _, err := decide(t, s.bench, projections.AnswerRejection{Digest: [32]byte{1}, Cause: "x"}, projections.DecideAnswer); !isCode(err, domain.CodeNotFound) {
		t.Errorf("an unknown record: %v", err)
	}
	if _, err := decide(t, s.bench, projections.AnswerRejection{Digest: r.Digest}, projections.DecideAnswer); !isCode(err, domain.CodeInvalid) {
		t.Errorf("no cause: %v", err)
	}
	if _, err := projections.FindRejected(t.Context(), s.pool, "00000000000"); !isCode(err, domain.CodeNotFound) {
		t.Errorf("an unknown digest: %v", err)
	}
}
