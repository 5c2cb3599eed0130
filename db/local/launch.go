package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/internal/cluster"
)

// maxLogBytes is the size above which the server's log is put aside at a start.
const maxLogBytes = 10 << 20

// portAttempts is how many free ports are tried: each may be taken between
// finding it and the server's own bind.
const portAttempts = 3

// settings suit a machine that does other things as well.
func settings() map[string]string {
	return map[string]string{
		"shared_buffers":      "128MB",
		"max_connections":     "100",
		"fsync":               "on",
		"full_page_writes":    "on",
		"synchronous_commit":  "on",
		"wal_level":           "minimal",
		"max_wal_senders":     "0",
		"max_wal_size":        "1GB",
		"timezone":            "UTC",
		"log_timezone":        "UTC",
		"log_line_prefix":     "%m [%p] ",
		"logging_collector":   "off",
		"log_destination":     "stderr",
		"password_encryption": "scram-sha-256",
		"cluster_name":        "manti",
		"log_checkpoints":     "off",
		"checkpoint_timeout":  "15min",
		"wal_compression":     "on",
	}
}

// launch starts a server, making first what it needs.
func (f folder) launch(ctx context.Context, cfg Config) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout+fetchTimeout)
	defer cancel()
	programs, err := f.choosePrograms(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := f.ensureCluster(ctx, programs); err != nil {
		return nil, fmt.Errorf("make a new cluster: %w", err)
	}
	password, err := f.password(false)
	if err != nil {
		return nil, err
	}
	if err := f.rotateLog(); err != nil {
		return nil, err
	}
	held := time.Now().Add(heldPatience)
	for attempt := 1; ; attempt++ {
		server, err := f.launchAt(ctx, cfg, programs, password)
		switch {
		case errors.Is(err, errStillHeld) && time.Now().Before(held):
			if err := pause(ctx, heldPoll); err != nil {
				return nil, err
			}
		case errors.Is(err, errPortTaken) && attempt < portAttempts:
		default:
			return server, err
		}
	}
}

// What a start may meet and outwait.
var (
	errPortTaken = errors.New("the port was taken by another program")
	// The postmaster was killed and its backends haven't all noticed yet.
	errStillHeld = errors.New("processes of the server before still hold the cluster")
)

// Backends notice the end of their postmaster when they next wait for something:
// at once, unless they are in the middle of a long statement.
const (
	heldPatience = 20 * time.Second
	heldPoll     = 100 * time.Millisecond
)

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// launchAt makes one attempt at an address.
func (f folder) launchAt(ctx context.Context, cfg Config, programs cluster.Programs, password string) (_ *Server, err error) {
	address, tempDir, err := f.chooseAddress(cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && tempDir != "" {
			_ = os.RemoveAll(tempDir) // made a moment ago
		}
	}()
	parameters := settings()
	for name, value := range address.Settings() {
		parameters[name] = value
	}
	child, err := cluster.Start(cluster.StartConfig{
		Programs: programs, Account: f.account, DataDir: f.clusterDir(), LogFile: f.logFile(), Settings: parameters,
	})
	if err != nil {
		return nil, withHint(err, f.account)
	}
	server := &Server{
		folder: f, pid: child.PID(), child: child, tempDir: tempDir,
		url: db.URL(address.URL(superuser, password, database)),
	}
	ready, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := child.Ready(ready, address.URL(superuser, password, "postgres")); err != nil {
		switch text := err.Error(); {
		case strings.Contains(text, "Address already in use"):
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		case strings.Contains(text, "pre-existing shared memory block"):
			err = fmt.Errorf("%w: %w", errStillHeld, err)
		}
		return nil, errors.Join(withHint(err, f.account), server.shutDown(context.WithoutCancel(ctx)))
	}
	return server, nil
}

// rotateLog keeps the log and the one before it.
func (f folder) rotateLog() error {
	info, err := os.Stat(f.logFile())
	if err != nil || info.Size() < maxLogBytes {
		return nil // there is none, or it is short
	}
	return os.Rename(f.logFile(), f.logFile()+".old")
}

// chooseAddress returns where the server shall listen, with the temporary folder
// made for its socket, if any.
func (f folder) chooseAddress(cfg Config) (address cluster.Address, tempDir string, err error) {
	if !cfg.Loopback {
		if dir := filepath.Join(f.dir, "run"); f.socketDirWorks(dir) {
			return cluster.Address{SocketDir: dir, Port: cluster.SocketPort}, "", nil
		}
		for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
			if dir := f.tempSocketDir(base); dir != "" {
				return cluster.Address{SocketDir: dir, Port: cluster.SocketPort}, dir, nil
			}
		}
	}
	port, err := cluster.FreePort()
	if err != nil {
		return cluster.Address{}, "", err
	}
	return cluster.Address{Port: port}, "", nil
}

// tempSocketDir makes a folder below base if a socket can be used there, else "".
func (f folder) tempSocketDir(base string) string {
	if base == "" || !filepath.IsAbs(base) {
		return ""
	}
	dir, err := os.MkdirTemp(base, "manti-")
	if err != nil {
		return ""
	}
	if !f.socketDirWorks(dir) {
		_ = os.Remove(dir) // empty
		return ""
	}
	return dir
}

// socketDirWorks makes dir the server account's own and tries a socket in it:
// its path may be too long, or its file system know no sockets.
func (f folder) socketDirWorks(dir string) bool {
	if len(dir) > cluster.MaxSocketDir {
		return false
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return false
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || os.Chmod(dir, 0o700) != nil || f.account.Own(dir) != nil || !f.account.Reaches(dir) {
		return false
	}
	listener, err := net.Listen("unix", filepath.Join(dir, ".probe"))
	if err != nil {
		return false
	}
	return listener.Close() == nil // which removes it
}

// address returns the server's URL without its password.
func (s *Server) address() string { return stripPassword(s.url) }

// ensureDatabase makes manti's database in a new cluster.
func (s *Server) ensureDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	admin, err := s.url.WithDatabase("postgres")
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, admin.Reveal())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending
	exists := false
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, database).Scan(&exists); err != nil {
		return fmt.Errorf("look for the database: %w", err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize()); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return nil
}
