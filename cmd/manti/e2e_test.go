package main_test

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this package run the built binary as others do: as a process
// with a data directory of its own, against a real Postgres, in front of a
// provider (the simulator) that outlives it, so that its books can be held
// against the ledger.

// long makes faults as long, and as many, as they are in the field.
func long() bool { return os.Getenv("MANTI_TEST_LONG") == "1" }

// patience bounds every wait. It is no measure of anything: a machine that
// builds and tests other things meanwhile is slow.
const patience = 90 * time.Second

// binary is the program, built once: as for an image, or with the race detector
// if the tests have it.
var binary = sync.OnceValues(func() (string, error) {
	if err := os.Mkdir(binaryDir(), 0o755); err != nil { // other users run it too
		return "", err
	}
	path := filepath.Join(binaryDir(), "manti")
	args := []string{"build", "-o", path, "-ldflags", "-X main.version=" + testVersion}
	build := exec.Command("go", append(args, ".")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if raceEnabled {
		build = exec.Command("go", append(args, "-race", ".")...)
	}
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build manti: %w\n%s", err, out)
	}
	return path, nil
})

const testVersion = "1.2.3-test"

// binaryDir is the binary's folder, of this test process alone.
func binaryDir() string { return filepath.Join(os.TempDir(), "manti-bin-"+itoa(os.Getpid())) }

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests mostly wait for other processes, and for time to pass.
	if f := flag.Lookup("test.parallel"); f.Value.String() == itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set("8") // a number is one
	}
	status := m.Run()
	_ = os.RemoveAll(binaryDir()) // a temporary folder, if it is there at all
	os.Exit(status)
}

// environment is variables for a process.
type environment map[string]string

// with is a copy with more variables.
func (e environment) with(pairs ...string) environment {
	all := environment{}
	for k, v := range e {
		all[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

// launch says how the binary is run.
type launch struct {
	args []string
	env  environment
	dir  string // the working directory; a new one if ""
	uid  int    // the user; ours if 0
	root string // a folder that is all it sees, with the binary at /manti; "" for none
}

// process is one run of the binary.
type process struct {
	t           testing.TB
	cmd         *exec.Cmd
	stdout, log *tape
	ended       chan struct{}
	addr        string // host:port of the public listener, once it serves
}

// begin starts the binary. It is killed when the test ends, at the latest.
func begin(t testing.TB, l launch) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if l.dir == "" {
		l.dir = folder(t)
	}
	p := &process{t: t, cmd: exec.Command(path, l.args...), stdout: newTape(), log: newTape(), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = l.dir, p.stdout, p.log
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "TMPDIR=" + os.TempDir(), "GORACE=halt_on_error=1"}
	for k, v := range l.env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	// A group of its own: what a test does to it must not reach the test.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if l.root != "" {
		p.cmd.Path, p.cmd.Dir, p.cmd.SysProcAttr.Chroot = "/manti", "/", l.root
	}
	if l.uid != 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.uid)}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start manti: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says it all
		p.stdout.close()
		p.log.close()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && p.log.String() != "" {
			t.Logf("log of manti %s:\n%s", strings.Join(l.args, " "), tail(p.log.String(), 4000))
		}
	})
	return p
}

// serve starts a server and waits until it listens.
func serve(t testing.TB, data string, env environment, args ...string) *process {
	t.Helper()
	return serveAs(t, launch{args: append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data}, args...), env: env})
}

func serveAs(t testing.TB, l launch) *process {
	t.Helper()
	p := begin(t, l)
	m := p.await(servingLine)
	p.addr = m[1]
	return p
}

var servingLine = regexp.MustCompile(`"msg":"serving","address":"([^"]+)"`)

// ready waits until the server takes calls.
func (p *process) ready() *process {
	p.t.Helper()
	p.poll("ready", func() bool { return p.status("/readyz") == http.StatusOK })
	return p
}

// await waits for a line of the log.
func (p *process) await(line *regexp.Regexp) []string {
	p.t.Helper()
	m, err := p.log.await(line)
	if err != nil {
		p.t.Fatalf("waiting for %q in the log: %v\n%s", line, err, tail(p.log.String(), 4000))
	}
	return m
}

// poll asks until the answer is yes.
func (p *process) poll(what string, done func() bool) {
	p.t.Helper()
	poll(p.t, what, func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("manti ended while the test waited for: %s\n%s", what, tail(p.log.String(), 4000))
		default:
		}
		return done()
	})
}

func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// status is the status of a GET, 0 if there is no answer.
func (p *process) status(path string) int {
	resp, err := client.Get(p.url(path))
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // only its status counts
	return resp.StatusCode
}

func (p *process) url(path string) string { return "http://" + p.addr + path }

// signal sends one to the process alone.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %v: %v", s, err)
	}
}

// kill ends it as a crash does, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// wait is the exit status.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("manti did not end\n%s", tail(p.log.String(), 4000))
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends it as an operator does, which must work.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		p.t.Fatalf("manti ended with %d\n%s", status, tail(p.log.String(), 4000))
	}
}

// result is what a command line had to say.
type result struct {
	status   int
	out, err string
}

// command runs the binary to its end.
func command(t testing.TB, l launch) result {
	t.Helper()
	p := begin(t, l)
	status := p.wait()
	return result{status, p.stdout.String(), p.log.String()}
}

// manti runs a command that must succeed and returns what it printed.
func manti(t testing.TB, env environment, args ...string) string {
	t.Helper()
	r := command(t, launch{args: args, env: env})
	if r.status != 0 {
		t.Fatalf("manti %s ended with %d: %s", strings.Join(args, " "), r.status, r.err)
	}
	return r.out
}

// folder is a temporary one that other users may enter.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "manti-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's folder: %v", err)
		}
	})
	return dir
}

// client makes the tests' requests; each test closes what it opened.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}
