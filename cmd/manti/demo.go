package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"manti/domain"
	"manti/projections"
)

// demo fills a database of its own with a month of plausible traffic.
func demo(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	data := flags.String("data", "", "the demo's data directory; demo in the usual one")
	calls := flags.Int("calls", 20000, "how many calls, 1 to 10000000")
	days := flags.Int("days", 30, "over how many days up to now, 1 to 366")
	seed := flags.Uint64("seed", 1, "what the traffic is made from: the same seed, the same traffic")
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if *calls < 1 || *calls > 10_000_000 || *days < 1 || *days > 366 {
		return usageError{"manti demo: --calls is from 1 to 10000000, --days from 1 to 366"}
	}
	return withDemoDatabase(ctx, inv, *data, func(d database, dir string) error {
		if err := refuseOtherEvents(ctx, d); err != nil {
			return err
		}
		m, err := newMonth(*seed, *calls, *days)
		if err != nil {
			return err
		}
		if err := m.fill(ctx, d); err != nil {
			return err
		}
		for _, p := range projections.All() {
			if err := d.catchUp(ctx, p); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(inv.io.out, "%d calls over %d days are in the demo's ledger. Look at them with\n\n  manti usage%s --by day,model\n  manti balances%s\n", *calls, *days, dir, dir)
		return err
	})
}

// demoAuthor writes the demo's control events; its calls have the config
// version demoConfig.
const (
	demoAuthor = "system:demo"
	demoConfig = "demo"
)

// refuseOtherEvents keeps invented calls out of real books.
func refuseOtherEvents(ctx context.Context, d database) error {
	const query = `SELECT count(*) FILTER (WHERE NOT ours), count(*) FROM (
		SELECT COALESCE(author = $1 OR config_version = $2, false) AS ours FROM ledger.events LIMIT 100000) e`
	var other, all int64
	if err := d.pool.QueryRow(ctx, query, demoAuthor, demoConfig).Scan(&other, &all); err != nil {
		return fmt.Errorf("look at the ledger: %w", err)
	}
	switch {
	case other > 0:
		return errors.New("this ledger holds events that are not the demo's: name another --data, or a DATABASE_URL with an empty database")
	case all > 0:
		return errors.New("this ledger holds a demo already: name another --data, or look at it with `manti usage`")
	}
	return nil
}

// month makes traffic.
type month struct {
	random *rand.Rand
	calls  int
	days   int
	end    time.Time
	book   *domain.PriceBook
	cards  []*domain.ModelCard
	orgs   []demoOrg
}

// demoOrg is an organisation with what its people use.
type demoOrg struct {
	name     string
	id       domain.OrgID
	projects []demoProject
	weight   int
}

type demoProject struct {
	name   string
	id     domain.ProjectID
	keys   []domain.KeyID
	models []string
}

func newMonth(seed uint64, calls, days int) (*month, error) {
	book, err := projections.BuiltinPrices()
	if err != nil {
		return nil, err
	}
	m := &month{random: rand.New(rand.NewPCG(seed, seed)), calls: calls, days: days, end: eventTime(), book: book}
	for i := range book.Models {
		m.cards = append(m.cards, &book.Models[i])
	}
	for _, o := range []struct {
		name     string
		weight   int
		projects map[string][]string
	}{
		{"Acme Robotics", 5, map[string][]string{"assistant": {"gpt-4o", "gpt-4o-mini"}, "code review": {"claude-3-5-sonnet-20241022"}}},
		{"Globex Travel", 3, map[string][]string{"support": {"gpt-4o-mini", "claude-3-5-haiku-20241022"}, "search": {"text-embedding-3-small"}}},
		{"Initech", 1, map[string][]string{"reports": {"gpt-4-turbo", "claude-3-opus-20240229"}}},
	} {
		m.addOrg(o.name, o.weight, o.projects)
	}
	return m, nil
}

func (m *month) addOrg(name string, weight int, projects map[string][]string) {
	org := demoOrg{name: name, weight: weight, id: domain.DerivedID[domain.OrgID](time.UnixMilli(0), "demo org", name)}
	for _, project := range slices.Sorted(maps.Keys(projects)) {
		p := demoProject{name: project, id: domain.DerivedID[domain.ProjectID](time.UnixMilli(0), "demo project", name, project), models: projects[project]}
		for i := range 3 {
			p.keys = append(p.keys, domain.DerivedID[domain.KeyID](time.UnixMilli(0), "demo key", name, project, fmt.Sprint(i)))
		}
		org.projects = append(org.projects, p)
	}
	m.orgs = append(m.orgs, org)
}

// demoBatch is how many events are appended at once.
const demoBatch = 500

// fill appends the organisations and then the calls in the order of their time.
func (m *month) fill(ctx context.Context, d database) error {
	begin := m.end.AddDate(0, 0, -m.days)
	control, err := m.control(begin)
	if err != nil {
		return err
	}
	times := make([]time.Time, m.calls)
	for i := range times {
		times[i] = m.moment(begin)
	}
	slices.SortFunc(times, time.Time.Compare)
	batch := control
	for _, at := range times {
		e, err := m.encode(m.call(at))
		if err != nil {
			return err
		}
		if batch = append(batch, e); len(batch) >= demoBatch {
			if _, err := d.ledger.Append(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	_, err = d.ledger.Append(ctx, batch)
	return err
}

// control are the events that make organisations, projects and prices.
func (m *month) control(at time.Time) ([]domain.Encoded, error) {
	digest, err := projections.BookDigest(m.book)
	if err != nil {
		return nil, err
	}
	bodies := []domain.Body{&domain.PricesPublished{Number: 1, Digest: digest, Private: m.book}}
	for _, o := range m.orgs {
		bodies = append(bodies, &domain.OrgCreated{Org: o.id, Erasable: domain.Named{Name: o.name}})
		for _, p := range o.projects {
			bodies = append(bodies, &domain.ProjectCreated{Org: o.id, Project: p.id, Erasable: domain.Named{Name: p.name}})
		}
	}
	var out []domain.Encoded
	for _, b := range bodies {
		e, err := m.encode(domain.Event{ID: m.id(at), At: at, Author: demoAuthor, Body: b})
		if err != nil {
			return nil, err
		}
		if m.book.Version.IsZero() {
			m.book.Version = e.ID
		}
		out = append(out, e)
	}
	return out, nil
}

// moment is a time in the month: more by day than by night, less at weekends.
func (m *month) moment(begin time.Time) time.Time {
	for {
		t := begin.Add(time.Duration(m.random.Int64N(int64(m.end.Sub(begin))))).Truncate(time.Microsecond)
		likely := 3
		if h := t.Hour(); h >= 8 && h < 19 {
			likely = 10
		}
		if d := t.Weekday(); d == time.Saturday || d == time.Sunday {
			likely /= 3
		}
		if m.random.IntN(10) < likely {
			return t
		}
	}
}

// call is one call as it might have been.
func (m *month) call(at time.Time) domain.Event {
	org := m.orgs[m.pick(func(i int) int { return m.orgs[i].weight }, len(m.orgs))]
	project := org.projects[m.random.IntN(len(org.projects))]
	card := m.card(project.models[m.random.IntN(len(project.models))])
	took := time.Duration(200+m.random.IntN(9000)) * time.Millisecond
	body := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Org: org.id, Project: project.id, Key: project.keys[m.random.IntN(len(project.keys))],
			Dialect: "openai", Endpoint: "chat.completions", Stream: m.random.IntN(3) > 0, AskedModel: card.Name, Model: card.Name,
			FirstByte: at.Add(took / 5).Truncate(time.Microsecond), Ended: at.Add(took).Truncate(time.Microsecond), Outcome: domain.Completed, Status: 200, Provenance: domain.Reported,
		},
		Private:  domain.RequestPrivate{Provider: card.Provider, Host: "demo.invalid", ConfigVersion: demoConfig, Replica: "demo"},
		Erasable: domain.RequestErasable{EndUser: fmt.Sprintf("user-%d", m.random.IntN(40)), Client: "demo"},
	}
	switch {
	case card.Kind == domain.EmbeddingModel:
		body.Endpoint, body.Stream = "embeddings", false
	case card.Provider == "anthropic":
		body.Dialect, body.Endpoint = "anthropic", "messages"
	}
	m.use(body, card, at)
	body.Private.Attempts = []domain.Attempt{{Provider: card.Provider, Host: "demo.invalid", Model: card.Name, Started: at, FirstByte: body.FirstByte, Ended: body.Ended, Status: body.Status, Usage: body.Usage, Cost: body.Private.Cost.Amount}}
	return domain.Event{ID: m.id(at), At: at, Body: body}
}

// use decides how the call went and what it cost.
func (m *month) use(body *domain.RequestCompleted, card *domain.ModelCard, at time.Time) {
	var u domain.Usage
	switch chance := m.random.IntN(100); {
	case chance < 2:
		body.Outcome, body.Status, body.Error, body.Provenance = domain.ProviderError, 429, domain.CodeRateLimited, domain.NoUsage
	case chance < 4:
		body.Outcome = domain.CallerGone
		fallthrough
	default:
		u[domain.InputTokens] = 20 + int64(m.random.ExpFloat64()*900)
		if card.Kind == domain.ChatModel {
			u[domain.OutputTokens] = 5 + int64(m.random.ExpFloat64()*250)
			if m.random.IntN(4) == 0 {
				u[domain.CacheReadTokens] = 1024 + int64(m.random.IntN(3000))
			}
		}
	}
	price := card.At(at)
	body.Usage = domain.Metered(u)
	body.Private.Cost = domain.Price{Currency: price.Cost.Currency, Version: m.book.Version}
	body.Private.Cost.Amount, _ = price.Cost.Amount(u, domain.Served{})
	list := price.ChargeList()
	body.Charge = domain.Price{Currency: list.Currency, Version: m.book.Version}
	body.Charge.Amount, _ = list.Amount(u, domain.Served{})
}

func (m *month) card(name string) *domain.ModelCard {
	for _, c := range m.cards {
		if c.Name == name || slices.Contains(c.Aliases, name) {
			return c
		}
	}
	panic("manti: the built-in prices lack " + name)
}

// pick draws an index by weight.
func (m *month) pick(weight func(int) int, n int) int {
	total := 0
	for i := range n {
		total += weight(i)
	}
	at := m.random.IntN(total)
	for i := range n {
		if at -= weight(i); at < 0 {
			return i
		}
	}
	return n - 1
}

func (m *month) id(at time.Time) domain.EventID {
	var random [10]byte
	for i := range random {
		random[i] = byte(m.random.Uint32())
	}
	return domain.NewID[domain.EventID](at, random)
}

func (m *month) encode(e domain.Event) (domain.Encoded, error) {
	var salts [2]domain.Salt
	for i := range salts {
		for j := range salts[i] {
			salts[i][j] = byte(m.random.Uint32())
		}
	}
	return domain.Encode(e, salts[0], salts[1])
}
