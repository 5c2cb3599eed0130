package projections_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/projections"
)

func TestReadUsage(t *testing.T) {
	t.Parallel()
	b, w := newBench(t), newWorld(1)
	keys := []domain.KeyID{newID[domain.KeyID](w), newID[domain.KeyID](w)}
	first, second := domain.OrgID{1}, domain.OrgID{2}
	call := func(at string, org domain.OrgID, key domain.KeyID, model string, input int64) domain.Event {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		e := w.call()
		e.At = when.UTC()
		body, _ := domain.CallOf(e.Body)
		body.Org, body.Key, body.Model, body.Private.Provider = org, key, model, "p"
		body.Outcome, body.Held = domain.Completed, dec("0")
		body.Usage = domain.Metered{domain.InputTokens: input}
		body.Charge = domain.Price{Amount: dec("0.1"), Currency: domain.USD}
		body.Private.Cost = body.Charge
		return e
	}
	b.append(t,
		call("2026-01-31T23:59:59Z", first, keys[0], "a", 1),
		call("2026-02-01T00:00:00+05:30", first, keys[1], "a", 10), // January in UTC
		call("2026-02-01T00:00:00Z", first, keys[1], "b", 100),
		call("2026-02-28T12:30:00Z", second, keys[1], "a", 1000))
	b.catchUp(t, projections.Usage())
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	type sum struct {
		At     string
		Org    domain.OrgID
		Model  string
		Calls  int64
		Input  string
		Charge string
	}
	tests := []struct {
		name   string
		filter projections.UsageFilter
		want   []sum
	}{
		{"all in one", projections.UsageFilter{}, []sum{{Calls: 4, Input: "1111", Charge: "0.4"}}},
		{"by month", projections.UsageFilter{By: []projections.Dimension{projections.ByMonth}},
			[]sum{{At: "2026-01-01T00", Calls: 2, Input: "11", Charge: "0.2"}, {At: "2026-02-01T00", Calls: 2, Input: "1100", Charge: "0.2"}}},
		{"by hour, of a key", projections.UsageFilter{Key: keys[1], By: []projections.Dimension{projections.ByHour}},
			[]sum{{At: "2026-01-31T18", Calls: 1, Input: "10", Charge: "0.1"}, {At: "2026-02-01T00", Calls: 1, Input: "100", Charge: "0.1"}, {At: "2026-02-28T12", Calls: 1, Input: "1000", Charge: "0.1"}}},
		{"by model, in February", projections.UsageFilter{From: day("2026-02-01"), To: day("2026-03-01"), By: []projections.Dimension{projections.ByModel}},
			[]sum{{Model: "a", Calls: 1, Input: "1000", Charge: "0.1"}, {Model: "b", Calls: 1, Input: "100", Charge: "0.1"}}},
		{"to is exclusive", projections.UsageFilter{To: day("2026-02-01")}, []sum{{Calls: 2, Input: "11", Charge: "0.2"}}},
		{"by org, of a model", projections.UsageFilter{Model: "a", Provider: "p", By: []projections.Dimension{projections.ByOrg}},
			[]sum{{Org: first, Calls: 2, Input: "11", Charge: "0.2"}, {Org: second, Calls: 1, Input: "1000", Charge: "0.1"}}},
		{"nothing", projections.UsageFilter{Model: "c"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []sum
			for r, err := range projections.ReadUsage(t.Context(), b.pool, tt.filter) {
				if err != nil {
					t.Fatal(err)
				}
				s := sum{Org: r.Org, Model: r.Model, Calls: r.Calls, Input: r.Meters[domain.InputTokens].String(), Charge: r.Charge.String()}
				if !r.Time.IsZero() {
					s.At = r.Time.Format("2006-01-02T15")
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadUsageEndsEarly(t *testing.T) {
	t.Parallel()
	b, w := newBench(t), newWorld(1)
	for range 20 {
		b.append(t, w.call())
	}
	b.catchUp(t, projections.Usage())
	seen := 0
	for range projections.ReadUsage(t.Context(), b.pool, projections.UsageFilter{By: []projections.Dimension{projections.ByKey, projections.ByModel}}) {
		seen++
		break
	}
	for _, err := range projections.ReadUsage(t.Context(), b.pool, projections.UsageFilter{By: []projections.Dimension{"week"}}) {
		seen++
		if domain.ErrorOf(err).Code != domain.CodeInvalid {
			t.Errorf("an unknown dimension: %v", err)
		}
	}
	if seen != 2 {
		t.Errorf("%d rows", seen)
	}
	if n := b.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
}
