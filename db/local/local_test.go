package local_test

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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/local"
)

// serveDir is set in a child of these tests: it starts the private Postgres in
// that folder, says where, and stays until its standard input ends.
const serveDir = "LOCAL_TEST_SERVE"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == local.FetchCommand {
		os.Exit(local.FetchMain(os.Args[2:], os.Stderr))
	}
	if dir := os.Getenv(serveDir); dir != "" {
		os.Exit(serve(dir))
	}
	code := m.Run()
	if dir, _ := made(); dir != "" {
		_ = os.RemoveAll(dir) // a throw-away below the temporary folder
	}
	os.Exit(code)
}

func serve(dir string) int {
	server, err := local.Start(context.Background(), config(dir))
	if err != nil {
		fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
		return 1
	}
	fmt.Println("serving", server.PID())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	if err := server.Stop(context.Background()); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// config is that of a manti in dir, with the machine's programs and no download.
func config(dir string) local.Config {
	return local.Config{
		DataDir: dir, ProgramDir: os.Getenv("MANTI_PG_BIN"), Path: os.Getenv("PATH"), FetchCommand: []string{"-"},
	}
}

// dataDir returns a folder through which the server's account may pass, unlike t.TempDir.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(tempBase(), "manti-local-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// made is a data directory in which a server has run once, to be copied: a fresh
// cluster takes a second of CPU, a copy a tenth.
var made = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp(tempBase(), "manti-local-"); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return dir, err
	}
	server, err := local.Start(context.Background(), config(dir))
	if err != nil {
		return dir, err
	}
	return dir, server.Stop(context.Background())
})

// usedDir returns a data directory of the test's own with a cluster in it.
func usedDir(t *testing.T) string {
	t.Helper()
	from, err := made()
	if err != nil {
		t.Fatal(err)
	}
	dir := dataDir(t)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", filepath.Join(from, "postgres"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the cluster: %v: %s", err, out)
	}
	return dir
}

// tempBase returns where clusters are made: in memory if there is room, since
// these servers sync what they write, else "" for the usual place.
func tempBase() string {
	const memory, room = "/dev/shm", 2 << 30
	var stat syscall.Statfs_t
	if err := syscall.Statfs(memory, &stat); err != nil || uint64(stat.Bavail)*uint64(stat.Bsize) < room {
		return ""
	}
	return memory
}

func start(t *testing.T, cfg local.Config) *local.Server {
	t.Helper()
	server, err := local.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, server) })
	return server
}

func stop(t *testing.T, server *local.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// query runs one statement that returns one text, on a connection of its own.
func query(t *testing.T, url db.URL, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	text := ""
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// remember writes a row, which check looks for.
func remember(t *testing.T, url db.URL) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `CREATE TABLE kept AS SELECT 'still here' AS text`); err != nil {
		t.Fatal(err)
	}
}

func checkRemembered(t *testing.T, url db.URL) {
	t.Helper()
	if got := query(t, url, `SELECT text FROM kept`); got != "still here" {
		t.Errorf("the row says %q", got)
	}
}

func TestStartKeepsRows(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, config(dir))
	if first.Adopted() {
		t.Error("a new server was adopted")
	}
	remember(t, first.URL())
	stop(t, first)
	if syscall.Kill(first.PID(), 0) == nil {
		t.Error("the server goes on after Stop")
	}
	second := start(t, config(dir))
	checkRemembered(t, second.URL())
}

func TestStartIsPrivateAndDurable(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	server := start(t, config(dir))
	settings := map[string]string{
		"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
		"server_encoding": "UTF8", "lc_messages": "C", "TimeZone": "UTC", "password_encryption": "scram-sha-256",
	}
	for name, want := range settings {
		if got := query(t, server.URL(), "SELECT current_setting('"+name+"')"); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	own, err := syscall.Getpgid(server.PID())
	if err != nil {
		t.Fatal(err)
	}
	if own == syscall.Getpgrp() {
		t.Error("the server is in our process group: a Ctrl-C would reach it")
	}
	for name, want := range map[string]os.FileMode{"password": 0o600, "cluster": 0o700, "server.json": 0o600, "server.log": 0o600, "run": 0o700} {
		info, err := os.Stat(filepath.Join(dir, "postgres", name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
	wrong := db.URL(strings.Replace(server.URL().Reveal(), "manti:", "manti:wrong", 1))
	if conn, err := pgx.Connect(t.Context(), wrong.Reveal()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a wrong password was let in")
	}
	state, err := os.ReadFile(filepath.Join(dir, "postgres", "server.json"))
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(filepath.Join(dir, "postgres", "password"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(state), strings.TrimSpace(string(password))) {
		t.Error("server.json holds the password")
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	if _, running, err := local.Find(filepath.Join(dir, "nothing")); running || err != nil {
		t.Errorf("before the first start: running %v, %v", running, err)
	}
	server := start(t, config(dir))
	found, running, err := local.Find(dir)
	if err != nil || !running || found != server.URL() {
		t.Errorf("found %v, running %v, %v; want %v", found, running, err, server.URL())
	}
	if got := query(t, found, `SELECT current_database()::text`); got != "manti" {
		t.Errorf("database %q", got)
	}
	stop(t, server)
	if _, running, err := local.Find(dir); running || err != nil {
		t.Errorf("after Stop: running %v, %v", running, err)
	}
}

func TestSecondMantiIsRefused(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	first := start(t, config(dir))
	_, err := local.Start(t.Context(), config(dir))
	if !errors.Is(err, local.ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v, want that process %d uses the folder", err, os.Getpid())
	}
	if got := query(t, first.URL(), `SELECT 'up'`); got != "up" {
		t.Errorf("got %q", got)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	dir := usedDir(t)
	cfg := config(dir)
	cfg.Loopback = true
	server := start(t, cfg)
	if got := query(t, server.URL(), `SELECT current_setting('listen_addresses') || current_setting('unix_socket_directories')`); got != "127.0.0.1" {
		t.Errorf("listens on %q", got)
	}
	wrong := db.URL(strings.Replace(server.URL().Reveal(), "manti:", "manti:wrong", 1))
	if conn, err := pgx.Connect(t.Context(), wrong.Reveal()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a wrong password was let in")
	}
	if found, running, err := local.Find(dir); !running || err != nil || found != server.URL() {
		t.Errorf("found %v, running %v, %v", found, running, err)
	}
}

func TestLongPathMovesTheSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dataDir(t), strings.Repeat("long", 20), strings.Repeat("path", 20))
	server := start(t, config(dir))
	socketDir := query(t, server.URL(), `SELECT current_setting('unix_socket_directories')`)
	if strings.HasPrefix(socketDir, dir) {
		t.Errorf("the socket is in %s", socketDir)
	}
	stop(t, server)
	if _, err := os.Stat(socketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's folder %s is left behind (%v)", socketDir, err)
	}
}

func TestStopCutsConnections(t *testing.T) {
	t.Parallel()
	server := start(t, config(usedDir(t)))
	conn, err := pgx.Connect(t.Context(), server.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	stop(t, server)
	if _, err := conn.Exec(t.Context(), "SELECT 1"); !db.IsOutage(err) {
		t.Errorf("got %v, want an outage", err)
	}
}
