package spool_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"manti/ledger/spool"
)

// faultKinds are the system calls by which a spool touches its disk.
var faultKinds = []string{
	"openat", "pwrite64", "pread64", "fdatasync", "fsync", "renameat", "unlinkat", "ftruncate", "flock", "getdents64", "newfstatat", "fstat", "mkdirat", "close",
}

// TestEverySystemCall lets strace kill the workload at each of its system calls,
// or fail that with EIO, and then holds what a fresh Open finds against what was
// promised. By default it takes a few of each kind; with MANTI_TEST_LONG=1 every
// one. The controls are the same workload on a disk that lies: they must fail.
func TestEverySystemCall(t *testing.T) {
	t.Parallel()
	calls := systemCalls(t)
	for _, fault := range []string{"signal=KILL", "error=EIO"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			points := faultPoints(calls)
			strike(t, fault, "", points, func(at faultPoint, problems []string) {
				for _, p := range problems {
					t.Errorf("%s at call %d of %s: %s", fault, at.n, at.kind, p)
				}
			})
			t.Logf("%d system calls struck of %d", len(points), total(calls))
		})
	}
}

// TestEverySystemCallFindsLies is the control: a disk that keeps a write to
// itself loses an acknowledged completion on a kill, one that hides an error
// loses it on EIO.
func TestEverySystemCallFindsLies(t *testing.T) {
	t.Parallel()
	calls := systemCalls(t)
	for _, control := range []struct{ lie, fault, kind string }{
		{lieLate, "signal=KILL", "fdatasync"},
		{lieErrors, "error=EIO", "pwrite64"},
	} {
		t.Run(control.lie, func(t *testing.T) {
			t.Parallel()
			n := calls[control.kind]
			var points []faultPoint
			for i := range 6 { // in the second half most writes are records
				points = append(points, faultPoint{control.kind, n.first + (n.last-n.first)*(i+5)/12})
			}
			var mu sync.Mutex
			found := 0
			strike(t, control.fault, control.lie, points, func(_ faultPoint, problems []string) {
				mu.Lock()
				defer mu.Unlock()
				found += len(problems)
			})
			if found == 0 {
				t.Error("the control lost nothing: the test above proves nothing")
			}
		})
	}
}

// A faultPoint is the n-th call of a kind, as strace counts.
type faultPoint struct {
	kind string
	n    int
}

// span is which calls of a kind are the spool's.
type span struct{ first, last int }

func total(calls map[string]span) (n int) {
	for _, c := range calls {
		n += c.last - c.first + 1
	}
	return n
}

// faultPoints are all calls, or a few of each kind, others in each run.
func faultPoints(calls map[string]span) (points []faultPoint) {
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for kind, c := range calls {
		some := map[int]bool{}
		for range 1 + min(8, (c.last-c.first)/15) {
			some[c.first+rng.IntN(c.last-c.first+1)] = true
		}
		for n := c.first; n <= c.last; n++ {
			if long() || some[n] {
				points = append(points, faultPoint{kind, n})
			}
		}
	}
	return points
}

// long says that tests may take minutes.
func long() bool { return os.Getenv("MANTI_TEST_LONG") == "1" }

// systemCalls traces one undisturbed run.
func systemCalls(t *testing.T) map[string]span {
	t.Helper()
	if raceEnabled {
		t.Skip("strace and the race detector are too slow together")
	}
	if err := exec.Command("strace", "-f", "-o", os.DevNull, "true").Run(); err != nil {
		t.Skipf("strace can't trace here: %v", err)
	}
	dir, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	out := runWorkload(t, filepath.Join(dir, "spool"), "", "-o", trace, "-e", "trace="+strings.Join(faultKinds, ","))
	if !bytes.Contains(out, []byte("done\n")) {
		t.Fatalf("the undisturbed workload said:\n%s", out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	return spansOf(t, string(text), dir)
}

var traceLine = regexp.MustCompile(`(?m)^(\d+) +(\w+)\((.*)$`)

// spansOf counts the calls of the thread that touches dir, from its first touch on.
func spansOf(t *testing.T, trace, dir string) map[string]span {
	t.Helper()
	lines := traceLine.FindAllStringSubmatch(trace, -1)
	first := slices.IndexFunc(lines, func(l []string) bool { return strings.Contains(l[3], dir) })
	if first < 0 {
		t.Fatalf("the trace doesn't mention %s:\n%.2000s", dir, trace)
	}
	thread, counts, spans := lines[first][1], map[string]int{}, map[string]span{}
	others := map[string]int{}
	for i, l := range lines {
		if l[1] != thread {
			others[l[1]+l[2]]++
			if others[l[1]+l[2]] >= warmUp {
				t.Fatalf("a thread that isn't the spool's makes %d calls of %s: raise warmUp", warmUp, l[2])
			}
			continue
		}
		counts[l[2]]++
		if i < first {
			continue
		}
		s, ok := spans[l[2]]
		if !ok {
			s.first = counts[l[2]]
		}
		s.last = counts[l[2]]
		spans[l[2]] = s
	}
	for _, kind := range []string{"pwrite64", "fdatasync", "fsync", "renameat", "unlinkat", "openat"} {
		if spans[kind].last == 0 {
			t.Errorf("the workload makes no %s: it doesn't test much", kind)
		}
	}
	return spans
}

func runWorkload(t *testing.T, dir, lie string, strace ...string) []byte {
	t.Helper()
	args := append([]string{"-f", "-qq"}, strace...)
	cmd := exec.CommandContext(t.Context(), "strace", append(args, os.Args[0], "-test.run=^TestWorkload$")...)
	cmd.Env = append(os.Environ(), workloadDir+"="+dir, workloadLie+"="+lie)
	out, err := cmd.Output()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended { // being killed is what it is for
		t.Fatal(err)
	}
	return out
}

// strike runs the workload once for each point, a few at a time.
func strike(t *testing.T, fault, lie string, points []faultPoint, judge func(faultPoint, []string)) {
	t.Helper()
	var wg sync.WaitGroup
	room := make(chan struct{}, 4)
	for _, at := range points {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			dir := filepath.Join(t.TempDir(), "spool")
			inject := fmt.Sprintf("inject=%s:%s:when=%d", at.kind, fault, at.n)
			out := runWorkload(t, dir, lie, "-o", os.DevNull, "-e", "trace="+at.kind, "-e", inject)
			judge(at, checkPromises(dir, string(out)))
		})
	}
	wg.Wait()
}

// said is what the workload was promised of a call.
type said struct{ started, tried, ended, acked bool }

// checkPromises opens the spool that a workload left and names what is wrong.
func checkPromises(dir, out string) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	calls := readPromises(out, complain)
	s, err := spool.Open(workloadConfig(dir))
	if err != nil {
		complain("open: %v\n%s", err, out)
		return problems
	}
	defer func() { _ = s.Close() }() // what matters is checked before
	found := map[uint64]bool{}
	for _, c := range s.Unfinished() {
		n := binary.BigEndian.Uint64(c.ID[8:])
		if found[n] = true; calls[n].ended {
			complain("call %d is open, though its end was promised", n)
		}
	}
	ends := map[uint64]int{}
	for r, err := range s.Replay(0) {
		if err != nil {
			complain("replay: %v", err)
			break
		}
		if n := binary.BigEndian.Uint64(r.ID[8:]); r.Kind == spool.End {
			if ends[n]++; !calls[n].tried || string(r.Payload) != endPayload(n) {
				complain("the end of call %d is %q, tried: %v", n, r.Payload, calls[n].tried)
			}
		}
	}
	for n, c := range calls {
		switch {
		case ends[n] > 1:
			complain("call %d has %d ends", n, ends[n])
		case c.ended && !c.acked && ends[n] == 0:
			complain("the end of call %d was promised and is gone", n)
		case c.started && !found[n] && ends[n] == 0 && !c.acked:
			complain("call %d was started and is gone", n)
		}
	}
	return append(problems, checkGoesOn(s, calls)...)
}

// readPromises reads what the workload printed.
func readPromises(out string, complain func(string, ...any)) map[uint64]said {
	calls, failed := map[uint64]said{}, ""
	for line := range strings.Lines(out) {
		var n uint64
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, _ = fmt.Sscan(rest, &n) // 0 is no call
		c := calls[n]
		switch word {
		case "started":
			c.started = true
		case "try":
			c.tried = true
			if failed != "" {
				calls[0] = said{tried: true} // from here on nothing may be promised
			}
		case "ended":
			if c.ended = true; calls[0].tried {
				complain("call %d was ended after %q", n, failed)
			}
		case "acked":
			c.acked = true
		case "fault":
			if (strings.HasPrefix(rest, "sync ") || strings.HasPrefix(rest, "write ")) && strings.Contains(rest, ".seg:") {
				failed = rest
			}
		}
		if n > 0 {
			calls[n] = c
		}
	}
	delete(calls, 0)
	return calls
}

// checkGoesOn ships all that is left, in which each promised end must be, and
// makes one more call.
func checkGoesOn(s *spool.Spool, calls map[uint64]said) (problems []string) {
	shipped := map[uint64]int{}
	for stats, err := s.Stats(); err != nil || stats.Unshipped > 0; stats, err = s.Stats() {
		b, nextErr := s.Next(context.Background(), 100)
		if err := errors.Join(err, nextErr); err != nil {
			return []string{fmt.Sprintf("ship what is left: %v", err)}
		}
		for _, r := range b.Records {
			shipped[binary.BigEndian.Uint64(r.ID[8:])]++
		}
		if err := s.Ack(b); err != nil {
			return []string{fmt.Sprintf("ship what is left: %v", err)}
		}
	}
	for n, c := range calls {
		if c.ended && !c.acked && shipped[n] != 1 || shipped[n] > 1 {
			problems = append(problems, fmt.Sprintf("the end of call %d is shipped %d times", n, shipped[n]))
		}
	}
	if err := errors.Join(startWithRoom(s, 9999), s.End(id(9999), nil)); err != nil {
		problems = append(problems, fmt.Sprintf("a call after all that: %v", err))
	}
	return problems
}
