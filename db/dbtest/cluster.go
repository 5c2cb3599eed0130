package dbtest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"manti/db"
	"manti/db/internal/cluster"
)

//go:embed supervise.sh
var supervisor string

const (
	superuser = "manti"
	// graceSeconds is how long the server outlives its last user, so that the
	// packages of one `go test ./...` find it running.
	graceSeconds = 15
)

// A cluster's folder is called an instance. It stands in the shared folder:
//
//	manti-pg-UID/              ours
//	  KEY.lock                 held while looking, starting and sweeping
//	  KEY.current              the name of the instance to join
//	  KEY-RANDOM/              the server account's, 0700: an instance
//	    data/ server.log users .s.PGSQL.5432
//
// KEY stands for the programs and settings. Who can open the FIFO "users" for
// writing keeps the instance alive; see supervise.sh.
type registry struct {
	dir      string
	key      string
	account  cluster.Account
	programs cluster.Programs
	grace    int // graceSeconds, but for tests
}

// joinCluster joins or starts the shared server. This process stays a user of it
// to its end.
func joinCluster(ctx context.Context) (db.URL, error) {
	r, err := newRegistry(ctx)
	if err != nil {
		return "", err
	}
	name, err := r.joinOrStart(ctx)
	if err != nil {
		return "", err
	}
	return r.url(name), nil
}

func newRegistry(ctx context.Context) (*registry, error) {
	account, err := cluster.ServerAccount()
	if err != nil {
		return nil, err
	}
	r := &registry{dir: sharedDir(), account: account, grace: graceSeconds}
	if err := r.makeDir(); err != nil {
		return nil, err
	}
	if r.programs, err = findPrograms(ctx, r.dir); err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, r.programs, testSettings(), supervisor)
	r.key = hex.EncodeToString(sum.Sum(nil))[:8]
	return r, nil
}

// joinOrStart returns the name of a running instance that this process is a user of.
func (r *registry) joinOrStart(ctx context.Context) (string, error) {
	unlock, err := r.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	current, err := os.ReadFile(filepath.Join(r.dir, r.key+".current"))
	if err == nil && r.join(string(current)) == nil {
		return string(current), cluster.WaitReady(ctx, r.url(string(current)).Reveal())
	}
	r.sweep()
	return r.start(ctx)
}

// sharedDir returns the folder of this user's instances, short enough for a socket's path.
func sharedDir() string {
	const longest = len("/manti-pg-4294967295/12345678-1234567890abcdef")
	base := os.TempDir()
	if len(base)+longest > cluster.MaxSocketDir {
		base = "/tmp"
	}
	return filepath.Join(base, "manti-pg-"+strconv.Itoa(os.Getuid()))
}

// makeDir makes the shared folder, which the server's account must pass through,
// and refuses one that somebody else has put there.
func (r *registry) makeDir() error {
	if err := os.Mkdir(r.dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(r.dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a folder of ours", r.dir)
	}
	return os.Chmod(r.dir, 0o711) // whatever the umask
}

// lock waits for the other processes that look for a server.
func (r *registry) lock() (unlock func(), err error) {
	return lockFile(filepath.Join(r.dir, r.key+".lock"))
}

// lockFile waits for an exclusive lock, which ends with this process at the latest.
func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close() // the lock's error says why
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = file.Close() }, nil // which unlocks; nothing was written
}

// join opens the instance's FIFO for the rest of this process's life. It fails
// if nobody reads it: the supervisor is gone or has shut the door.
func (r *registry) join(name string) error {
	fifo := filepath.Join(r.dir, name, "users")
	// Close-on-exec, so that a test's own children don't become users.
	fd, err := syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if _, err := syscall.Write(fd, []byte("\n")); err != nil {
		_ = syscall.Close(fd) // the write's error says why
		return err
	}
	return nil
}

// start makes a new instance and joins it.
func (r *registry) start(ctx context.Context) (string, error) {
	name := r.key + "-" + randomHex()
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := r.account.Own(dir); err != nil {
		return "", err
	}
	err := cluster.Init(ctx, cluster.InitConfig{
		Programs: r.programs, Account: r.account, DataDir: filepath.Join(dir, "data"), Superuser: superuser, Throwaway: true,
	})
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	if err := r.supervise(name); err != nil {
		return "", errors.Join(fmt.Errorf("start the supervisor: %w", err), os.RemoveAll(dir))
	}
	if err := cluster.WaitReady(ctx, r.url(name).Reveal()); err != nil {
		return "", fmt.Errorf("%w\n%s", err, cluster.TailOf(filepath.Join(dir, cluster.LogName), 0))
	}
	return name, os.WriteFile(filepath.Join(r.dir, r.key+".current"), []byte(name), 0o600)
}

// supervise starts the supervisor with the reading end of the FIFO, having
// opened a writing end first: there is no moment without a user.
func (r *registry) supervise(name string) error {
	dir := filepath.Join(r.dir, name)
	fifo := filepath.Join(dir, "users")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return err
	}
	if err := r.account.Own(fifo); err != nil {
		return err
	}
	fd, err := syscall.Open(fifo, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	reader := os.NewFile(uintptr(fd), fifo)
	defer reader.Close()
	if err := r.join(name); err != nil {
		return err
	}
	// The shell shares the description; its read must wait.
	if err := syscall.SetNonblock(fd, false); err != nil {
		return err
	}
	settings := testSettings()
	for key, value := range (cluster.Address{SocketDir: dir, Port: cluster.SocketPort}).Settings() {
		settings[key] = value
	}
	start := cluster.StartConfig{Programs: r.programs, Account: r.account, DataDir: filepath.Join(dir, "data"), Settings: settings}
	args := append([]string{"-c", supervisor, "supervise.sh", dir, strconv.Itoa(r.grace), r.programs.Path("postgres")}, start.Args()...)
	cmd := r.account.Daemon(dir, "/bin/sh", args...)
	cmd.ExtraFiles = []*os.File{reader}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// sweep removes instances whose supervisor was killed, with their server. The
// caller holds the lock, so none of them is just being started.
func (r *registry) sweep() {
	dirs, err := filepath.Glob(filepath.Join(r.dir, r.key+"-*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		if os.Remove(dir) == nil {
			continue // empty: its supervisor may not remove it from root's folder
		}
		fd, err := syscall.Open(filepath.Join(dir, "users"), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err == nil {
			_ = syscall.Close(fd) // somebody reads: it lives, if only for those who use it
			continue
		}
		if !errors.Is(err, syscall.ENXIO) {
			continue // the door is shut, and its supervisor removes it
		}
		if pid := runningServer(dir); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGQUIT) // if it is gone, so much the better
		}
		_ = os.RemoveAll(dir) // what is left is swept the next time
	}
}

// runningServer returns the pid of the orphaned server of an instance, or 0. The
// pid in the file is the server's, not a recycled one, while the server answers on
// its private socket.
func runningServer(dir string) int {
	conn, err := net.Dial("unix", cluster.Address{SocketDir: dir, Port: cluster.SocketPort}.SocketPath())
	if err != nil {
		return 0
	}
	defer conn.Close()
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
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

// url returns the superuser's URL of an instance.
func (r *registry) url(name string) db.URL {
	address := cluster.Address{SocketDir: filepath.Join(r.dir, name), Port: cluster.SocketPort}
	return db.URL(address.URL(superuser, "", "postgres"))
}
