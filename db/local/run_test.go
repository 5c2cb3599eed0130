package local_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"manti/db/local"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(message string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), `msg="`+message+`"`)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

const (
	hasEnded = "the private Postgres has ended; it is started again"
	isBack   = "the private Postgres is back"
	cannot   = "the private Postgres can't be started"
)

// supervised starts a server and looks after it until the test ends.
func supervised(t *testing.T, cfg local.Config) (*local.Server, *journal) {
	t.Helper()
	log := &journal{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	server, err := local.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }() // ends with cancel
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
		stop(t, server)
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return server, log
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("signal %v to %d: %v", s, pid, err)
	}
}

// until polls for what another process does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(time.Minute)
	for !done() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("waited for: %s", what)
		}
	}
}

// A server that ends by another hand is back at the same URL with what it knew,
// as often as that happens.
func TestRunStartsEndedServerAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		signal syscall.Signal
		change func(*local.Config)
	}{
		{name: "killed", signal: syscall.SIGKILL},
		{name: "stopped", signal: syscall.SIGINT},
		{name: "on a port", signal: syscall.SIGKILL, change: func(c *local.Config) { c.Loopback = true }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(usedDir(t))
			if test.change != nil {
				test.change(&cfg)
			}
			server, log := supervised(t, cfg)
			url := server.URL()
			remember(t, url)
			for n := 1; n <= 2; n++ {
				killed := server.PID()
				signal(t, killed, test.signal)
				until(t, "the server to be back", func() bool { return log.count(isBack) == n })
				if server.URL() != url || server.PID() == killed {
					t.Errorf("url %v, pid %d; want %v and another pid than %d", server.URL(), server.PID(), url, killed)
				}
				checkRemembered(t, url)
				if found, running, err := local.Find(cfg.DataDir); err != nil || !running || found != url {
					t.Errorf("found %v, running %v, %v", found, running, err)
				}
				if got := log.count(hasEnded); got != n {
					t.Errorf("the end was logged %d times, want %d", got, n)
				}
			}
		})
	}
}

func TestRunStartsAdoptedServerAgain(t *testing.T) {
	t.Parallel()
	needLinux(t)
	dir := usedDir(t)
	left, trouble := startChild(t, dir, nil)
	if trouble != "" {
		t.Fatal(trouble)
	}
	left.kill(t)
	server, log := supervised(t, config(dir))
	if !server.Adopted() {
		t.Fatal("it wasn't adopted")
	}
	remember(t, server.URL())
	signal(t, left.pid, syscall.SIGKILL)
	until(t, "the server to be back", func() bool { return log.count(isBack) == 1 })
	if server.Adopted() || server.PID() == left.pid {
		t.Errorf("adopted %v, pid %d after the end of %d", server.Adopted(), server.PID(), left.pid)
	}
	checkRemembered(t, server.URL())
}

// The socket's folder is in /tmp if paths are long, where somebody may tidy up.
func TestRunMakesSocketFolderAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dataDir(t), strings.Repeat("long", 20), strings.Repeat("path", 20))
	server, log := supervised(t, config(dir))
	socketDir := query(t, server.URL(), `SELECT current_setting('unix_socket_directories')`)
	if err := os.RemoveAll(socketDir); err != nil {
		t.Fatal(err)
	}
	signal(t, server.PID(), syscall.SIGKILL)
	until(t, "the server to be back", func() bool { return log.count(isBack) == 1 })
	if got := query(t, server.URL(), `SELECT current_setting('unix_socket_directories')`); got != socketDir {
		t.Errorf("the socket is in %s, want %s", got, socketDir)
	}
	stop(t, server)
	if _, err := os.Stat(socketDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket's folder %s is left behind (%v)", socketDir, err)
	}
}

func TestRunOutwaitsBackends(t *testing.T) {
	t.Parallel()
	server, log := supervised(t, config(usedDir(t)))
	remember(t, server.URL())
	conn, err := pgx.Connect(t.Context(), server.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	backend := int(conn.PgConn().PID())
	signal(t, backend, syscall.SIGSTOP)
	time.AfterFunc(500*time.Millisecond, func() { _ = syscall.Kill(backend, syscall.SIGKILL) })
	signal(t, server.PID(), syscall.SIGKILL)
	until(t, "the server to be back", func() bool { return log.count(isBack) == 1 })
	if n := log.count(cannot); n != 0 {
		t.Errorf("%d attempts failed", n)
	}
	checkRemembered(t, server.URL())
}

// A server that can't start is tried again, ever later; meanwhile Find finds
// none, and an absent cluster is never replaced by an empty one.
func TestRunGoesOnTrying(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	server, log := supervised(t, config(dir))
	remember(t, server.URL())
	back := takeClusterAway(t, dir, server)
	until(t, "two attempts", func() bool { return log.count(cannot) == 2 })
	for _, want := range []string{"next_attempt_in=1s", "next_attempt_in=2s", "the cluster is gone"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if _, running, err := local.Find(dir); running || err != nil {
		t.Errorf("running %v, %v while it is down", running, err)
	}
	if _, err := local.Start(t.Context(), config(dir)); !errors.Is(err, local.ErrInUse) {
		t.Errorf("another manti: %v, want %v", err, local.ErrInUse)
	}
	back()
	until(t, "the server to be back", func() bool { return log.count(isBack) == 1 })
	checkRemembered(t, server.URL())
	if n := log.count(hasEnded); n != 1 {
		t.Errorf("one end was logged %d times", n)
	}
}

// takeClusterAway kills the server so that it can't be started until back.
func takeClusterAway(t *testing.T, dir string, server *local.Server) (back func()) {
	t.Helper()
	here := filepath.Join(dir, "postgres", "cluster")
	away := filepath.Join(dir, "postgres", "elsewhere")
	if err := os.Rename(here, away); err != nil {
		t.Fatal(err)
	}
	signal(t, server.PID(), syscall.SIGKILL)
	return func() {
		if err := os.Rename(away, here); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStopEndsRun(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		t.Run(map[bool]string{false: "while it serves", true: "while it is down"}[down], func(t *testing.T) {
			t.Parallel()
			dir := usedDir(t)
			server, log := supervised(t, config(dir))
			back := func() {}
			if down {
				back = takeClusterAway(t, dir, server)
				until(t, "an attempt", func() bool { return log.count(cannot) > 0 })
			}
			stop(t, server)
			back()
			if log.count(isBack) != 0 || !down && log.count(hasEnded) != 0 {
				t.Errorf("Stop was taken for a crash:\n%s", log)
			}
			again := start(t, config(dir)) // the folder is free
			if again.Adopted() {
				t.Error("a server went on after Stop")
			}
		})
	}
}

func TestDelaysAreBounded(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for delay := local.NextDelay(0); len(got) < 7; delay = local.NextDelay(delay) {
		got = append(got, delay/time.Second)
	}
	if diff := cmp.Diff([]time.Duration{1, 2, 4, 8, 16, 30, 30}, got); diff != "" {
		t.Errorf("seconds (-want +got):\n%s", diff)
	}
}
