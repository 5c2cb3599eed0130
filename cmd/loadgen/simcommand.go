package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"manti/proxy/sim"
)

// faultFlags are -fault NAME=RATE, several times.
type faultFlags map[sim.Fault]int

func (f faultFlags) String() string { return "" }

func (f faultFlags) Set(s string) error {
	name, rate, ok := strings.Cut(s, "=")
	n, err := strconv.Atoi(rate)
	if !ok || err != nil {
		return fmt.Errorf("%q isn't NAME=CALLS-IN-A-MILLION", s)
	}
	f[sim.Fault(name)] = n
	return nil
}

// simCommand runs the simulator until it is told to stop.
func simCommand(ctx context.Context, args []string, io streams) error {
	flags := flag.NewFlagSet("loadgen sim", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "`address` to listen on")
	seed := flags.Uint64("seed", 1, "`number` from which texts, latencies and faults are drawn")
	key := flags.String("key", "", "API `key` that calls must carry; empty takes any")
	keep := flags.Bool("keep", false, "keep every call for GET /sim/calls")
	limit := flags.Duration("for", 0, "stop after this `time`; 0 runs until SIGTERM")
	faults := faultFlags{}
	flags.Var(faults, "fault", "`NAME=N`: N calls in a million suffer that fault; may be repeated")
	if err := parse(flags, args, io); err != nil {
		return err
	}
	p, err := sim.New(sim.Config{Seed: *seed, Key: *key, KeepCalls: *keep, Faults: faults, Models: aliases()})
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // it has no error
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintf(io.out, "%shttp://%s\n", announcement, l.Addr())
	ctx, cancel := withLimit(ctx, *limit)
	defer cancel()
	return p.Serve(ctx, l)
}

// announcement precedes the URL that a child of ours listens on.
const announcement = "listening on "

func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}
