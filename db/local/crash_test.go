package local_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db/local"
)

// child runs serve in another process, under other credentials if given.
type child struct {
	cmd *exec.Cmd
	pid int // of its postmaster
}

// startChild returns the running child, or what it said when it couldn't start.
func startChild(t *testing.T, dir string, credential *syscall.Credential) (child, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // not bound to t.Context, which ends before the cleanup
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), serveDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // ends the child if it still runs
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	c := child{cmd: cmd}
	if _, err := fmt.Sscanf(line, "serving %d", &c.pid); err != nil {
		return c, strings.TrimPrefix(line, "error ")
	}
	return c, ""
}

func (c child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // killed
}

func needLinux(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Skip("needs /proc to start itself again")
	}
}

func TestAdoptsServerOfKilledManti(t *testing.T) {
	t.Parallel()
	needLinux(t)
	dir := usedDir(t)
	killed, trouble := startChild(t, dir, nil)
	if trouble != "" {
		t.Fatal(trouble)
	}
	url, running, err := local.Find(dir)
	if err != nil || !running {
		t.Fatalf("running %v, %v", running, err)
	}
	remember(t, url)
	killed.kill(t)
	if err := syscall.Kill(killed.pid, 0); err != nil {
		t.Fatalf("the server ended with its manti: %v", err)
	}

	server := start(t, config(dir))
	if !server.Adopted() || server.PID() != killed.pid {
		t.Errorf("adopted %v, pid %d; want the running server, pid %d", server.Adopted(), server.PID(), killed.pid)
	}
	checkRemembered(t, server.URL())
	if found, running, err := local.Find(dir); err != nil || !running || found != server.URL() {
		t.Errorf("found %v, running %v, %v", found, running, err)
	}
	stop(t, server)
	if _, err := os.Stat(filepath.Join(dir, "postgres", "cluster", "postmaster.pid")); err == nil {
		t.Error("the adopted server goes on after Stop")
	}
	again := start(t, config(dir))
	if again.Adopted() {
		t.Error("adopted a server that had been stopped")
	}
	checkRemembered(t, again.URL())
}

func TestRecoversKilledServer(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	server, err := local.Start(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	remember(t, server.URL())
	if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	stop(t, server)
	again := start(t, config(dir))
	if again.Adopted() {
		t.Error("adopted a dead server")
	}
	checkRemembered(t, again.URL())
}

// A pid file whose number belongs to another process by now, as after a crash in
// a container, where numbers are always the same few.
func TestIgnoresRecycledPid(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	server, err := local.Start(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	remember(t, server.URL())
	pidFile := filepath.Join(dir, "postgres", "cluster", "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, server)
	bystander := exec.CommandContext(t.Context(), "sleep", "60")
	bystander.SysProcAttr = &syscall.SysProcAttr{Credential: credentialOf(t, filepath.Dir(pidFile))}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bystander.Wait() }) // killed with the context
	_, rest, _ := strings.Cut(string(content), "\n")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(bystander.Process.Pid)+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, config(dir))
	if again.Adopted() {
		t.Error("adopted a process that isn't a server")
	}
	checkRemembered(t, again.URL())
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the bystander was ended: %v", err)
	}
}

// credentialOf returns those of a folder's owner, nil if that is ourselves.
func credentialOf(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no owner")
	}
	if int(stat.Uid) == os.Geteuid() {
		return nil
	}
	return &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
}

// Other users than root: an ordinary one, and one whose number has no name.
func TestStartAsAnotherUser(t *testing.T) {
	t.Parallel()
	needLinux(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; the other tests run as an ordinary one anyway")
	}
	tests := []struct {
		name string
		uid  uint32
		may  string // the one error that is allowed
	}{
		{name: "ordinary user", uid: 65534},
		{name: "no passwd entry", uid: 12345, may: "add it to /etc/passwd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			if err := os.Chown(dir, int(test.uid), int(test.uid)); err != nil {
				t.Fatal(err)
			}
			credential := &syscall.Credential{Uid: test.uid, Gid: test.uid}
			first, trouble := startChild(t, dir, credential)
			if trouble != "" {
				if test.may == "" || !strings.Contains(trouble, test.may) {
					t.Fatal(trouble)
				}
				t.Skipf("this machine forbids user namespaces: %s", trouble)
			}
			first.kill(t)
			second, trouble := startChild(t, dir, credential)
			if trouble != "" || second.pid != first.pid {
				t.Errorf("the second start did not adopt server %d: %d %s", first.pid, second.pid, trouble)
			}
			url, running, err := local.Find(dir)
			if err != nil || !running {
				t.Fatalf("running %v, %v", running, err)
			}
			if got := query(t, url, `SELECT current_database()::text`); got != "manti" {
				t.Errorf("database %q", got)
			}
		})
	}
}

func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	needLinux(t)
	dir := dataDir(t)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	var credential *syscall.Credential
	if os.Geteuid() == 0 {
		credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	_, trouble := startChild(t, dir, credential)
	if !strings.Contains(trouble, "permission denied") || !strings.Contains(trouble, "MANTI_DATA") {
		t.Errorf("got %q, want what is wrong and what to set", trouble)
	}
}

// A server that root's manti has made under another account must be found again
// by root, and refused, by name, to a third user.
func TestForeignCluster(t *testing.T) {
	t.Parallel()
	needLinux(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can make a cluster of somebody else's")
	}
	dir := dataDir(t)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	owned, trouble := startChild(t, dir, &syscall.Credential{Uid: 65534, Gid: 65534})
	if trouble != "" {
		t.Fatal(trouble)
	}
	owned.kill(t)
	if err := syscall.Kill(owned.pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	waitGone(t, owned.pid)
	server := start(t, config(dir)) // as root, under the account of the cluster's owner
	stop(t, server)
	if err := os.Chmod(filepath.Join(dir, "postgres"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "postgres", "lock"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, trouble = startChild(t, dir, &syscall.Credential{Uid: 1, Gid: 1})
	if !strings.Contains(trouble, "belongs to user nobody") {
		t.Errorf("got %q, want whom the cluster belongs to", trouble)
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(30 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// A backend in the middle of a statement outlives its killed postmaster for a
// moment and holds the shared memory: the next start must wait for it.
func TestOutwaitsBackendsOfKilledServer(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	server, err := local.Start(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	remember(t, server.URL())
	conn, err := pgx.Connect(t.Context(), server.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	backend := int(conn.PgConn().PID())
	if err := syscall.Kill(backend, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	stop(t, server)
	time.AfterFunc(500*time.Millisecond, func() { _ = syscall.Kill(backend, syscall.SIGKILL) })
	again := start(t, config(dir))
	checkRemembered(t, again.URL())
}
