package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// demo fills a database of its own with a month of plausible traffic.
func demo(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	data := flags.String("data", "", "the demo's data directory; demo in the usual one")
	calls := flags.Int("calls", 20000, "how many calls, 1 to 10000000")
	days := flags.Int("days", 30, "over how many days up to now, 1 to 366")
	seed := flags.Uint64("seed", 1, "what the traffic is made from: the same seed and end, the same traffic")
	until := flags.String("until", "", "when it ends, if not now: 2026-11-01, or a time in RFC 3339")
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if *calls < 1 || *calls > 10_000_000 || *days < 1 || *days > 366 {
		return usageError{"manti demo: --calls is from 1 to 10000000, --days from 1 to 366"}
	}
	end, err := parseWhen(*until)
	if err != nil {
		return usageError{"manti demo: --until: " + err.Error()}
	}
	if end.IsZero() {
		end = eventTime()
	}
	return withDemoDatabase(ctx, inv, *data, func(d database, dir string) error {
		if err := refuseOtherEvents(ctx, d); err != nil {
			return err
		}
		m, err := newMonth(*seed, *calls, *days, end)
		if err != nil {
			return err
		}
		if err := m.fill(ctx, d); err != nil {
			return err
		}
		if err := m.tidyUp(ctx, d); err != nil {
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
	first, err := ledger.Read(ctx, d.pool, 0, 1)
	switch {
	case err != nil:
		return fmt.Errorf("look at the ledger: %w", err)
	case len(first) == 0:
		return nil
	case first[0].Event.Author == demoAuthor:
		return errors.New("this ledger holds a demo already: name another --data, or look at it with `manti usage`")
	}
	return errors.New("this ledger holds events that are not the demo's: name another --data, or a DATABASE_URL with an empty database")
}

// month makes traffic.
type month struct {
	random *rand.Rand
	calls  int
	days   int
	begin  time.Time
	end    time.Time
	orgs   []demoOrg
	// books are the price versions by their publication.
	books []*demoBook
	story demoStory
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
	users  []domain.UserID // whose keys they are
	models []string
}

func newMonth(seed uint64, calls, days int, end time.Time) (*month, error) {
	m := &month{random: rand.New(rand.NewPCG(seed, seed)), calls: calls, days: days, begin: end.AddDate(0, 0, -days), end: end}
	if err := m.makeBooks(); err != nil {
		return nil, err
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
	m.plan()
	return m, nil
}

func (m *month) addOrg(name string, weight int, projects map[string][]string) {
	org := demoOrg{name: name, weight: weight, id: domain.DerivedID[domain.OrgID](time.UnixMilli(0), "demo org", name)}
	for _, project := range slices.Sorted(maps.Keys(projects)) {
		p := demoProject{name: project, id: domain.DerivedID[domain.ProjectID](time.UnixMilli(0), "demo project", name, project), models: projects[project]}
		for i := range 3 {
			p.keys = append(p.keys, domain.DerivedID[domain.KeyID](time.UnixMilli(0), "demo key", name, project, fmt.Sprint(i)))
			p.users = append(p.users, domain.DerivedID[domain.UserID](time.UnixMilli(0), "demo user", name, fmt.Sprint(i)))
		}
		org.projects = append(org.projects, p)
	}
	m.orgs = append(m.orgs, org)
}

// demoBatch is how many events are appended at once.
const demoBatch = 500

// fill appends the organisations and then the calls in the order of their time,
// with what operators did in between.
func (m *month) fill(ctx context.Context, d database) error {
	events := m.control()
	times := make([]time.Time, m.calls-1) // the straggler is one more
	for i := range times {
		times[i] = m.moment(m.begin)
	}
	slices.SortFunc(times, time.Time.Compare)
	for i, at := range times {
		events = append(events, m.due(at)...)
		events = append(events, m.call(i, at))
	}
	events = append(events, m.due(m.end)...)
	for part := range slices.Chunk(events, demoBatch) {
		batch := make([]domain.Encoded, len(part))
		for i := range part {
			var err error
			if batch[i], err = m.encode(part[i]); err != nil {
				return err
			}
		}
		if _, err := d.ledger.Append(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// control are the events that make organisations, projects and keys.
func (m *month) control() []domain.Event {
	var out []domain.Event
	add := func(author string, b domain.Body) {
		out = append(out, domain.Event{ID: m.id(m.begin), At: m.begin, Author: author, Body: b})
	}
	add(demoAuthor, m.books[0].body)
	m.books[0].book.Version = out[0].ID
	for _, o := range m.orgs {
		add(demoAuthor, &domain.OrgCreated{Org: o.id, Erasable: domain.Named{Name: o.name}})
		for _, p := range o.projects {
			add(demoAuthor, &domain.ProjectCreated{Org: o.id, Project: p.id, Erasable: domain.Named{Name: p.name}})
			for i, key := range p.keys {
				hash := sha256.Sum256(key[:])
				add(ada, &domain.KeyIssued{Org: o.id, Project: p.id, Key: key, User: p.users[i],
					Private:  domain.KeySecret{Hash: hex.EncodeToString(hash[:]), Hint: key.String()[32:]},
					Erasable: domain.Named{Name: demoKeyNames[i]}})
			}
		}
	}
	return out
}

// demoKeyNames are what a project's keys are for.
var demoKeyNames = [...]string{"production", "ci", "laptop"}

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

// call is one call as it might have been; nth counts from 0.
func (m *month) call(nth int, at time.Time) domain.Event {
	org := m.orgs[m.pick(func(i int) int { return m.orgs[i].weight }, len(m.orgs))]
	project := org.projects[m.random.IntN(len(org.projects))]
	book := m.bookAt(at)
	card := book.card(project.models[m.random.IntN(len(project.models))])
	key := m.story.usable(project, m.random.IntN(len(project.keys)), at)
	took := time.Duration(200+m.random.IntN(9000)) * time.Millisecond
	body := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Org: org.id, Project: project.id, Key: project.keys[key], User: project.users[key],
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
	m.use(body, card, book.book.Version, at)
	if m.isLost(nth) {
		loseDemoCall(body)
	}
	body.Private.Attempts = []domain.Attempt{{Provider: card.Provider, Host: "demo.invalid", Model: card.Name, Started: at, FirstByte: body.FirstByte, Ended: body.Ended, Status: body.Status, Usage: body.Usage, Cost: body.Private.Cost.Amount}}
	e := domain.Event{ID: m.id(at), At: at, Body: body}
	m.story.note(m, e)
	return e
}

// use decides how the call went and what it cost.
func (m *month) use(body *domain.RequestCompleted, card *domain.ModelCard, version domain.EventID, at time.Time) {
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
	bill := domain.BillFor(card, card, at, u, domain.Served{})
	bill.Cost.Version, bill.Charge.Version = version, version
	body.Usage, body.Private.Cost, body.Charge = domain.Metered(u), bill.Cost, bill.Charge
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
