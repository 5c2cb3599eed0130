package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/term"

	"manti/db"
	checks "manti/ledger/verify"
	"manti/projections"
)

// Exit statuses of verify, besides 0 and that of a usage error.
const (
	statusWrong     = 1 // something isn't what it must be
	statusNotProven = 3 // nothing is, but an older copy can't be excluded
)

// verifyOptions are verify's flags.
type verifyOptions struct {
	cfg         checks.Config
	against     string
	key         string
	spools      string
	projections bool
	json        bool
	data        string
}

// verify recomputes the whole ledger and says what isn't what it must be. With
// --receipt it checks a receipt instead, and needs no ledger.
func verify(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	var o verifyOptions
	receipt := flags.String("receipt", "", "check this receipt instead, offline; - is standard input")
	flags.StringVar(&o.key, "key", "", "the verifier keys that may have signed, separated by commas; those of MANTI_SEAL_KEY and MANTI_SEAL_OLD_KEYS by default")
	flags.StringVar(&o.against, "against", "", "a signed checkpoint from outside the database: a file, the directory that MANTI_CHECKPOINTS names, or a URL; that directory by default")
	since := flags.String("since", "", "check everything only from this index, date or time on; of events before, what is stored goes into the tree")
	sample := flags.String("sample", "", "check everything only of this many events (1000) or this part (5%), chosen at random")
	flags.StringVar(&o.spools, "spool", "", "directories of spools whose shipped records must be in the ledger, separated by commas; this machine's by default")
	flags.BoolVar(&o.projections, "projections", true, "fold all projections anew and compare them")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if *receipt != "" {
		return verifyReceipt(inv.io.out, *receipt, o.key)
	}
	if err := o.parse(*since, *sample); err != nil {
		return err
	}
	o.data = *data
	return o.run(ctx, inv)
}

// parse reads --since and --sample.
func (o *verifyOptions) parse(since, sample string) error {
	if since != "" && sample != "" {
		return usageError{"manti verify: --since and --sample exclude each other"}
	}
	if index, err := strconv.ParseInt(since, 10, 64); err == nil && index >= 0 {
		o.cfg.Since = index
	} else if o.cfg.SinceTime, err = parseWhen(since); err != nil {
		return usageError{"--since: " + err.Error() + ", nor an index"}
	}
	part, percent := strings.CutSuffix(sample, "%")
	n, err := strconv.ParseInt(part, 10, 64)
	switch {
	case sample == "":
	case err != nil || n <= 0 || percent && n > 100:
		return usageError{fmt.Sprintf("--sample: %q is neither a number of events above 0 nor a part from 1%% to 100%%", sample)}
	case percent:
		o.cfg.SamplePercent = int(n)
	default:
		o.cfg.Sample = n
	}
	return nil
}

// moreHeap lets the heap grow to five times what is in use before it is
// collected: nearly all of it is one event's, for a moment.
const moreHeap = 400

// run verifies the configured ledger.
func (o *verifyOptions) run(ctx context.Context, inv invocation) error {
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(o.data)
	outside, err := o.outside(ctx, &cfg)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(inv.io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	url, stop, err := findPostgres(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer stop()
	o.cfg.Workers = checks.DefaultWorkers()
	pool, err := auditorPool(ctx, url, "manti verify", int32(o.cfg.Workers+4))
	if err != nil {
		return err
	}
	defer pool.Close()
	if o.cfg.Keys, err = o.keys(ctx, &cfg, pool, outside); err != nil {
		return err
	}
	o.cfg.Pool, o.cfg.Outside, o.cfg.OutsideSource, o.cfg.Accepted = pool, outside.note, outside.source, outside.accepted
	o.cfg.Spools = o.spoolDirs(&cfg)
	o.cfg.Progress = verifyProgress(inv)
	defer debug.SetGCPercent(debug.SetGCPercent(moreHeap))
	report, err := checks.Run(ctx, o.cfg)
	if err != nil {
		return err
	}
	v := verdictOf(report)
	if o.projections {
		if err := v.refold(ctx, inv, pool); err != nil {
			return err
		}
	}
	v.Status = v.exit()
	if o.json {
		err = json.NewEncoder(inv.io.out).Encode(v)
	} else {
		err = v.print(inv.io.out)
	}
	return errors.Join(err, v.status())
}

// auditorPool reads as the auditor if this login may, else as the writer, else as
// itself.
func auditorPool(ctx context.Context, url db.URL, name string, conns int32) (*pgxpool.Pool, error) {
	var last error
	for _, role := range []string{db.RoleAuditor, db.RoleWriter, ""} {
		pool, err := db.Open(ctx, db.Config{URL: url, Role: role, MaxConns: conns, ApplicationName: name, ReadBufferBytes: checks.ReadBufferBytes, StatementTimeout: -1, IdleInTxTimeout: -1})
		if err != nil {
			return nil, err
		}
		if last = pool.Ping(ctx); last == nil {
			return pool, nil
		}
		pool.Close()
		if !mayNotTakeRole(last) {
			break
		}
	}
	return nil, fmt.Errorf("connect: %w", last)
}

// mayNotTakeRole reports whether a role is missing or not this login's to take.
func mayNotTakeRole(err error) bool {
	state := db.SQLState(err)
	return state == "42501" || state == "22023" || state == "42704"
}

// spoolDirs are the spools to compare with: those that are named, or the one of
// this machine if there is one.
func (o *verifyOptions) spoolDirs(cfg *Config) []string {
	if o.spools != "" {
		return strings.Split(o.spools, ",")
	}
	if entries, err := os.ReadDir(cfg.Spool); err == nil && len(entries) > 0 {
		return []string{cfg.Spool}
	}
	return nil
}

// refold compares all projections with folds from the beginning.
func (v *verifyVerdict) refold(ctx context.Context, inv invocation, pool *pgxpool.Pool) error {
	for _, p := range projections.All() {
		d, err := projections.Refold(ctx, pool, p, foldProgress(inv, p.Name()))
		if err != nil {
			return err
		}
		v.Projections = append(v.Projections, projectionVerdict{Name: p.Name(), Index: d.Index, Parked: d.Parked, Equal: d.None(), Difference: d.String()})
	}
	return nil
}

// verifyProgress shows on a terminal how far it is; nil elsewhere.
func verifyProgress(inv invocation) func(done, total int64) {
	f, ok := inv.io.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	began := time.Now()
	var shown time.Time
	return func(done, total int64) {
		if done < total && time.Since(shown) < 200*time.Millisecond {
			return
		}
		shown = time.Now()
		if done >= total {
			fmt.Fprint(f, "\r\x1b[K")
			return
		}
		const width = 30
		filled := int(done * width / total)
		rate := done * int64(time.Second) / max(int64(time.Since(began)), 1)
		fmt.Fprintf(f, "\r\x1b[K[%s%s] %d %%, event %d of %d, %d a second", strings.Repeat("#", filled), strings.Repeat(".", width-filled), done*100/total, done, total, rate)
	}
}
