package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

// Who does what in the demo besides the traffic.
const (
	ada = "operator:ada" // finance
	ben = "operator:ben" // operations
)

// demoBook is a price version of the demo.
type demoBook struct {
	at     time.Time
	author string
	body   *domain.PricesPublished
	book   *domain.PriceBook
}

func (b *demoBook) card(name string) *domain.ModelCard {
	for i := range b.book.Models {
		if c := &b.book.Models[i]; c.Name == name || slices.Contains(c.Aliases, name) {
			return c
		}
	}
	panic("manti: the built-in prices lack " + name)
}

// mistypedModel is the one of which the second price version has a wrong price.
const mistypedModel = "gpt-4o-mini"

// makeBooks makes the built-in list, one in which a price was mistyped, and the
// one that put it right.
func (m *month) makeBooks() error {
	for i, v := range []struct {
		part   int64 // of the month that has passed, in percent
		author string
		factor string // by which customers pay more for mistypedModel
	}{{0, demoAuthor, "1"}, {50, ada, "12"}, {55, ada, "1.2"}} {
		book, err := projections.BuiltinPrices()
		if err != nil {
			return err
		}
		b := &demoBook{at: m.after(v.part), author: v.author, book: book}
		if i > 0 {
			markUpDemo(b.card(mistypedModel), decimal.RequireFromString(v.factor))
		}
		digest, err := projections.BookDigest(book)
		if err != nil {
			return err
		}
		b.body = &domain.PricesPublished{Number: i + 1, Digest: digest, Private: book}
		m.books = append(m.books, b)
	}
	return nil
}

// markUpDemo lets customers pay more than the provider takes.
func markUpDemo(card *domain.ModelCard, factor decimal.Decimal) {
	for i := range card.Prices {
		p := &card.Prices[i]
		charge := domain.PriceList{Currency: p.Cost.Currency}
		for _, t := range p.Cost.Tiers {
			rates := domain.Rates{}
			for meter, rate := range t.Rates {
				rates[meter] = rate.Mul(factor)
			}
			charge.Tiers = append(charge.Tiers, domain.RateTier{Over: t.Over, Rates: rates})
		}
		p.Charge = &charge
	}
}

// after is when so many percent of the month have passed.
func (m *month) after(percent int64) time.Time {
	return m.begin.Add(time.Duration(int64(m.end.Sub(m.begin)) / 100 * percent)).Truncate(time.Microsecond)
}

func (m *month) bookAt(at time.Time) *demoBook {
	book := m.books[0]
	for _, b := range m.books[1:] {
		if !b.at.After(at) {
			book = b
		}
	}
	return book
}

// demoStory is what happens besides the traffic, and what of the traffic it is
// about.
type demoStory struct {
	todo []demoDeed
	// revoked is the key that Ben takes away, at revokedAt.
	revoked   domain.KeyID
	revokedAt time.Time
	// disputed is a call that a customer doubts, mistyped one that was charged
	// by the wrong price.
	disputed, mistyped domain.EventID
	// sent is a call that is sent again with other content.
	sent domain.Event
}

// demoDeed is something that an operator does.
type demoDeed struct {
	at     time.Time
	author string
	body   domain.Body
	book   *demoBook // that it publishes
}

// plan says what is done during the month.
func (m *month) plan() {
	s := &m.story
	for _, b := range m.books[1:] {
		s.todo = append(s.todo, demoDeed{b.at, b.author, b.body, b})
	}
	org := m.orgs[1]
	project := org.projects[len(org.projects)-1]
	s.revoked, s.revokedAt = project.keys[2], m.after(60)
	s.todo = append(s.todo, demoDeed{at: s.revokedAt, author: ben, body: &domain.KeyRevoked{Org: org.id, Project: project.id, Key: s.revoked}})
}

// due are the deeds until then, each done once. A gateway that hasn't heard of a
// revocation yet lets one more call through.
func (m *month) due(until time.Time) []domain.Event {
	var events []domain.Event
	for len(m.story.todo) > 0 && !m.story.todo[0].at.After(until) {
		d := m.story.todo[0]
		m.story.todo = m.story.todo[1:]
		e := domain.Event{ID: m.id(d.at), At: d.at, Author: d.author, Body: d.body}
		if d.book != nil {
			d.book.book.Version = e.ID
		}
		events = append(events, e)
		if revoked, ok := d.body.(*domain.KeyRevoked); ok {
			events = append(events, m.straggler(revoked))
		}
	}
	return events
}

func (m *month) straggler(revoked *domain.KeyRevoked) domain.Event {
	e := m.call(-1, m.story.revokedAt.Add(400*time.Millisecond))
	body := e.Body.(*domain.RequestCompleted)
	body.Org, body.Project, body.Key = revoked.Org, revoked.Project, revoked.Key
	return e
}

// usable is the key, or the project's first one if it has been revoked.
func (s *demoStory) usable(p demoProject, key int, at time.Time) int {
	if p.keys[key] == s.revoked && !at.Before(s.revokedAt) {
		return 0
	}
	return key
}

// note remembers the calls that the story is about.
func (s *demoStory) note(m *month, e domain.Event) {
	body := e.Body.(*domain.RequestCompleted)
	if body.Outcome != domain.Completed || body.Usage[domain.OutputTokens] == 0 {
		return
	}
	if s.disputed.IsZero() {
		s.disputed, s.sent = e.ID, e
	}
	if s.mistyped.IsZero() && body.Charge.Version == m.books[1].book.Version && body.Model == m.books[1].card(mistypedModel).Name {
		s.mistyped = e.ID
	}
}

// lostCalls is how many calls of the month nobody knows the end of.
const lostCalls = 6

func (m *month) isLost(nth int) bool {
	step := max(m.calls/lostCalls, 2)
	return nth%step == step-1
}

// loseDemoCall makes of a call one that was cut off by the death of its gateway.
func loseDemoCall(body *domain.RequestCompleted) {
	body.Outcome, body.Status, body.Error, body.Provenance = domain.Unknown, 0, "", domain.NoUsage
	body.Usage, body.Ended, body.FirstByte = domain.Metered{}, time.Time{}, time.Time{}
	body.Held = body.Charge.Amount.Mul(decimal.NewFromInt(4)).Add(decimal.New(1, -2))
	body.Charge.Amount, body.Private.Cost.Amount = decimal.Zero, decimal.Zero
}

// tidyUp is what operators do about the month when it is over.
func (m *month) tidyUp(ctx context.Context, d database) error {
	if err := d.catchUp(ctx, projections.Prices()); err != nil {
		return err
	}
	for _, step := range []func(context.Context, database) error{m.rerate, m.waive, m.dispute, m.answer, m.forget} {
		if err := step(ctx, d); err != nil {
			return fmt.Errorf("correct the demo: %w", err)
		}
	}
	return nil
}

// rerate charges what was charged by the mistyped price by the right one.
func (m *month) rerate(ctx context.Context, d database) error {
	wrong, right := m.books[1], m.books[2]
	change, err := projections.NewBooks(d.pool).Rerate(ctx, right.book.Version, false)
	if err != nil {
		return err
	}
	a := &projections.Amendment{Basis: domain.Rerate, Author: ada, Reason: "version 2 had " + mistypedModel + " at ten times its price", Change: change}
	filter := projections.CallFilter{From: wrong.at, To: right.at, Model: wrong.card(mistypedModel).Name}
	_, err = projections.Correct(ctx, d.ledger, a, filter.Indexes(ctx, d.pool))
	return err
}

// waive settles the lost calls of the first two thirds.
func (m *month) waive(ctx context.Context, d database) error {
	a := &projections.Amendment{Basis: domain.Waive, Author: ben, Reason: "nobody knows how these calls ended", Change: projections.Waive}
	_, err := projections.Correct(ctx, d.ledger, a, projections.CallFilter{To: m.after(67), Unsettled: true}.Indexes(ctx, d.pool))
	return err
}

// dispute gives in to a customer, for two calls; one of them had been corrected.
func (m *month) dispute(ctx context.Context, d database) error {
	change, err := projections.NewBooks(d.pool).Restate(ctx, projections.Figures{Meters: map[domain.Meter]int64{domain.OutputTokens: 1}, Provenance: domain.Given})
	if err != nil {
		return err
	}
	a := &projections.Amendment{Basis: domain.Manual, Author: ada, Reason: "the customer showed that the answer was empty", Change: change}
	for _, id := range []domain.EventID{m.story.disputed, m.story.mistyped} {
		if id.IsZero() {
			continue
		}
		index, err := projections.StandingCall(ctx, d.pool, id)
		if err != nil {
			return err
		}
		if _, err := projections.Correct(ctx, d.ledger, a, projections.Batches([]int64{index})); err != nil {
			return err
		}
	}
	return nil
}

// answer settles a record that the ledger refused.
func (m *month) answer(ctx context.Context, d database) error {
	if m.story.sent.ID.IsZero() {
		return nil
	}
	again := *m.story.sent.Body.(*domain.RequestCompleted)
	again.AskedModel = "another model"
	e, err := m.encode(domain.Event{ID: m.story.sent.ID, At: m.story.sent.At, Body: &again})
	if err != nil {
		return err
	}
	if _, err := d.ledger.Append(ctx, []domain.Encoded{e}); err != nil {
		return err
	}
	r, err := projections.FindRejected(ctx, d.pool, "")
	if err != nil {
		return err
	}
	return d.command(ctx, func(ctx context.Context, tx pgx.Tx, now time.Time) ([]domain.Event, error) {
		return projections.DecideAnswer(ctx, tx, projections.AnswerRejection{Digest: r.Digest, At: now, Author: ben, Cause: "a test harness sent a call again with other content; the first one stands"})
	})
}

// forget erases whatever is known of one of the callers' users.
func (m *month) forget(ctx context.Context, d database) error {
	_, err := projections.Forget(ctx, d.ledger, d.pool, projections.Person{EndUser: "user-7"}, ben)
	return err
}
