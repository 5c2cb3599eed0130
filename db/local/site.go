package local

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"manti/db"
	"manti/db/internal/cluster"
)

// site is how a server is reached. It outlives the server that listens there:
// the next one, after a crash, takes its place.
type site struct {
	address  cluster.Address
	password string
	tempDir  string // the socket's folder if it is a temporary one
}

// url returns the superuser's login to a database.
func (s site) url(database string) db.URL {
	return db.URL(s.address.URL(superuser, s.password, database))
}

// publicURL returns the login to manti's database without its password.
func (s site) publicURL() (string, error) {
	parsed, err := url.Parse(s.url(database).Reveal())
	if err != nil {
		return "", err
	}
	parsed.User = url.User(parsed.User.Username())
	return parsed.String(), nil
}

// remove gives back what was made for the site.
func (s site) remove() {
	if s.tempDir != "" {
		_ = os.RemoveAll(s.tempDir) // holds a socket at most
	}
}

// chooseSite returns where the server shall listen, having made a folder for its
// socket if need be.
func (f folder) chooseSite(cfg Config, password string) (site, error) {
	if !cfg.Loopback {
		if dir := filepath.Join(f.dir, "run"); f.socketDirWorks(dir) {
			return socketSite(dir, password), nil
		}
		for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
			if dir := f.tempSocketDir(base); dir != "" {
				at := socketSite(dir, password)
				at.tempDir = dir
				return at, nil
			}
		}
	}
	port, err := cluster.FreePort()
	return site{address: cluster.Address{Port: port}, password: password}, err
}

func socketSite(dir, password string) site {
	return site{address: cluster.Address{SocketDir: dir, Port: cluster.SocketPort}, password: password}
}

// reopen makes the socket's folder again if somebody has cleared it away. One
// that is somebody else's isn't used.
func (f folder) reopen(at site) error {
	dir := at.address.SocketDir
	if dir == "" {
		return nil
	}
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return f.account.Own(dir)
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	owner, _, err := ownerOf(dir)
	if err == nil && owner != f.account.UID {
		err = fmt.Errorf("%s belongs to %s", dir, userName(owner))
	}
	return err
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
