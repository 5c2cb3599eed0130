package dbtest_test

import (
	"bufio"
	"context"
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

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/dbtest"
)

// childDir is set in a child of these tests: it joins the server in that folder,
// says so, and stays until its standard input ends.
const childDir = "DBTEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(runChild(dir))
	}
	os.Exit(m.Run())
}

func runChild(dir string) int {
	instance, url, err := dbtest.JoinIn(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(instance, url.Reveal())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// user is a child process that uses a shared server.
type user struct {
	cmd      *exec.Cmd
	instance string
	url      db.URL
}

func startUser(t *testing.T, dir string) user {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
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
	instance, url, _ := strings.Cut(strings.TrimSpace(line), " ")
	return user{cmd: cmd, instance: instance, url: db.URL(url)}
}

// kill ends the child as nothing can be cleaned up after.
func (u user) kill(t *testing.T) {
	t.Helper()
	if err := u.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = u.cmd.Wait() // killed
}

// sharedDir returns a folder for shared servers, short enough for sockets.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "manti-pg-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestSharedServerEndsWithItsLastUser(t *testing.T) {
	t.Parallel()
	dir := sharedDir(t)
	first := startUser(t, dir)
	second := startUser(t, dir)
	if first.instance != second.instance {
		t.Fatalf("two servers for two users: %s, %s", first.instance, second.instance)
	}
	first.kill(t)
	conn, err := pgx.Connect(t.Context(), second.url.Reveal())
	if err != nil {
		t.Fatalf("the server ended before its last user: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	// Each turn needs the server; if the first user's death had ended it, one would fail.
	for range 100 {
		if _, err := conn.Exec(t.Context(), "SELECT pg_sleep(0.005)"); err != nil {
			t.Fatalf("the server ended before its last user: %v", err)
		}
	}
	second.kill(t)
	waitRemoved(t, first.instance)
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the folder is gone and the server answers")
	}
}

func TestSharedServerWithoutSupervisorIsReplaced(t *testing.T) {
	t.Parallel()
	dir := sharedDir(t)
	first := startUser(t, dir)
	supervisor := parentOf(t, postmaster(t, first.instance))
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the supervisor is gone", func() bool {
		fd, err := syscall.Open(filepath.Join(first.instance, "users"), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			_ = syscall.Close(fd)
		}
		return errors.Is(err, syscall.ENXIO)
	})
	second := startUser(t, dir)
	if second.instance == first.instance {
		t.Fatal("joined a server that nobody would end")
	}
	waitRemoved(t, first.instance)
	second.kill(t)
	waitRemoved(t, second.instance)
}

func postmaster(t *testing.T, instance string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(instance, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(content), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	parent, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return parent
}

func waitRemoved(t *testing.T, dir string) {
	t.Helper()
	waitUntil(t, dir+" is removed", func() bool {
		entries, err := os.ReadDir(dir)
		// Root's supervisor is another user, who may empty the folder but not remove it.
		return errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0
	})
}

// waitUntil waits up to 30 s for other processes to do what they should.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(30 * time.Second)
	for !done() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
