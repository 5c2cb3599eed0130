package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"manti/proxy/sim"
)

// TestMain lets the tests' program be started as its own child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "sim" || os.Args[1] == "proxy") {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestRunAgainstBaseline makes real calls to a simulator, directly and through
// the baseline, and reads the table.
func TestRunAgainstBaseline(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ workload, api, need string }{
		{"w1", "openai", "added_p50"}, {"w1", "anthropic", "cpu"}, {"w3", "openai", "cpu_chunk"}, {"w3", "anthropic", "transit_p99"}, {"w5", "openai", "rss"},
	} {
		t.Run(tt.workload+" "+tt.api, func(t *testing.T) {
			t.Parallel()
			p, url := serveSim(t)
			var out, stderr bytes.Buffer
			err := run(t.Context(), []string{
				"run", "-target", url, "-sim", url, "-pid", strconv.Itoa(os.Getpid()), "-baseline", "-json", "-workload", tt.workload, "-dialect", tt.api,
				"-concurrency", "2", "-warmup", "50ms", "-duration", "200ms", "-settle", "0s",
			}, streams{&out, &stderr})
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			var s section
			if err := json.Unmarshal(out.Bytes(), &s); err != nil {
				t.Fatal(err)
			}
			rows := map[string]row{}
			for _, r := range s.Rows {
				rows[r.Name] = r
			}
			if r := rows["errors"]; r.Gateway != 0 || r.Baseline == nil || *r.Baseline != 0 {
				t.Errorf("errors: %s", out.String())
			}
			if r, ok := rows[tt.need]; !ok || r.Baseline == nil {
				t.Errorf("no %s for both: %s", tt.need, out.String())
			}
			if b := p.Books(); b.Completed == 0 || b.Failed+b.Cut+b.Refused > 0 {
				t.Errorf("books %+v", b)
			}
		})
	}
}

// serveSim serves a simulator with the load models on a loopback port.
func serveSim(t *testing.T) (*sim.Provider, string) {
	t.Helper()
	p, err := sim.New(sim.Config{Models: aliases()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(context.Background(), l) }() // ends with Close
	t.Cleanup(func() {
		_ = p.Close() // it has no error
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return p, "http://" + l.Addr().String()
}

// TestChildren starts this program as its own child, and a child that fails.
func TestChildren(t *testing.T) {
	t.Parallel()
	c, err := startSim(t.Context(), t.TempDir(), anyCore)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := report(t.Context(), "http://"+c.addr); err != nil {
		t.Error(err)
	}
	if err := c.alive(); err != nil {
		t.Error(err)
	}
	c.stop()
	if err := c.alive(); err == nil {
		t.Error("it lives after it was stopped")
	}
	if _, err := startProxy(t.Context(), t.TempDir(), anyCore, 0, "no URL"); err == nil || !strings.Contains(err.Error(), "is no URL") {
		t.Errorf("a child that ends at once: %v", err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, args string
		want       error  // nil: another
		say        string // in what is written, or the error
	}{
		{"nothing", "", errUsage, "Usage"},
		{"unknown", "juggle", errUsage, "no command"},
		{"help", "help", flag.ErrHelp, "w4slow"},
		{"help of run", "run -help", flag.ErrHelp, "-concurrency"},
		{"unknown flag", "run -nonsense", errUsage, "nonsense"},
		{"argument", "sim here", errUsage, "unexpected"},
		{"no target", "run", nil, "-target"},
		{"unknown workload", "run -target http://x -workload w9", nil, "w9"},
		{"baseline without sim", "run -target http://x -baseline", nil, "-sim"},
		{"unknown mode", "run -target http://x -mode ajar", nil, "ajar"},
		{"open without rate", "run -target http://x -mode open", nil, "-rate"},
		{"unknown dialect", "run -target http://x -dialect latin", nil, "latin"},
		{"streams without pid", "run -target http://x -streams 5", nil, "-pid"},
		{"bad fault", "sim -fault x", errUsage, "CALLS-IN-A-MILLION"},
		{"unknown fault", "sim -fault x=1", nil, "no fault"},
		{"no upstream", "proxy", nil, "-upstream"},
		{"no gateway", "all -manti /nowhere/manti", nil, "gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := run(ctx, strings.Fields(tt.args), streams{&out, &out})
			switch {
			case tt.name == "help":
				if err != nil {
					t.Errorf("error %v", err)
				}
			case err == nil || tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if said := out.String() + errText(err); !strings.Contains(said, tt.say) {
				t.Errorf("said %q, want %q in it", said, tt.say)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
