package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"manti/proxy/dialect"
)

// runFlags are the flags of loadgen run.
type runFlags struct {
	target, key, workload, api, model, mode   string
	concurrency, rounds, streams, pid, simPID int
	procs                                     int
	rate                                      float64
	duration, warmup, settle                  time.Duration
	simURL, ledger                            string
	baseline, pin, json                       bool
	also                                      alsoFlags
}

// alsoFlags are -also NAME=PID, several times.
type alsoFlags []watched

func (a *alsoFlags) String() string { return "" }

func (a *alsoFlags) Set(s string) error {
	name, id, ok := strings.Cut(s, "=")
	pid, err := strconv.Atoi(id)
	if !ok || err != nil {
		return fmt.Errorf("%q isn't NAME=PID", s)
	}
	*a = append(*a, watched{name: name, pid: pid, tree: true})
	return nil
}

func (f *runFlags) define(flags *flag.FlagSet) {
	flags.StringVar(&f.target, "target", "", "`URL` of the gateway, without /v1")
	flags.StringVar(&f.key, "key", "", "API `key` for the gateway")
	flags.StringVar(&f.workload, "workload", "w1", "`name` of the workload; loadgen help lists them")
	flags.StringVar(&f.api, "dialect", "openai", "`name` of the API to speak: openai or anthropic")
	flags.StringVar(&f.model, "model", "", "`name` of the model to ask for, instead of the workload's")
	flags.StringVar(&f.mode, "mode", "", "closed: every caller waits for its answer; open: calls are due at -rate (the workload's)")
	flags.IntVar(&f.concurrency, "concurrency", 0, "`number` of callers; in the open loop the most in flight (0: the workload's)")
	flags.Float64Var(&f.rate, "rate", 0, "`calls` a second, in the open loop (0: the workload's)")
	flags.DurationVar(&f.warmup, "warmup", 2*time.Second, "`time` before figures are taken; callers begin over its first half")
	flags.DurationVar(&f.duration, "duration", 5*time.Second, "`time` of which figures are taken")
	flags.DurationVar(&f.settle, "settle", 15*time.Second, "longest `time` to wait until the target is quiet; its processor time counts until then")
	flags.IntVar(&f.rounds, "rounds", 1, "`number` of measurements, of which the median is shown")
	flags.IntVar(&f.pid, "pid", 0, "process `id` of the gateway, for its processor time and memory")
	flags.Var(&f.also, "also", "`NAME=PID` of a process tree to show beside it (postgres=123); may be repeated")
	flags.StringVar(&f.simURL, "sim", "", "`URL` of the simulator behind the gateway (loadgen sim), for -baseline and -ledger")
	flags.IntVar(&f.simPID, "sim-pid", 0, "process `id` of the simulator, for load_core")
	flags.StringVar(&f.ledger, "ledger", "", "postgres `URL` of the ledger, to compare with what the simulator counted; exit status 1 if they differ")
	flags.BoolVar(&f.baseline, "baseline", false, "measure a bare reverse proxy in turn, and print ratios")
	flags.BoolVar(&f.pin, "pin", false, "put the gateway (-pid) and the baseline on core 0, load and simulator (-sim-pid) on core 1")
	flags.IntVar(&f.procs, "gomaxprocs", 0, "GOMAXPROCS of the baseline; 0 leaves it alone")
	flags.IntVar(&f.streams, "streams", 0, "instead: memory for each of so many slow streams")
	flags.BoolVar(&f.json, "json", false, "print JSON")
}

// runCommand puts a workload on a gateway.
func runCommand(ctx context.Context, args []string, io streams) error {
	var f runFlags
	flags := flag.NewFlagSet("loadgen run", flag.ContinueOnError)
	f.define(flags)
	if err := parse(flags, args, io); err != nil {
		return err
	}
	w, l, err := f.load()
	if err != nil {
		return err
	}
	b, stop, err := f.bench(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var ledger *books
	if f.ledger != "" {
		if ledger, err = openBooks(ctx, f.ledger); err != nil {
			return err
		}
		defer func() { _ = ledger.conn.Close(context.WithoutCancel(ctx)) }() // it was for reading
	}
	s := section{Title: w.name + ": " + w.what}
	if f.streams > 0 {
		s, err = b.streams(ctx, f.streams)
	} else {
		var gateway figures
		var baseline *figures
		gateway, baseline, err = b.compareRounds(ctx, w, l)
		s.Rows = rows(gateway, baseline)
	}
	if err != nil {
		return err
	}
	if err := s.show(io.out, f.json); err != nil {
		return err
	}
	if ledger == nil {
		return nil
	}
	return b.compareBooks(ctx, ledger, io)
}

// compareBooks waits for the ledger and compares.
func (b *bench) compareBooks(ctx context.Context, ledger *books, io streams) error {
	have, err := ledger.drained(ctx, b.provider.calls)
	if err != nil {
		return err
	}
	return compare(io.out, b.provider, have)
}

// load is the workload and the load that the flags make of it.
func (f *runFlags) load() (workload, load, error) {
	w, err := findWorkload(f.workload)
	if err != nil {
		return w, load{}, err
	}
	l := load{mode: w.mode, concurrency: w.concurrency, rate: w.rate, warmup: f.warmup, duration: f.duration}
	if f.mode != "" {
		l.mode = mode(f.mode)
	}
	if f.concurrency > 0 {
		l.concurrency = f.concurrency
	}
	if f.rate > 0 {
		l.rate = f.rate
	}
	return w, l, l.check()
}

// check refuses a load that makes no calls.
func (l load) check() error {
	switch {
	case l.mode != closedLoop && l.mode != openLoop:
		return fmt.Errorf("-mode %q is neither closed nor open", l.mode)
	case l.mode == openLoop && l.rate <= 0:
		return errors.New("the open loop needs a -rate")
	case l.concurrency <= 0 || l.duration <= 0 || l.warmup < 0:
		return errors.New("-concurrency and -duration must be positive")
	}
	return nil
}

// bench sets up what the flags say. stop ends what it started.
func (f *runFlags) bench(ctx context.Context) (b *bench, stop func(), err error) {
	nothing := func() {}
	at, err := url.Parse(f.target)
	if err != nil || at.Host == "" {
		return nil, nothing, fmt.Errorf("-target %q is no URL", f.target)
	}
	switch {
	case f.simURL == "" && (f.baseline || f.ledger != ""):
		return nil, nothing, errors.New("-baseline and -ledger need -sim")
	case f.api != string(dialect.OpenAI) && f.api != string(dialect.Anthropic):
		return nil, nothing, fmt.Errorf("-dialect %q is neither openai nor anthropic", f.api)
	case f.streams > 0 && f.pid == 0:
		return nil, nothing, errors.New("-streams needs -pid")
	}
	b = &bench{
		gateway: target{"gateway", at.Host, watched{name: "gateway", pid: f.pid}}, key: f.key, api: dialect.Name(f.api), model: f.model,
		beside: f.also, simURL: strings.TrimSuffix(f.simURL, "/"), simProc: watched{name: "simulator", pid: f.simPID}, settle: f.settle, rounds: max(f.rounds, 1),
	}
	core := anyCore
	if f.pin {
		core = gatewayCore
		if err := f.pinAll(); err != nil {
			return nil, nothing, err
		}
	}
	if !f.baseline {
		return b, nothing, nil
	}
	proxy, err := startProxy(ctx, os.TempDir(), core, f.procs, b.simURL)
	if err != nil {
		return nil, nothing, err
	}
	b.baseline = &target{"baseline", proxy.addr, watched{name: "baseline", pid: proxy.pid}}
	return b, func() {
		proxy.stop()
		_ = os.Remove(proxy.log.Name()) // nobody needs it
	}, nil
}

// pinAll puts the processes that are there already where they belong.
func (f *runFlags) pinAll() error {
	for pid, core := range map[int]int{f.pid: gatewayCore, f.simPID: loadCore} {
		if pid == 0 {
			continue
		}
		if err := pinProcess(pid, core); err != nil {
			return err
		}
	}
	return pinSelf(loadCore)
}
