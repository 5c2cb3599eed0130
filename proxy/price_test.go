package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"manti/domain"
)

// serving answers every chat call as one of OpenAI's snapshots.
func serving(model string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"c","object":"chat.completion","created":1,"model":"` + model + `","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":0,"total_tokens":1000}}`))
	})
}

// The cost is the served model's, the charge what was published for the asked
// one.
func TestWhosePriceHolds(t *testing.T) {
	t.Parallel()
	list := func(rate string) domain.PriceList {
		return domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: domain.Rates{"input": decimal.RequireFromString(rate), "output": decimal.New(1, 0)}}}}
	}
	charged := list("9")
	tests := []struct {
		name         string
		asked        domain.ModelPrice
		snapshot     domain.ModelPrice
		cost, charge string
	}{
		{"nothing published", domain.ModelPrice{Cost: list("1")}, domain.ModelPrice{Cost: list("2")}, "0.002", "0.002"},
		{"published for the asked model", domain.ModelPrice{Cost: list("1"), Charge: &charged}, domain.ModelPrice{Cost: list("2")}, "0.002", "0.009"},
		{"published for both", domain.ModelPrice{Cost: list("1"), Charge: &charged}, domain.ModelPrice{Cost: list("2"), Charge: new(list("3"))}, "0.002", "0.009"},
		{"published for the snapshot only", domain.ModelPrice{Cost: list("1")}, domain.ModelPrice{Cost: list("2"), Charge: &charged}, "0.002", "0.009"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			book := &domain.PriceBook{Version: domain.EventID{9}, Models: []domain.ModelCard{
				{Provider: "openai", Name: "gpt-4o", Kind: domain.ChatModel, ContextLimit: 128000, OutputLimit: 4096, Prices: []domain.ModelPrice{test.asked}},
				{Provider: "openai", Name: "gpt-4o-2024-08-06", Kind: domain.ChatModel, ContextLimit: 128000, OutputLimit: 4096, Prices: []domain.ModelPrice{test.snapshot}},
			}}
			r := newRig(t, rigConfig{upstream: serving("gpt-4o-2024-08-06"), book: book})
			if got := r.post(chatPath, chat("gpt-4o", false)); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			r.recorder.mu.Lock()
			defer r.recorder.mu.Unlock()
			e := r.recorder.ended[0].Body.(*domain.RequestCompleted)
			if e.AskedModel != "gpt-4o" || e.Model != "gpt-4o-2024-08-06" || e.Private.Cost.Amount.String() != test.cost || e.Charge.Amount.String() != test.charge {
				t.Errorf("got %s for %s: cost %s, charge %s; want %s and %s", e.Model, e.AskedModel, e.Private.Cost.Amount, e.Charge.Amount, test.cost, test.charge)
			}
		})
	}
}

// A charge above the bound is recorded in full, and flagged.
func TestAChargeAboveTheBoundIsFlagged(t *testing.T) {
	t.Parallel()
	cheap := domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: domain.Rates{"input": decimal.New(1, -9), "output": decimal.New(1, -9)}}}}
	dear := domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: domain.Rates{"input": decimal.New(100, 0), "output": decimal.New(100, 0)}}}}
	book := &domain.PriceBook{Models: []domain.ModelCard{
		{Provider: "openai", Name: "gpt-4o", Kind: domain.ChatModel, ContextLimit: 1000, OutputLimit: 10, Prices: []domain.ModelPrice{{Cost: cheap}}},
		{Provider: "openai", Name: "gpt-dear", Kind: domain.ChatModel, ContextLimit: 1000, OutputLimit: 10, Prices: []domain.ModelPrice{{Cost: dear}}},
	}}
	r := newRig(t, rigConfig{upstream: serving("gpt-dear"), book: book})
	r.post(chatPath, chat("gpt-4o", false))
	e := r.recorder.ended[0].Body.(*domain.RequestCompleted)
	if e.Charge.Amount.String() != "0.1" || !strings.Contains(strings.Join(e.Private.Flags, " "), domain.FlagOverHold) || !strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("charge %s, flags %v", e.Charge.Amount, e.Private.Flags)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{})
	r.post(chatPath, chat("gpt-4o", false), "Manti-Tags", "team=red, env = prod,nonsense,=x, e=")
	got := r.only().Erasable.Tags
	if len(got) != 3 || got["team"] != "red" || got["env"] != "prod" || got["e"] != "" {
		t.Errorf("got %v", got)
	}
}
