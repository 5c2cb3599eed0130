// Command loadgen puts load on a gateway and says what it cost: latency, the
// time to the first token, gaps between chunks, processor time and memory per
// call. It can measure a bare reverse proxy in turn with the gateway, and
// compares what the simulated provider counted with what stands in the ledger.
//
// How measuring goes wrong, and what is done here against it:
//
//   - Coordinated omission: in the open loop a call's latency counts from when
//     it was due, not from when the generator got round to it, and the
//     schedule's origin is taken once, before anything waits.
//   - A saturated generator measures itself: processor time of the generator
//     and the simulator is shown as load_core; near 1, read only the
//     processor time of the gateway.
//   - Sleeps can't be subtracted: answers carry the simulator's clock, and
//     latency that was added is computed from it.
//   - Figures of two runs can't be compared: gateway and baseline are measured
//     in turn in one run, and the ratio of medians is printed.
//   - A gateway that works later looks cheap: its processor time counts until
//     it is quiet again.
//
// Nothing is kept; a crash loses the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

// streams are where a command writes to.
type streams struct{ out, err io.Writer }

// errUsage says that flags were wrong, which has been told already.
var errUsage = errors.New("wrong usage")

const manual = `Usage: loadgen COMMAND [flags]

  run    put a workload on a gateway and measure it, also against a baseline
  all    start simulator, gateway and baseline, run the table of workloads
  sim    run the simulated provider by itself
  proxy  run the baseline, a bare reverse proxy, by itself

loadgen COMMAND -help lists the flags. The workloads:

`

func run(ctx context.Context, args []string, io streams) error {
	if len(args) == 0 {
		usage(io.err)
		return errUsage
	}
	switch name, rest := args[0], args[1:]; name {
	case "run":
		return runCommand(ctx, rest, io)
	case "all":
		return allCommand(ctx, rest, io)
	case "sim":
		return simCommand(ctx, rest, io)
	case "proxy":
		return proxyCommand(ctx, rest, io)
	case "help", "-h", "-help", "--help":
		usage(io.out)
		return nil
	default:
		fmt.Fprintf(io.err, "loadgen: there is no command %q\n\n", name)
		usage(io.err)
		return errUsage
	}
}

func usage(w io.Writer) {
	fmt.Fprint(w, manual)
	for _, l := range workloads() {
		fmt.Fprintf(w, "  %-7s %s\n", l.name, l.what)
	}
}

// parse reads flags; what is wrong with them it has told by then.
func parse(flags *flag.FlagSet, args []string, io streams) error {
	flags.SetOutput(io.err)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	case flags.NArg() > 0:
		fmt.Fprintf(io.err, "loadgen: unexpected argument %q\n", flags.Arg(0))
		return errUsage
	}
	return nil
}
