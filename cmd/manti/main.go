// Command manti is an LLM gateway whose books are right: callers speak
// OpenAI's or Anthropic's API to it, and every call becomes exactly one
// immutable event in a Postgres ledger.
//
// `manti help` lists its commands, `manti help settings` what can be set.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// version is set by the build: -ldflags "-X main.version=…".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ(), stdio{os.Stdout, os.Stderr})
	stop()
	os.Exit(report(err, os.Stderr))
}

// stdio is where a command writes: its result, and what it has to say besides.
type stdio struct{ out, err io.Writer }

// command is one row of the help.
type command struct {
	name, args, doc string
	run             func(ctx context.Context, inv invocation) error
}

// invocation is one use of a command.
type invocation struct {
	name string
	args []string
	env  []string
	io   stdio
}

// usageError is a mistake in how a command was called; it exits with 2.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

// statusError ends the program with a status of its own.
type statusError struct {
	status int
	err    error
}

func (e statusError) Error() string { return e.err.Error() }
func (e statusError) Unwrap() error { return e.err }

// run finds the command and runs it. Without one, it serves.
func run(ctx context.Context, args, env []string, io stdio) error {
	if len(args) == 0 || (len(args[0]) > 1 && args[0][0] == '-' && !isHelp(args[0]) && args[0] != "--version") {
		args = append([]string{"serve"}, args...)
	}
	if isHelp(args[0]) {
		return help(io.out, args[1:])
	}
	if args[0] == "--version" {
		args[0] = "version"
	}
	for _, words := range []int{2, 1} {
		if len(args) < words {
			continue
		}
		name := args[0]
		if words == 2 {
			name += " " + args[1]
		}
		if c, ok := find(name); ok {
			return c.run(ctx, invocation{name: name, args: args[words:], env: env, io: io})
		}
	}
	if len(args) == 1 || isHelp(args[1]) {
		return helpGroup(io.out, args[0])
	}
	return usageError{fmt.Sprintf("there is no command %q; `manti help` lists them", strings.Join(args[:2], " "))}
}

// report prints an error and is the exit status.
func report(err error, w io.Writer) int {
	if err == nil || errors.Is(err, errHelpShown) {
		return 0
	}
	fmt.Fprintln(w, "manti:", err)
	if e, ok := errors.AsType[usageError](err); ok {
		_ = e
		return 2
	}
	if e, ok := errors.AsType[statusError](err); ok {
		return e.status
	}
	return 1
}
