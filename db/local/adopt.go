package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/internal/cluster"
)

// postmaster is what a server writes into postmaster.pid of its cluster.
// https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/utils/pidfile.h
type postmaster struct {
	pid     int
	address cluster.Address
}

// readPostmaster returns the content of postmaster.pid, and false if there is no
// such file or it isn't complete yet.
func (f folder) readPostmaster() (postmaster, bool) {
	content, err := os.ReadFile(f.pidFile())
	if err != nil {
		return postmaster{}, false
	}
	lines := strings.Split(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return postmaster{}, false
	}
	p := postmaster{pid: pid}
	if len(lines) > 5 { // pid, data folder, start time, port, socket folder, TCP address
		p.address.Port, _ = strconv.Atoi(strings.TrimSpace(lines[3])) // 0 answers nowhere
		p.address.SocketDir = strings.TrimSpace(lines[4])
	}
	return p, true
}

func (f folder) pidFile() string { return filepath.Join(f.clusterDir(), "postmaster.pid") }

// adopt returns the instance that runs on the cluster already, nil if none does.
func (f folder) adopt(ctx context.Context) (*instance, error) {
	p, exists := f.readPostmaster()
	if !exists || syscall.Kill(p.pid, 0) != nil {
		return nil, nil // Postgres itself clears away the file of a server that is gone
	}
	if !answers(p.address) {
		return nil, f.clearRecycled(p)
	}
	password, err := f.password(false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	found := &instance{folder: f, pid: p.pid, site: site{address: p.address, password: password}}
	admin := found.site.url("postgres").Reveal()
	if err := cluster.WaitReady(ctx, admin); err != nil {
		return nil, fmt.Errorf("a server (pid %d) runs on the cluster but doesn't take connections: %w", p.pid, err)
	}
	if err := f.isOurs(ctx, admin); err != nil {
		return nil, err
	}
	if filepath.Base(filepath.Dir(p.address.SocketDir)) != "postgres" && strings.HasPrefix(filepath.Base(p.address.SocketDir), "manti-") {
		found.site.tempDir = p.address.SocketDir
	}
	return found, nil
}

// isOurs makes sure that the server behind the address serves this very cluster.
func (f folder) isOurs(ctx context.Context, admin string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending
	dir := ""
	if err := conn.QueryRow(ctx, `SELECT current_setting('data_directory')`).Scan(&dir); err != nil {
		return fmt.Errorf("ask the server for its cluster: %w", err)
	}
	theirs, err := os.Stat(dir)
	if err != nil {
		return err
	}
	ours, err := os.Stat(f.clusterDir())
	if err != nil {
		return err
	}
	if !os.SameFile(theirs, ours) {
		return fmt.Errorf("the server that answers serves %s, not %s", dir, f.clusterDir())
	}
	return nil
}

// dialTimeout bounds a connect on this machine.
const dialTimeout = 2 * time.Second

// answers reports whether anything listens at the address.
func answers(address cluster.Address) bool {
	network, target := "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(address.Port))
	if address.SocketDir != "" {
		network, target = "unix", address.SocketPath()
	}
	conn, err := net.DialTimeout(network, target, dialTimeout)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}

// clearRecycled puts aside a postmaster.pid whose process is alive, but is
// another one that has got the number since (in a container, low numbers
// always are), or is dead without having been reaped. Postgres would refuse to
// start because of it, and because of the socket's lock. It stays if that
// process may be a server: then it is starting, stopping or hung.
func (f folder) clearRecycled(p postmaster) error {
	args, err := commandLine(p.pid)
	if err != nil {
		args, err = exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(p.pid)).Output()
	}
	if err != nil {
		return fmt.Errorf("%s names process %d, which runs; if that isn't a PostgreSQL server, remove the file", f.pidFile(), p.pid)
	}
	if strings.Contains(string(args), serverProgram) {
		return fmt.Errorf("a PostgreSQL server (pid %d) seems to hold the cluster but doesn't answer; end it and start again", p.pid)
	}
	socketLock := p.address.SocketPath() + ".lock"
	if content, err := os.ReadFile(socketLock); err == nil && strings.HasPrefix(string(content), strconv.Itoa(p.pid)+"\n") {
		if err := os.Remove(socketLock); err != nil {
			return err
		}
	}
	return os.Rename(f.pidFile(), f.pidFile()+".stale")
}

// serverProgram is in the command line of every server.
const serverProgram = "postgres"

// commandLine returns the arguments of a process where /proc knows them: none of
// one that is dead but hasn't been reaped.
func commandLine(pid int) ([]byte, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
}

// mayServe reports whether a process that was a server may still be it.
func mayServe(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	args, err := commandLine(pid)
	return err != nil || strings.Contains(string(args), serverProgram)
}

// Find returns the login to the private Postgres that a running manti serves from
// dataDir. running is false if there is none, or if it has ended and is being
// started again: no error.
func Find(dataDir string) (target db.URL, running bool, err error) {
	dataDir, err = filepath.Abs(dataDir)
	if err != nil {
		return "", false, err
	}
	f := folder{dir: filepath.Join(dataDir, "postgres")}
	content, err := os.ReadFile(f.stateFile())
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("find private Postgres: %w", err)
	}
	var s state
	if err := json.Unmarshal(content, &s); err != nil {
		return "", false, fmt.Errorf("find private Postgres: read %s: %w", f.stateFile(), err)
	}
	address, err := addressOf(s.URL)
	if err != nil {
		return "", false, fmt.Errorf("find private Postgres: read %s: %w", f.stateFile(), err)
	}
	if !answers(address) {
		return "", false, nil
	}
	password, err := f.password(false)
	if err != nil {
		return "", false, fmt.Errorf("find private Postgres: %w", err)
	}
	return withPassword(s.URL, password), true, nil
}

// addressOf reads back the address from a URL that Address.URL has made.
func addressOf(text string) (cluster.Address, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return cluster.Address{}, err
	}
	address := cluster.Address{SocketDir: parsed.Query().Get("host")}
	port := parsed.Port()
	if address.SocketDir != "" {
		port = parsed.Query().Get("port")
	}
	address.Port, err = strconv.Atoi(port)
	return address, err
}
