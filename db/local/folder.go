package local

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"manti/db"
	"manti/db/internal/cluster"
)

// folder is DATA/postgres and the account that its server runs as.
type folder struct {
	dir     string
	account cluster.Account
}

func (f folder) clusterDir() string   { return filepath.Join(f.dir, "cluster") }
func (f folder) passwordFile() string { return filepath.Join(f.dir, "password") }
func (f folder) stateFile() string    { return filepath.Join(f.dir, "server.json") }
func (f folder) logFile() string      { return filepath.Join(f.dir, cluster.LogName) }
func (f folder) programsDir() string  { return filepath.Join(filepath.Dir(f.dir), "pgsql") }

// openFolder makes the folder if it is missing, and settles under which account
// the server runs: an existing cluster's owner decides.
func openFolder(dataDir string, account cluster.Account) (folder, error) {
	dataDir, err := filepath.Abs(dataDir)
	if err != nil {
		return folder{}, err
	}
	f := folder{dir: filepath.Join(dataDir, "postgres"), account: account}
	if err := f.makeDirs(dataDir); err != nil {
		return folder{}, fmt.Errorf("%w; choose a folder that can be written (--data, MANTI_DATA), or set DATABASE_URL", err)
	}
	owner, exists, err := ownerOf(f.clusterDir())
	if err != nil {
		return folder{}, err
	}
	if exists && owner != account.UID {
		if f.account, err = account.As(owner); err != nil {
			return folder{}, fmt.Errorf("the cluster in %s belongs to %s: run manti as that user, or choose another folder (--data, MANTI_DATA): %w",
				f.clusterDir(), userName(owner), err)
		}
	}
	if !f.account.Reaches(f.dir) {
		return folder{}, fmt.Errorf("PostgreSQL refuses to run as root and would run as %s, who may not enter %s: choose a folder that others may pass through (--data, MANTI_DATA), such as /var/lib/manti", f.account, f.dir)
	}
	return f, nil
}

// makeDirs makes DATA and DATA/postgres. Another account's server has to pass
// through both, without seeing what is in them.
func (f folder) makeDirs(dataDir string) error {
	mode := os.FileMode(0o700)
	if f.account.Switched() {
		mode = 0o711
	}
	if err := os.MkdirAll(dataDir, mode); err != nil {
		return err
	}
	if err := os.Mkdir(f.dir, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if !f.account.Switched() {
		return nil
	}
	for _, dir := range []string{dataDir, f.dir} {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := os.Chmod(dir, info.Mode().Perm()|0o011); err != nil {
			return err
		}
	}
	return nil
}

func ownerOf(path string) (uid int, exists bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false, fmt.Errorf("%s has no owner", path)
	}
	return int(stat.Uid), true, nil
}

func userName(uid int) string {
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + known.Username
	}
	return "user " + strconv.Itoa(uid)
}

// takeLock locks the folder until the file is closed or this process ends.
func (f folder) takeLock() (*os.File, error) {
	path := filepath.Join(f.dir, "lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w; choose a folder that can be written (--data, MANTI_DATA), or set DATABASE_URL", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(path) // only for the message
		_ = file.Close()               // nothing was written
		return nil, fmt.Errorf("%w (pid %s): stop it, or give this one a data directory of its own (--data, MANTI_DATA)",
			ErrInUse, strings.TrimSpace(string(holder)))
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = file.Close() // the first error counts
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

// ErrInUse says that another manti runs the server of this data directory.
var ErrInUse = errors.New("another manti uses this data directory")

// password returns the superuser's password, making one if there is no cluster yet.
func (f folder) password(fresh bool) (string, error) {
	content, err := os.ReadFile(f.passwordFile())
	if err == nil && len(content) > 0 {
		return strings.TrimSpace(string(content)), nil
	}
	if !fresh {
		return "", fmt.Errorf("the cluster's password is not in %s: restore that file", f.passwordFile())
	}
	password := rand.Text()
	return password, writeFile(f.passwordFile(), []byte(password+"\n"))
}

// state is the content of server.json. The URL holds no password.
type state struct {
	PID int    `json:"pid"`
	URL string `json:"url"`
}

func (f folder) writeState(s state) error {
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(f.stateFile(), content)
}

func (f folder) removeState() { _ = os.Remove(f.stateFile()) } // Find would see that nothing answers there

// writeFile replaces a file, durably and all at once, readable to this user only.
func writeFile(path string, content []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the error itself says why
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// withPassword puts the password into a URL that has a login.
func withPassword(address, password string) db.URL {
	before, after, found := strings.Cut(address, "@")
	if !found {
		return db.URL(address)
	}
	return db.URL(before + ":" + password + "@" + after) // rand.Text needs no encoding
}
