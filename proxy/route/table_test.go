package route_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/host"
	"manti/proxy/host/wire"
	"manti/proxy/route"
)

func rates(pairs ...string) domain.Rates {
	r := domain.Rates{}
	for i := 0; i < len(pairs); i += 2 {
		r[pairs[i]] = decimal.RequireFromString(pairs[i+1])
	}
	return r
}

func card(provider, name string, kind domain.ModelKind, aliases ...string) domain.ModelCard {
	return domain.ModelCard{Provider: provider, Name: name, Aliases: aliases, Kind: kind, ContextLimit: 1000, OutputLimit: 100,
		Prices: []domain.ModelPrice{{Cost: domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: rates("input", "1", "output", "2")}}}}}}
}

func table(t *testing.T, sim bool) *route.Table {
	t.Helper()
	client, err := wire.New(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var hosts []*host.Host
	add := func(provider string, d dialect.Name) {
		h, err := host.New(host.Config{Provider: provider, Dialect: d, BaseURL: "http://127.0.0.1:1/v1", Client: client})
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	add("openai", dialect.OpenAI)
	if sim {
		add("sim", dialect.OpenAI)
		add("sim", dialect.Anthropic)
	}
	return route.New("v", &domain.PriceBook{Models: []domain.ModelCard{
		card("sim", "sim/fast", domain.ChatModel), card("openai", "gpt-4o", domain.ChatModel, "gpt-4o-2024-11-20"),
		card("openai", "embed", domain.EmbeddingModel), card("openai", "instruct", domain.CompletionModel),
		card("anthropic", "claude", domain.ChatModel), card("azure", "gpt-4o", domain.ChatModel),
	}}, hosts)
}

func TestPlan(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		sim      bool
		model    string
		endpoint dialect.Endpoint
		caller   dialect.Name
		want     string // provider and dialect of the target
		err      string // part of the message
	}{
		{"by name", true, "gpt-4o", dialect.ChatCompletions, dialect.OpenAI, "openai openai", ""},
		{"with the provider", true, "openai/gpt-4o", dialect.ChatCompletions, dialect.OpenAI, "openai openai", ""},
		{"by alias", true, "gpt-4o-2024-11-20", dialect.ChatCompletions, dialect.OpenAI, "openai openai", ""},
		{"from the other dialect", true, "gpt-4o", dialect.Messages, dialect.Anthropic, "openai openai", ""},
		{"the caller's dialect is preferred", true, "sim/fast", dialect.Messages, dialect.Anthropic, "sim anthropic", ""},
		{"and the other too", true, "sim/fast", dialect.ChatCompletions, dialect.OpenAI, "sim openai", ""},
		{"an embedding model", true, "embed", dialect.Embeddings, dialect.OpenAI, "openai openai", ""},
		{"a completion model", true, "instruct", dialect.Completions, dialect.OpenAI, "openai openai", ""},
		{"a chat model can't embed", true, "gpt-4o", dialect.Embeddings, dialect.OpenAI, "", "for chat"},
		{"count_tokens needs the dialect", true, "gpt-4o", dialect.CountTokens, dialect.Anthropic, "", "/v1/chat/completions"},
		{"not set up", true, "claude", dialect.Messages, dialect.Anthropic, "", "MANTI_PROVIDERS_ANTHROPIC_API_KEY"},
		{"not set up: what works", true, "claude", dialect.Messages, dialect.Anthropic, "", "sim/fast"},
		{"unknown", true, "nope", dialect.Messages, dialect.Anthropic, "", "`nope` isn't known"},
		{"unknown, without the simulator", false, "sim/fast", dialect.Messages, dialect.Anthropic, "", "GET /v1/models"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			plan, err := table(t, test.sim).Plan(test.model, test.endpoint, test.caller)
			if test.err != "" {
				if e, ok := errors.AsType[*domain.Error](err); !ok || !strings.Contains(e.Message, test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := plan[0].Host.Provider + " " + string(plan[0].Host.Dialect); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestPriceIsTheServedModels(t *testing.T) {
	t.Parallel()
	tb := table(t, true)
	e, _ := tb.Find("gpt-4o")
	for served, want := range map[string]struct {
		name  string
		known bool
	}{
		"": {"gpt-4o", true}, "gpt-4o": {"gpt-4o", true}, "gpt-4o-2024-11-20": {"gpt-4o", true}, "gpt-4o-2030-01-01": {"gpt-4o", true},
		"instruct": {"instruct", true}, "something": {"gpt-4o", false},
	} {
		card, known := tb.Price(e.Card, served)
		if card.Name != want.name || known != want.known {
			t.Errorf("served %q: got %s %v, want %s %v", served, card.Name, known, want.name, want.known)
		}
	}
}

// The dearest rates are those of any tier, variant and meter, and of what is
// charged rather than what it costs.
func TestDearest(t *testing.T) {
	t.Parallel()
	c := card("openai", "m", domain.ChatModel)
	c.Prices[0].Charge = &domain.PriceList{Currency: "EUR",
		Tiers:    []domain.RateTier{{Rates: rates("input", "1", "cache_write_1h", "4", "output", "2", "web_search", "9999999")}, {Over: 10, Rates: rates("input", "3", "output", "2", "reasoning", "8")}},
		Variants: []domain.RateVariant{{Tier: "priority", Tiers: []domain.RateTier{{Rates: rates("input", "3.5", "output", "7")}}}}}
	client, err := wire.New(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	h, err := host.New(host.Config{Provider: "openai", Dialect: dialect.OpenAI, BaseURL: "http://127.0.0.1:1", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := route.New("v", &domain.PriceBook{Models: []domain.ModelCard{c}}, []*host.Host{h}).Plan("m", dialect.ChatCompletions, dialect.OpenAI)
	if err != nil {
		t.Fatal(err)
	}
	d := plan[0].Dearest
	if d.Currency != "EUR" || d.Input.String() != "0.000004" || d.Output.String() != "0.000008" {
		t.Errorf("got %+v", d)
	}
}
