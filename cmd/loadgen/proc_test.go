package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " S 42 7 7 0 -1 4194560 1 2 3 4 150 25 30 5 20 0 9 0 100 1000000 321 18446744073709551615"
	want := stat{parent: 42, self: 1750 * time.Millisecond, reaped: 350 * time.Millisecond, residentPages: 321}
	for _, tt := range []struct {
		name, line string
		ok         bool
	}{
		{"plain", "77 (manti)" + rest, true},
		{"spaces and parentheses", "77 (a) S 1 (b c) )" + rest, true},
		{"a whole line", "77 (x)" + rest + " 1 2 3 4 5 6 7 8 9\n", true},
		{"no name", "77 manti" + rest, false},
		{"short", "77 (x) S 42 7", false},
		{"no number", "77 (x)" + string(bytes.Replace([]byte(rest), []byte("150"), []byte("abc"), 1)), false},
		{"empty", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStat([]byte(tt.line))
			if !tt.ok {
				if !errors.Is(err, errStat) {
					t.Errorf("error %v, want errStat", err)
				}
				return
			}
			if err != nil || got != want {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

// TestUsageOfTree: a child's time is its own while it runs, its parent's when
// it has been waited for, and the tree's always.
func TestUsageOfTree(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", `i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; (while :; do :; done) & echo ready; read x; kill $!`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait() // it was killed, or ended
	}()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	tree, single := watched{pid: cmd.Process.Pid, tree: true}, watched{pid: cmd.Process.Pid}
	deadline := time.Now().Add(10 * time.Second)
	for {
		one, err1 := single.usage()
		all, err2 := tree.usage()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if all.cpu > one.cpu+50*time.Millisecond && all.rss > 0 && one.rss > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("one %+v, tree %+v", one, all)
		}
	}
	if got := len(descendants(cmd.Process.Pid)); got != 1 {
		t.Errorf("%d descendants, want 1", got)
	}
}

func TestUsageOfNobody(t *testing.T) {
	t.Parallel()
	if _, err := (watched{pid: 1 << 30}).usage(); err == nil {
		t.Error("no error for a process that isn't there")
	}
	if u, err := (watched{pid: os.Getpid()}).usage(); err != nil || u.rss < 1<<20 {
		t.Errorf("own use %+v, %v", u, err)
	}
}

func TestMedians(t *testing.T) {
	t.Parallel()
	f := medians([][]metric{
		{{"a", "ms", 3}, {"b", "", 1}},
		{{"a", "ms", 1}},
		{{"a", "ms", 2}, {"c", "", 5}},
	})
	if diff := cmp.Diff(map[string]float64{"a": 2, "b": 0, "c": 0}, f.value); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, f.order); diff != "" {
		t.Error(diff)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median of four is %v", got)
	}
}
