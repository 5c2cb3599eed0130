package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

// correctFlags are what `manti correct` is given.
type correctFlags struct {
	rerate, bill, answer     string
	unknown, waive, estimate bool
	withCost, skip, apply    bool
	reason, data             string
	from, to, before         string
	org, key, model          string
	charge, cost             string
	meters                   [domain.MeterCount]int64
	given                    map[string]bool // flags that were given
	call                     string          // the one argument
}

// correct supersedes calls by what they should have been.
func correct(ctx context.Context, inv invocation) error {
	f, err := parseCorrect(inv)
	if err != nil {
		return err
	}
	return withDatabase(ctx, inv, f.data, func(d database) error {
		if f.answer != "" {
			return f.answerRejected(ctx, inv, d)
		}
		if err := d.catchUp(ctx, projections.Prices()); err != nil {
			return err
		}
		job, err := f.job(ctx, d)
		if err != nil {
			return err
		}
		return f.run(ctx, inv, d, job)
	})
}

func parseCorrect(inv invocation) (*correctFlags, error) {
	f := &correctFlags{given: map[string]bool{}}
	flags := newFlags(inv)
	f.define(flags)
	if err := parse(flags, inv); err != nil {
		return nil, err
	}
	flags.Visit(func(g *flag.Flag) { f.given[g.Name] = true })
	f.call = flags.Arg(0)
	if flags.NArg() > 1 {
		return nil, usageError{"manti correct: name one call; several have a filter (--rerate, --unknown) or a bill (--bill)"}
	}
	return f, f.check()
}

func (f *correctFlags) define(flags *flag.FlagSet) {
	flags.StringVar(&f.rerate, "rerate", "", "charge calls by this price `version`, a number or an id, as audit.price_history has them")
	flags.BoolVar(&f.unknown, "unknown", false, "settle calls whose end nobody knows, by --waive or --estimate")
	flags.StringVar(&f.bill, "bill", "", "go by a provider's bill: a CSV `file` with request_id or provider_request_id, meters, cost")
	flags.StringVar(&f.answer, "answer", "", "settle a record in ledger.rejected, by its `digest`: say with --reason what was done about it")
	flags.BoolVar(&f.waive, "waive", false, "with --unknown: the call costs and is charged nothing")
	flags.BoolVar(&f.estimate, "estimate", false, "with --unknown: it is charged what was held for it")
	flags.StringVar(&f.before, "before", "", "with --unknown: only calls admitted before this `time`")
	flags.StringVar(&f.from, "from", "", "with --rerate: only calls admitted from this `time` on")
	flags.StringVar(&f.to, "to", "", "with --rerate: only calls admitted before this `time`")
	flags.StringVar(&f.org, "org", "", "with --rerate or --unknown: only this organisation's calls, by `id`")
	flags.StringVar(&f.key, "key", "", "with --rerate or --unknown: only this key's calls, by `id`")
	flags.StringVar(&f.model, "model", "", "with --rerate or --unknown: only calls that this model served")
	flags.BoolVar(&f.withCost, "with-cost", false, "with --rerate: recompute what the provider takes too")
	flags.StringVar(&f.charge, "charge", "", "of one call: the `amount` charged; else it follows from the usage, by the call's own price version")
	flags.StringVar(&f.cost, "cost", "", "of one call: the `amount` that the provider takes; else likewise")
	for m := range domain.Meter(domain.MeterCount) {
		flags.Int64Var(&f.meters[m], meterFlag(m), 0, "of one call: its quantity of "+m.String())
	}
	flags.BoolVar(&f.skip, "skip", false, "leave out what can't be corrected, instead of doing nothing")
	flags.BoolVar(&f.apply, "apply", false, "do it; without, what would be done is shown")
	flags.StringVar(&f.reason, "reason", "", "why, for the auditor; no people's data: it stays for ever")
	flags.StringVar(&f.data, "data", "", "the data directory ($MANTI_DATA)")
}

func meterFlag(m domain.Meter) string { return strings.ReplaceAll(m.String(), "_", "-") }

// check refuses what makes no sense together.
func (f *correctFlags) check() error {
	modes := 0
	for _, given := range []bool{f.call != "", f.rerate != "", f.unknown, f.bill != "", f.answer != ""} {
		if given {
			modes++
		}
	}
	switch {
	case modes != 1:
		return usageError{"manti correct: name a call, or one of --rerate, --unknown, --bill and --answer"}
	case f.unknown && f.waive == f.estimate:
		return usageError{"manti correct --unknown: say --waive or --estimate"}
	case f.apply && strings.TrimSpace(f.reason) == "":
		return usageError{"manti correct --apply: say why with --reason"}
	case len(f.reason) > domain.MaxReason:
		return usageError{fmt.Sprintf("--reason is longer than %d bytes", domain.MaxReason)}
	}
	return f.checkStray()
}

// checkStray refuses flags that the kind of correction doesn't heed.
func (f *correctFlags) checkStray() error {
	only := map[string]bool{
		"waive": f.unknown, "estimate": f.unknown, "before": f.unknown,
		"from": f.rerate != "", "to": f.rerate != "", "with-cost": f.rerate != "",
		"org": f.rerate != "" || f.unknown, "key": f.rerate != "" || f.unknown, "model": f.rerate != "" || f.unknown,
		"charge": f.call != "", "cost": f.call != "", "skip": f.answer == "",
	}
	for m := range domain.Meter(domain.MeterCount) {
		only[meterFlag(m)] = f.call != ""
	}
	for name := range f.given {
		if heeded, is := only[name]; is && !heeded {
			return usageError{fmt.Sprintf("manti correct: --%s has no meaning here; `manti correct -h` says what it belongs to", name)}
		}
	}
	return nil
}

// A correctionJob is what is corrected, and how.
type correctionJob struct {
	amendment projections.Amendment
	// chosen may be gone through more than once.
	chosen iter.Seq2[[]int64, error]
	bill   *projections.ProviderBill
}

func (f *correctFlags) job(ctx context.Context, d database) (job correctionJob, err error) {
	job.amendment = projections.Amendment{Author: operator(), Reason: domain.CleanText(f.reason, domain.MaxReason)}
	filter, err := f.filter()
	if err != nil {
		return job, err
	}
	a, books := &job.amendment, projections.NewBooks(d.pool)
	switch {
	case f.rerate != "":
		version, err := f.priceVersion(ctx, d)
		if err != nil {
			return job, err
		}
		a.Basis, job.chosen = domain.Rerate, filter.Indexes(ctx, d.pool)
		a.Change, err = books.Rerate(ctx, version, f.withCost)
		return job, err
	case f.unknown:
		filter.Unsettled = true
		a.Basis, a.Change, job.chosen = domain.Waive, projections.Waive, filter.Indexes(ctx, d.pool)
		if f.estimate {
			a.Basis, a.Change = domain.Estimate, projections.Estimate
		}
		return job, nil
	case f.bill != "":
		if job.bill, err = readBill(f.bill); err != nil {
			return job, err
		}
		a.Basis, job.chosen = domain.FromProvider, job.bill.Indexes(ctx, d.pool)
		a.Change, err = books.Reconcile(ctx, job.bill)
		return job, err
	}
	index, figures, err := f.oneCall(ctx, d)
	if err != nil {
		return job, err
	}
	a.Basis, job.chosen = domain.Manual, projections.Batches([]int64{index})
	a.Change, err = books.Restate(ctx, figures)
	return job, err
}

func (f *correctFlags) filter() (c projections.CallFilter, err error) {
	if f.unknown {
		if c.To, err = parseWhen(f.before); err != nil {
			return c, usageError{"--before: " + err.Error()}
		}
	} else if c.From, c.To, err = parseRange(f.from, f.to); err != nil {
		return c, err
	}
	c.Model = f.model
	if err = parseIDFlag(&c.Org, f.org); err != nil {
		return c, usageError{"--org: " + err.Error()}
	}
	if err = parseIDFlag(&c.Key, f.key); err != nil {
		return c, usageError{"--key: " + err.Error()}
	}
	return c, nil
}

// priceVersion is the version that --rerate names by its number or id.
func (f *correctFlags) priceVersion(ctx context.Context, d database) (domain.EventID, error) {
	versions, err := projections.ListPriceVersions(ctx, d.pool)
	if err != nil {
		return domain.EventID{}, err
	}
	for _, v := range versions {
		if f.rerate == v.ID.String() || f.rerate == fmt.Sprint(v.Number) {
			return v.ID, nil
		}
	}
	return domain.EventID{}, usageError{fmt.Sprintf("--rerate: there is no price version %s; there are 1 to %d", f.rerate, len(versions))}
}

func readBill(name string) (*projections.ProviderBill, error) {
	if name == "-" {
		return projections.ReadBill(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the provider's bill: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	return projections.ReadBill(file)
}

// oneCall is where the call stands, and what is given of it.
func (f *correctFlags) oneCall(ctx context.Context, d database) (int64, projections.Figures, error) {
	figures := projections.Figures{Meters: map[domain.Meter]int64{}, Provenance: domain.Given}
	id, err := domain.ParseID[domain.EventID](f.call)
	if err != nil {
		return 0, figures, usageError{fmt.Sprintf("manti correct: %q is no call's id", f.call)}
	}
	for m := range domain.Meter(domain.MeterCount) {
		if f.given[meterFlag(m)] {
			figures.Meters[m] = f.meters[m]
		}
	}
	for _, a := range []struct {
		flag, text string
		into       **decimal.Decimal
	}{{"charge", f.charge, &figures.Charge}, {"cost", f.cost, &figures.Cost}} {
		if !f.given[a.flag] {
			continue
		}
		amount, err := projections.ParseAmount(a.text)
		if err != nil {
			return 0, figures, usageError{fmt.Sprintf("--%s %q: %v", a.flag, a.text, err)}
		}
		*a.into = &amount
	}
	if len(figures.Meters) == 0 && figures.Charge == nil && figures.Cost == nil {
		return 0, figures, usageError{"manti correct: say what the call should have been, as in --input 120 --output 40"}
	}
	index, err := projections.StandingCall(ctx, d.pool, id)
	return index, figures, err
}

// run shows what would be done, and does it if asked to.
func (f *correctFlags) run(ctx context.Context, inv invocation, d database, job correctionJob) error {
	table, err := projections.DryCorrect(ctx, d.pool, &job.amendment, job.chosen)
	if err != nil {
		return err
	}
	if job.bill != nil {
		printMissing(inv.io.out, job.bill)
	}
	printRefusals(inv.io.out, table)
	if table.Refused > 0 && !f.skip {
		return fmt.Errorf("%d calls can't be corrected so; --skip leaves them out", table.Refused)
	}
	if f.apply && table.Calls > 0 {
		if table, err = projections.Correct(ctx, d.ledger, &job.amendment, job.chosen); err != nil {
			fmt.Fprintf(inv.io.out, "%d calls were corrected before this failed; run it again to go on.\n", table.Calls)
			return err
		}
	}
	return printCorrections(inv.io.out, table, f.apply)
}

// answerRejected settles a record that the ledger couldn't take.
func (f *correctFlags) answerRejected(ctx context.Context, inv invocation, d database) error {
	digits := strings.ToLower(f.answer)
	if _, err := hex.DecodeString(digits[:len(digits)&^1]); err != nil || len(digits) < 8 || len(digits) > 64 {
		return usageError{"--answer: at least 8 hexadecimal digits of the record's digest; audit.rejected has them"}
	}
	r, err := projections.FindRejected(ctx, d.pool, digits)
	if err != nil {
		return err
	}
	fmt.Fprintf(inv.io.out, "%x, received %s, about %s: %s\n", r.Digest, r.Received.Format(time.RFC3339), r.ID, r.Reason)
	switch {
	case r.Answered:
		_, err = io.WriteString(inv.io.out, "It has been answered. Nothing to do.\n")
		return err
	case !f.apply:
		_, err = io.WriteString(inv.io.out, "Nothing was changed: --apply --reason TEXT answers it.\n")
		return err
	}
	err = d.command(ctx, func(ctx context.Context, tx pgx.Tx, now time.Time) ([]domain.Event, error) {
		return projections.DecideAnswer(ctx, tx, projections.AnswerRejection{Digest: r.Digest, At: now, Author: operator(), Cause: domain.CleanText(f.reason, domain.MaxReason)})
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(inv.io.out, "Answered.\n")
	return err
}
