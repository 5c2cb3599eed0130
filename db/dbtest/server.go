package dbtest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"manti/db"
	"manti/db/internal/cluster"
)

//go:embed guard.sh
var guard string

// serverTimeout bounds one start or stop of a test's own server.
const serverTimeout = time.Minute

// ServerOptions describe a test's own server.
type ServerOptions struct {
	// Fsync makes commits as durable as in production; without it a Kill loses
	// nothing either, since the kernel still has what was written, but a start is faster.
	Fsync bool
	// Settings are further server parameters.
	Settings map[string]string
}

// Server is a Postgres server of one test's own: a cluster, running until the
// test ends. It isn't for concurrent use.
type Server struct {
	dir     string
	start   cluster.StartConfig
	account cluster.Account
	url     db.URL

	running *exec.Cmd // nil while stopped
	alive   *os.File  // the pipe's end that keeps the server running
}

// StopMode says how a server ends.
type StopMode syscall.Signal

const (
	// StopFast cuts connections and writes a checkpoint.
	StopFast = StopMode(cluster.Fast)
	// StopImmediate ends at once, without a checkpoint; the next start recovers.
	StopImmediate = StopMode(cluster.Immediate)
)

// NewServer makes a cluster (about 1 s) and starts it. It is stopped and removed
// when the test ends, or when the test's process dies. Its databases are empty.
func NewServer(t testing.TB, opts ServerOptions) *Server {
	t.Helper()
	s, err := newServer(t.Context(), opts)
	if err != nil {
		t.Fatalf("dbtest: new server: %v", err)
	}
	t.Cleanup(func() {
		if s.running != nil {
			s.Stop(t, StopImmediate)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Errorf("dbtest: remove server: %v", err)
		}
	})
	s.Start(t)
	return s
}

func newServer(ctx context.Context, opts ServerOptions) (*Server, error) {
	r, err := newRegistry(ctx)
	if err != nil {
		return nil, err
	}
	programs, account := r.programs, r.account
	dir, err := shortTempDir(account)
	if err != nil {
		return nil, err
	}
	dataDir := filepath.Join(dir, "data")
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	err = cluster.Init(ctx, cluster.InitConfig{
		Programs: programs, Account: account, DataDir: dataDir, Superuser: superuser, Throwaway: true,
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	address := cluster.Address{SocketDir: dir, Port: cluster.SocketPort}
	settings := testSettings()
	if opts.Fsync {
		settings["fsync"], settings["full_page_writes"] = "on", "on"
	}
	for _, more := range []map[string]string{opts.Settings, address.Settings()} {
		for name, value := range more {
			settings[name] = value
		}
	}
	return &Server{
		dir: dir, account: account, url: db.URL(address.URL(superuser, "", "postgres")),
		start: cluster.StartConfig{Programs: programs, Account: account, DataDir: dataDir, Settings: settings},
	}, nil
}

// shortTempDir makes a folder of the account whose name leaves room for a socket.
func shortTempDir(account cluster.Account) (string, error) {
	base := os.TempDir()
	if len(base)+len("/manti-pg-4294967295") > cluster.MaxSocketDir {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "manti-pg-")
	if err != nil {
		return "", err
	}
	return dir, account.Own(dir)
}

// URL returns the superuser's URL of database postgres. It stays the same over restarts.
func (s *Server) URL() db.URL { return s.url }

// PID returns the postmaster's process id, 0 while stopped.
func (s *Server) PID() int {
	content, err := os.ReadFile(filepath.Join(s.start.DataDir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return pid
}

// Start starts the stopped server and returns when it accepts connections.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if s.running != nil {
		t.Fatal("dbtest: the server runs already")
	}
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	if err := s.run(); err != nil {
		t.Fatalf("dbtest: start server: %v", err)
	}
	if err := cluster.WaitReady(ctx, s.url.Reveal()); err != nil {
		t.Fatalf("dbtest: start server: %v\n%s", err, cluster.TailOf(filepath.Join(s.dir, cluster.LogName), 0))
	}
}

func (s *Server) run() error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	args := append([]string{"-c", guard, "guard.sh", s.dir, s.start.Programs.Path("postgres")}, s.start.Args()...)
	cmd := s.account.Daemon(s.dir, "/bin/sh", args...)
	cmd.ExtraFiles = []*os.File{reader}
	if err := cmd.Start(); err != nil {
		writer.Close()
		return err
	}
	s.running, s.alive = cmd, writer
	return nil
}

// Stop ends the server and returns when it has ended.
func (s *Server) Stop(t testing.TB, mode StopMode) {
	t.Helper()
	s.end(t, syscall.Signal(mode))
}

// Kill ends the server and its backends with SIGKILL, as a crash would, and
// returns when all have ended. Start then recovers it.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	pids := s.processes(t)
	signalAll(pids[1:], syscall.SIGSTOP) // none may finish its work after the postmaster's end
	s.end(t, syscall.SIGKILL)
	signalAll(pids[1:], syscall.SIGKILL)
	waitGone(pids[1:])
}

// goneTimeout bounds the wait for killed backends. They are orphans, and where
// nobody reaps those, a dead one looks alive for ever.
const goneTimeout = 2 * time.Second

func waitGone(pids []int) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(goneTimeout)
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil {
			select {
			case <-ticker.C:
			case <-timeout:
				return
			}
		}
	}
}

func (s *Server) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	pid := s.PID()
	if s.running == nil || pid == 0 {
		t.Fatal("dbtest: the server isn't running")
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("dbtest: stop server: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.running.Wait() }()
	select {
	case <-ended: // the shell's status is the server's, and a killed one fails
	case <-time.After(serverTimeout):
		t.Fatalf("dbtest: the server %d did not stop on %v", pid, signal)
	}
	s.running = nil
	if err := s.alive.Close(); err != nil {
		t.Fatalf("dbtest: stop server: %v", err)
	}
}

// Freeze stops the server's processes (SIGSTOP), so that it neither answers nor
// refuses; the returned function lets them go on.
func (s *Server) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	pids := s.processes(t)
	signalAll(pids, syscall.SIGSTOP)
	return func() { signalAll(pids, syscall.SIGCONT) }
}

// processes returns the postmaster and its children, as ps lists them.
func (s *Server) processes(t testing.TB) []int {
	t.Helper()
	postmaster := s.PID()
	if postmaster == 0 {
		t.Fatal("dbtest: the server isn't running")
	}
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		t.Fatalf("dbtest: list processes: %v", err)
	}
	pids := []int{postmaster}
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err == nil && parent == postmaster {
			pids = append(pids, pid)
		}
	}
	return pids
}

func signalAll(pids []int, signal syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, signal) // a backend may have ended meanwhile
	}
}
