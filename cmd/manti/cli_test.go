package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Flags may stand before, between and behind a command's other arguments.
func TestFlagsStandAnywhere(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--data", "D", "a", "b"}, {"a", "--data", "D", "b"}, {"a", "b", "--data=D"}, {"--data", "D", "--", "a", "b"}} {
		inv := invocation{name: "key revoke", args: args, io: stdio{&bytes.Buffer{}, &bytes.Buffer{}}}
		f := newFlags(inv)
		data := dataFlag(f)
		if err := parse(f, inv); err != nil || *data != "D" || !slices.Equal(f.Args(), []string{"a", "b"}) {
			t.Errorf("%v: %v, --data %q, others %v", args, err, *data, f.Args())
		}
	}
}

func TestNounsListTheirVerbs(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"key"}, {"key", "-h"}, {"help", "key"}} {
		var out, errs bytes.Buffer
		if status := report(run(t.Context(), args, nil, stdio{&out, &errs}), &errs); status != 0 || !strings.Contains(out.String(), "key create") || strings.Contains(out.String(), "prices") {
			t.Errorf("%v: %d %s%s", args, status, out.String(), errs.String())
		}
	}
	var out, errs bytes.Buffer
	if status := report(run(t.Context(), []string{"nonsense"}, nil, stdio{&out, &errs}), &errs); status != 2 || !strings.Contains(errs.String(), "nonsense") {
		t.Errorf("got %d %s", status, errs.String())
	}
}

// Replicas that are set up alike have one fingerprint; no secret is in it.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	of := func(env ...string) string {
		c, err := loadConfig(env)
		if err != nil {
			t.Fatal(err)
		}
		return c.fingerprint()
	}
	base := of("MANTI_REPLICA=a", "MANTI_DATA=/a", "MANTI_SECRET="+strings.Repeat("ab", 32), "MANTI_LISTEN=:1", "MANTI_SIM=1")
	if other := of("MANTI_REPLICA=b", "MANTI_DATA=/b", "MANTI_SECRET="+strings.Repeat("cd", 32), "MANTI_LISTEN=:2", "MANTI_SIM=1"); other != base {
		t.Error("what differs from replica to replica is in the fingerprint")
	}
	for _, env := range []string{"MANTI_CALLER_GONE=cancel", "MANTI_CORS_ORIGINS=*", "MANTI_PROVIDERS_OPENAI_BASE_URL=http://x/v1", "MANTI_SIM=0"} {
		if of(env) == of("MANTI_SIM=1") {
			t.Errorf("%s isn't in the fingerprint", env)
		}
	}
}

func TestProgramCanBePasted(t *testing.T) {
	t.Parallel()
	for arg0, want := range map[string]string{"manti": "manti", "bin/manti": "bin/manti", "/tmp/go-build123/b001/exe/manti": "go run ./cmd/manti"} {
		if got := program(arg0); got != want {
			t.Errorf("%s: got %s, want %s", arg0, got, want)
		}
	}
}
