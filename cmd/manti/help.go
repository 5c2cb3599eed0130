package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// commands are all commands, in the order of the help.
func commands() []command {
	return []command{
		{"serve", "[--listen ADDRESS] [--data DIRECTORY]", "run the gateway; the same as no command at all", serve},
		{"demo", "[--data DIRECTORY] [--calls N] [--days N] [--until DATE]", "fill a database of its own with a month of plausible traffic", demo},
		{"key create", "[--name NAME] [--expires DATE]", "make an API key and show it, once", keyCreate},
		{"key list", "[--all] [--json]", "list the keys, never the keys themselves", keyList},
		{"key revoke", "ID…", "revoke keys; in effect on running servers within a second", keyRevoke},
		{"prices diff", "FILE", "show what publishing a price file would change", pricesDiff},
		{"prices publish", "FILE", "publish a price file as a new version", pricesPublish},
		{"usage", "[--from DATE] [--to DATE] [--by COLUMNS] [--json]", "print usage, cost and charge as a table", usage},
		{"export usage", "--csv [--from DATE] [--to DATE]", "stream usage by the hour as CSV", exportUsage},
		{"balances", "[--json]", "print each organisation's charge and cost so far", balances},
		{"correct", "CALL [--input N] [--output N] … | --rerate VERSION | --unknown | --bill FILE | --answer DIGEST", "supersede calls by what they should have been; shows who owes how much more or less, --apply does it", correct},
		{"forget", "USER-ID | --end-user NAME", "erase what the ledger says of a person; every proof stays valid, --apply does it", forget},
		{"rebuild", "NAME|all", "build a projection anew from the ledger, beside the live one, and swap it in", rebuild},
		{"backup", "FILE [--data DIRECTORY]", "write the ledger into a file, beside running servers", backUp},
		{"restore", "FILE [--check] [--data DIRECTORY]", "read a backup into an empty database, of the same or another version of Postgres", restore},
		{"replay", "NAME --at INDEX|TIME [--json]", "show balances, usage, keys, orgs, prices or requests as they were at a moment", replay},
		{"receipt", "ID [--private]", "print the receipt of a call: the proof that it is in the ledger", receiptOf},
		{"seal", "[--once | --accept ORIGIN [--from INDEX]] [--data DIRECTORY]", "sign checkpoints of the ledger, apart from any gateway; --accept: go on after a loss that you accepted", sealLedger},
		{"seal keygen", "[--origin NAME]", "make a signer key for MANTI_SEAL_KEY", sealKeygen},
		{"seal key", "[--origin NAME] [--data DIRECTORY]", "print the verifier key, to hand out", sealKey},
		{"verify", "[--against FILE|DIR|URL] [--since INDEX|TIME] [--sample N|P%] | --receipt FILE --key KEY", "recompute the whole ledger and name what is wrong, or check a receipt offline", verify},
		{"recover", "[--spool DIR]… [--against FILE|DIR] [--dry-run] [--accept-loss --cause TEXT]", "refill a ledger that lost its end, from the spools, at the old places", recoverLedger},
		{"spool list", "[--json] [DIR]…", "list the spools that ship to the ledger, and mark those not seen for 10 minutes", spoolList},
		{"spool ship", "DIR", "empty a spool that no server runs on into the ledger", spoolShip},
		{"migrate", "", "bring the database's schema up to date and stop", migrate},
		{"url", "[--data DIRECTORY]", "print the running private Postgres' URL, password included, for psql", printURL},
		{"health", "[--url URL]", "ask a running server whether it is ready; for container health checks", health},
		{"version", "", "print the version", printVersion},
	}
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	if fetch, ok := hidden(name); ok {
		return fetch, true
	}
	return command{}, false
}

func isHelp(arg string) bool {
	return arg == "help" || arg == "-h" || arg == "-help" || arg == "--help"
}

// errHelpShown ends a command whose help was asked for.
var errHelpShown = errors.New("help shown")

// help prints all commands, all settings, or one command.
func help(w io.Writer, topic []string) error {
	switch name := strings.Join(topic, " "); name {
	case "":
		return helpCommands(w)
	case "settings":
		return helpSettings(w)
	default:
		c, ok := find(name)
		if !ok {
			return helpGroup(w, name)
		}
		fmt.Fprintf(w, "manti %s %s\n\n%s\n", c.name, c.args, c.doc)
		return nil
	}
}

func helpCommands(w io.Writer) error {
	fmt.Fprint(w, "manti is an LLM gateway whose books are right.\n\nUsage: manti [COMMAND] [ARGUMENTS]\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(t, "  %s\t%s\n", c.name, c.doc)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, "\n`manti COMMAND -h` lists a command's flags, `manti help settings` what the environment sets.\n")
	return nil
}

// helpGroup prints the verbs of a noun, as in `manti help key`.
func helpGroup(w io.Writer, noun string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	found := false
	for _, c := range commands() {
		if strings.HasPrefix(c.name, noun+" ") {
			found = true
			fmt.Fprintf(t, "  %s %s\t%s\n", c.name, c.args, c.doc)
		}
	}
	if !found {
		return usageError{fmt.Sprintf("there is no command %q; `manti help` lists them", noun)}
	}
	return t.Flush()
}

func helpSettings(w io.Writer) error {
	fmt.Fprint(w, "Settings are read from flags, the environment and a file .env, the earlier winning.\n\n")
	for _, s := range settings() {
		fmt.Fprintf(w, "  %s=%s\n      %s\n", s.name, s.value, s.doc)
	}
	fmt.Fprint(w, "\nHTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured for calls to providers.\n")
	return nil
}

// newFlags is a command's flag set; parse reads its arguments.
func newFlags(inv invocation) *flag.FlagSet {
	f := flag.NewFlagSet("manti "+inv.name, flag.ContinueOnError)
	f.SetOutput(inv.io.err)
	f.Usage = func() {
		c, _ := find(inv.name)
		fmt.Fprintf(f.Output(), "manti %s %s\n\n%s\n\n", c.name, c.args, c.doc)
		f.PrintDefaults()
	}
	return f
}

// parse reads a command's arguments; flags may stand before, between and behind
// the others.
func parse(f *flag.FlagSet, inv invocation) error {
	var others []string
	for rest := inv.args; ; {
		switch err := f.Parse(rest); {
		case errors.Is(err, flag.ErrHelp):
			return errHelpShown
		case err != nil:
			return usageError{err.Error()}
		}
		if f.NArg() == 0 {
			break
		}
		others, rest = append(others, f.Arg(0)), f.Args()[1:]
	}
	return f.Parse(append([]string{"--"}, others...)) // so that they are f's arguments
}

// parseFlags is parse for commands that take flags only.
func parseFlags(f *flag.FlagSet, inv invocation) error {
	if err := parse(f, inv); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return usageError{fmt.Sprintf("%s: what is %q for? See `%s -h`", f.Name(), f.Arg(0), f.Name())}
	}
	return nil
}

func printVersion(_ context.Context, inv invocation) error {
	flags := newFlags(inv)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	_, err := fmt.Fprintln(inv.io.out, "manti", version)
	return err
}
