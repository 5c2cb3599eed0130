package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

// A replayer declares the flags of what it shows besides --at, checks them, and
// prints what it finds in the past.
type replayer struct {
	name  string
	flags func(*flag.FlagSet) replayPrinter
}

// replayPrinter prints the past at a moment.
type replayPrinter struct {
	check func() error // nil if there is nothing to check
	print func(ctx context.Context, inv invocation, at projections.Moment, then *projections.Past) error
}

// replayers are all, by name.
func replayers() []replayer {
	return []replayer{
		{"balances", replayBalances}, {"keys", replayKeys}, {"orgs", replayOrgs},
		{"prices", replayPrices}, {"requests", replayRequests}, {"usage", replayUsage},
	}
}

// replay shows balances, usage, keys … as they were.
func replay(ctx context.Context, inv invocation) error {
	all := replayers()
	i := -1
	if len(inv.args) > 0 {
		i = slices.IndexFunc(all, func(r replayer) bool { return r.name == inv.args[0] })
	}
	flags := newFlags(inv)
	text := flags.String("at", "", "the moment: an index, for every event with a lower one; or a date or a time in RFC 3339, for every event that was recorded until then (a date is its beginning, UTC)")
	data := dataFlag(flags)
	if i < 0 {
		if err := parse(flags, inv); err != nil {
			return err
		}
		return usageError{"manti replay: name first what to show: " + replayNames()}
	}
	printer := all[i].flags(flags)
	rest := inv
	rest.args = inv.args[1:]
	if err := parseFlags(flags, rest); err != nil {
		return err
	}
	find, err := parseMoment(*text)
	if err != nil {
		return usageError{"--at: " + err.Error()}
	}
	if printer.check != nil {
		if err := printer.check(); err != nil {
			return err
		}
	}
	p, _ := projections.Find(all[i].name)
	return withAuditor(ctx, inv, *data, func(pool *pgxpool.Pool) error {
		at, err := find(ctx, pool)
		if err != nil {
			return err
		}
		show := func(ctx context.Context, then *projections.Past) error {
			fmt.Fprintf(inv.io.err, "As of index %d, %s: as the ledger knew it then.\n", at.Index, recordedUntil(at))
			return printer.print(ctx, inv, at, then)
		}
		return projections.Replay(ctx, pool, at, show, foldProgress(inv, p.Name()), p)
	})
}

// withAuditor runs what only reads: for an auditor's login too, and without
// MANTI_SECRET.
func withAuditor(ctx context.Context, inv invocation, data string, work func(*pgxpool.Pool) error) error {
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(data)
	url, stop, err := findPostgres(ctx, cfg, slog.New(slog.NewTextHandler(inv.io.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer stop()
	pool, err := auditorPool(ctx, url, "manti replay", 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	switch err = work(pool); db.SQLState(err) {
	case undefinedTable:
		return fmt.Errorf("%w: this database isn't migrated, or not as far as this manti: see `manti migrate`", err)
	case noPrivilege:
		return fmt.Errorf("%w: replaying reads what is private in events, which takes a login that is a member of %s; %s isn't enough", err, db.RoleAuditor, db.RoleReader)
	}
	return err
}

// The SQLSTATEs of a relation that isn't there, and of one that the login may not
// read.
const (
	undefinedTable = "42P01"
	noPrivilege    = "42501"
)

func replayNames() string {
	var names []string
	for _, r := range replayers() {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ")
}

func recordedUntil(m projections.Moment) string {
	if m.Index == 0 {
		return "before the first event"
	}
	return "recorded until " + m.RecordedAt.Format(time.RFC3339Nano)
}

// parseMoment reads --at.
func parseMoment(text string) (func(context.Context, ledger.Querier) (projections.Moment, error), error) {
	if index, err := strconv.ParseInt(text, 10, 64); err == nil {
		return func(ctx context.Context, q ledger.Querier) (projections.Moment, error) {
			return projections.AtIndex(ctx, q, index)
		}, nil
	}
	at, err := parseWhen(text)
	if err != nil {
		return nil, fmt.Errorf("%w, nor an index", err)
	}
	if at.IsZero() {
		return nil, fmt.Errorf("as of which moment? An index, a date or a time")
	}
	return func(ctx context.Context, q ledger.Querier) (projections.Moment, error) {
		return projections.AtTime(ctx, q, at)
	}, nil
}

// replayFlags are those of most.
type replayFlags struct {
	asJSON *bool
	org    *string
	orgID  domain.OrgID
}

func declareReplayFlags(flags *flag.FlagSet) *replayFlags {
	return &replayFlags{
		asJSON: flags.Bool("json", false, "print JSON, an object a line"),
		org:    flags.String("org", "", "one organisation only, by its id"),
	}
}

func (f *replayFlags) check() error {
	if err := parseIDFlag(&f.orgID, *f.org); err != nil {
		return usageError{"--org: " + err.Error()}
	}
	return nil
}

func replayBalances(flags *flag.FlagSet) replayPrinter {
	f := declareReplayFlags(flags)
	return replayPrinter{f.check, func(ctx context.Context, inv invocation, _ projections.Moment, then *projections.Past) error {
		rows, err := projections.ReadBalances(ctx, then, f.orgID)
		if err != nil {
			return err
		}
		return printBalances(inv, rows, *f.asJSON)
	}}
}

func replayKeys(flags *flag.FlagSet) replayPrinter {
	f := declareReplayFlags(flags)
	all := flags.Bool("all", false, "also those that were revoked or expired by then")
	return replayPrinter{f.check, func(ctx context.Context, inv invocation, at projections.Moment, then *projections.Past) error {
		keys, err := projections.ListKeys(ctx, then, f.orgID)
		if err != nil {
			return err
		}
		return printKeys(inv, keys, keyListing{all: *all, asJSON: *f.asJSON, at: at.RecordedAt})
	}}
}

func replayUsage(flags *flag.FlagSet) replayPrinter {
	filter, finish := usageFlags(flags.String, "day,model")
	asJSON := flags.Bool("json", false, "print JSON, a row a line")
	return replayPrinter{finish, func(ctx context.Context, inv invocation, _ projections.Moment, then *projections.Past) error {
		return printUsage(inv, usageSource{*filter, projections.ReadPastUsage(ctx, then, *filter), func() ([]projections.Parked, error) {
			return projections.ReadParked(ctx, then, projections.Usage().Name())
		}}, *asJSON)
	}}
}

func replayOrgs(flags *flag.FlagSet) replayPrinter {
	asJSON := flags.Bool("json", false, "print JSON, an object a line")
	return replayPrinter{nil, func(ctx context.Context, inv invocation, _ projections.Moment, then *projections.Past) error {
		orgs, err := projections.ListOrgs(ctx, then)
		if err != nil {
			return err
		}
		l := newListing(inv, *asJSON, "ORGANISATION", "PROJECT", "NAME", "CREATED")
		for _, o := range orgs {
			project := ""
			if !o.Project.IsZero() {
				project = o.Project.String()
			}
			l.add(orgJSON(o), o.Org, project, o.Name, o.Created.Format(time.DateTime))
		}
		return l.end()
	}}
}

type orgJSON struct {
	Org     domain.OrgID     `json:"org"`
	Project domain.ProjectID `json:"project,omitzero"`
	Name    string           `json:"name,omitempty"`
	Created time.Time        `json:"created"`
}

func replayPrices(flags *flag.FlagSet) replayPrinter {
	asJSON := flags.Bool("json", false, "print JSON, an object a line")
	return replayPrinter{nil, func(ctx context.Context, inv invocation, _ projections.Moment, then *projections.Past) error {
		versions, err := projections.ListPriceVersions(ctx, then)
		if err != nil {
			return err
		}
		l := newListing(inv, *asJSON, "NUMBER", "VERSION", "PUBLISHED", "BY", "DIGEST")
		for _, v := range versions {
			l.add(priceVersionJSON(v), v.Number, v.ID, v.Published.Format(time.DateTime), v.By, v.Digest)
		}
		return l.end()
	}}
}

type priceVersionJSON struct {
	ID        domain.EventID `json:"version"`
	Number    int            `json:"number"`
	Digest    string         `json:"digest"`
	Builtin   bool           `json:"builtin"`
	Published time.Time      `json:"published"`
	By        string         `json:"by"`
	Index     int64          `json:"index"`
}

func replayRequests(flags *flag.FlagSet) replayPrinter {
	f := declareReplayFlags(flags)
	id, key := flags.String("id", "", "one call only, by its id"), flags.String("key", "", "one key only, by its id")
	from, to := flags.String("from", "", "calls admitted from this day or time on"), flags.String("to", "", "and before this one")
	var filter projections.RequestFilter
	check := func() (err error) {
		if err := f.check(); err != nil {
			return err
		}
		filter.Org = f.orgID
		if filter.From, filter.To, err = parseRange(*from, *to); err != nil {
			return err
		}
		if err := parseIDFlag(&filter.ID, *id); err != nil {
			return usageError{"--id: " + err.Error()}
		}
		if err := parseIDFlag(&filter.Key, *key); err != nil {
			return usageError{"--key: " + err.Error()}
		}
		return nil
	}
	return replayPrinter{check, func(ctx context.Context, inv invocation, _ projections.Moment, then *projections.Past) error {
		l := newListing(inv, *f.asJSON, "ID", "AT", "MODEL", "OUTCOME", "CHARGE", "CURRENCY", "COST", "HELD", "EVENT")
		for r, err := range projections.ReadRequests(ctx, then, filter) {
			if err != nil {
				return err
			}
			l.add(requestOf(r), r.ID, r.At.Format(time.DateTime), r.Model, r.Outcome, r.Charge.Amount, r.Charge.Currency, r.Cost.Amount, r.Held, r.Event)
		}
		parked, err := projections.ReadParked(ctx, then, projections.Requests().Name())
		if err == nil && len(parked) > 0 {
			warnIncomplete(inv, projections.Requests().Name())
		}
		if err != nil {
			return err
		}
		return l.end()
	}}
}

type requestJSON struct {
	ID             domain.EventID    `json:"id"`
	Event          domain.EventID    `json:"event"`
	Index          int64             `json:"index"`
	At             time.Time         `json:"at"`
	Org            domain.OrgID      `json:"org"`
	Project        domain.ProjectID  `json:"project"`
	Key            domain.KeyID      `json:"key,omitzero"`
	Model          string            `json:"model,omitempty"`
	Provider       string            `json:"provider,omitempty"`
	Outcome        domain.Outcome    `json:"outcome"`
	Usage          map[string]string `json:"usage,omitempty"`
	Cost           string            `json:"cost"`
	CostCurrency   domain.Currency   `json:"cost_currency"`
	Charge         string            `json:"charge"`
	ChargeCurrency domain.Currency   `json:"charge_currency"`
	Held           string            `json:"held,omitempty"`
}

func requestOf(r projections.RequestRow) requestJSON {
	j := requestJSON{
		ID: r.ID, Event: r.Event, Index: r.Index, At: r.At, Org: r.Org, Project: r.Project, Key: r.Key,
		Model: r.Model, Provider: r.Provider, Outcome: r.Outcome, Usage: map[string]string{},
		Cost: r.Cost.Amount.String(), CostCurrency: r.Cost.Currency, Charge: r.Charge.Amount.String(), ChargeCurrency: r.Charge.Currency,
	}
	for m, n := range r.Usage {
		if n != 0 {
			j.Usage[domain.Meter(m).String()] = strconv.FormatInt(int64(n), 10)
		}
	}
	if !r.Held.IsZero() {
		j.Held = r.Held.String()
	}
	return j
}

// listing is a table, or JSON.
type listing struct {
	table *tabwriter.Writer // nil for JSON
	json  *json.Encoder
	err   error
}

func newListing(inv invocation, asJSON bool, columns ...string) *listing {
	if asJSON {
		return &listing{json: json.NewEncoder(inv.io.out)}
	}
	l := &listing{table: tabwriter.NewWriter(inv.io.out, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(l.table, strings.Join(columns, "\t"))
	return l
}

func (l *listing) add(object any, cells ...any) {
	if l.table == nil {
		if l.err == nil {
			l.err = l.json.Encode(object)
		}
		return
	}
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(l.table, "\t")
		}
		fmt.Fprint(l.table, c)
	}
	fmt.Fprintln(l.table)
}

func (l *listing) end() error {
	if l.table == nil {
		return l.err
	}
	return l.table.Flush()
}
