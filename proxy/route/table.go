// Package route decides where a call goes: from the model that it asks for to
// the targets to try, in order. It is pure: what is configured and what time it
// is come in, a plan comes out.
package route

import (
	"fmt"
	"slices"
	"strings"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/host"
)

// Target is one way to serve a call.
type Target struct {
	Host  *host.Host
	Model *domain.ModelCard
	// Dearest bounds the charge of any call to Model.
	Dearest Dearest
}

// Entry is one model that can be asked for.
type Entry struct {
	// Name is the model's name in the catalogue.
	Name string
	Card *domain.ModelCard
	// hosts are the ways to the provider, one per dialect that it speaks.
	hosts   []*host.Host
	dearest Dearest
}

// Table is an immutable set of routes. The zero value has none.
type Table struct {
	// Version names the routes in events.
	Version string
	// Book is the price book that calls are priced by.
	Book *domain.PriceBook

	entries   []*Entry
	byName    map[string]*Entry
	known     map[string]*domain.ModelCard // in the book, set up or not
	hint      string                       // a simulated model that can be called, for errors
	simulated string                       // one that could be
}

// SimProvider is the name of the simulated provider. All its models' names
// begin with it.
const SimProvider = "sim"

// New makes the routes of all the book's models whose provider has a host.
func New(version string, book *domain.PriceBook, hosts []*host.Host) *Table {
	t := &Table{Version: version, Book: book, byName: map[string]*Entry{}, known: map[string]*domain.ModelCard{}}
	byProvider := map[string][]*host.Host{}
	for _, h := range hosts {
		byProvider[h.Provider] = append(byProvider[h.Provider], h)
	}
	for i := range book.Models {
		card := &book.Models[i]
		if card.Provider == SimProvider && t.simulated == "" {
			t.simulated = card.Name
		}
		for _, name := range names(card) {
			if t.known[name] == nil {
				t.known[name] = card
			}
		}
		if hosts := byProvider[card.Provider]; len(hosts) > 0 {
			t.add(card, hosts)
		}
	}
	return t
}

func (t *Table) add(card *domain.ModelCard, hosts []*host.Host) {
	all := names(card)
	e := &Entry{Name: all[0], Card: card, hosts: hosts, dearest: dearest(card)}
	t.entries = append(t.entries, e)
	for _, name := range all {
		if t.byName[name] == nil {
			t.byName[name] = e
		}
	}
	if card.Provider == SimProvider && t.hint == "" {
		t.hint = e.Name
	}
}

// names are all names by which a model is asked for, the first one being the
// one that it is listed by.
func names(card *domain.ModelCard) []string {
	var out []string
	for _, n := range append([]string{card.Name}, card.Aliases...) {
		out = append(out, n)
		if prefix := card.Provider + "/"; !strings.HasPrefix(n, prefix) {
			out = append(out, prefix+n)
		}
	}
	return out
}

// Entries are the models that can be called, by name.
func (t *Table) Entries() []*Entry {
	return slices.SortedFunc(slices.Values(t.entries), func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
}

// Find is the entry of a model that can be called.
func (t *Table) Find(model string) (*Entry, bool) {
	e, ok := t.byName[model]
	return e, ok
}

// Plan is the targets for a call, in the order to try them. The error is a
// *domain.Error that says what to do.
func (t *Table) Plan(model string, endpoint dialect.Endpoint, caller dialect.Name) ([]Target, error) {
	e, ok := t.byName[model]
	if !ok {
		return nil, t.unknown(model)
	}
	if err := serves(e.Card, endpoint); err != nil {
		return nil, err
	}
	h := e.hosts[0]
	for _, other := range e.hosts {
		if other.Dialect == caller {
			h = other
		}
	}
	if h.Dialect != caller && !translated(endpoint) {
		return nil, domain.Invalid("model", fmt.Sprintf("%s is served by a provider without this endpoint; it can be called through /v1/chat/completions and /v1/messages.", e.Name))
	}
	return []Target{{Host: h, Model: e.Card, Dearest: e.dearest}}, nil
}

// translated reports whether calls to the endpoint can go to a provider of
// another dialect.
func translated(e dialect.Endpoint) bool {
	return e == dialect.ChatCompletions || e == dialect.Messages
}

func serves(card *domain.ModelCard, endpoint dialect.Endpoint) error {
	want := domain.ChatModel
	switch endpoint {
	case dialect.Embeddings:
		want = domain.EmbeddingModel
	case dialect.Completions:
		want = domain.CompletionModel
		if card.Provider == SimProvider {
			want = card.Kind
		}
	}
	if card.Kind == want {
		return nil
	}
	return domain.Invalid("model", fmt.Sprintf("%s is a model for %s, not for this endpoint.", card.Name, card.Kind))
}

// unknown says why a model can't be called and what can.
func (t *Table) unknown(model string) error {
	var msg string
	if card, ok := t.known[model]; ok {
		msg = fmt.Sprintf("The model %s is known but its provider isn't set up: set %s and restart manti.", quote(model), host.KeyVariable(card.Provider))
	} else {
		msg = fmt.Sprintf("The model %s isn't known.", quote(model))
	}
	if t.hint != "" {
		msg += fmt.Sprintf(" The simulator's %s works without a key.", t.hint)
	} else if t.simulated != "" {
		msg += fmt.Sprintf(" With MANTI_SIM=1 the simulator's %s works without a key.", t.simulated)
	}
	return &domain.Error{Code: domain.CodeNotFound, Field: "model", Message: msg + " GET /v1/models lists what can be called."}
}

// quote shows a caller's string in a message, cut to a sensible length.
func quote(s string) string { return "`" + domain.CleanText(s, 100) + "`" }

// Price is what a call to the provider's model costs: the card of the model
// that served, if the catalogue has it, else the asked one's.
func (t *Table) Price(target *domain.ModelCard, served string) (card *domain.ModelCard, known bool) {
	if served == "" || served == target.Name || slices.Contains(target.Aliases, served) {
		return target, true
	}
	if c, ok := t.known[target.Provider+"/"+strings.TrimPrefix(served, target.Provider+"/")]; ok {
		return c, true
	}
	return target, strings.HasPrefix(served, target.Name)
}
