package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Account is the user that server programs run as: this process's own, or for
// root another one, because PostgreSQL refuses to run as root.
type Account struct {
	UID, GID int
	// Name is the user's name, or "" if the machine knows none for the UID.
	Name string
	// switched: programs must be started under other credentials than ours.
	switched bool
}

// unnamedUID is taken by root on a machine without a passwd file: the number
// that is called nobody everywhere.
const unnamedUID = 65534

// ServerAccount returns the account for server programs: our own, and for root
// postgres, else the first ordinary user, else nobody.
func ServerAccount() (Account, error) {
	uid := os.Geteuid()
	if uid != 0 {
		account := Account{UID: uid, GID: os.Getegid()}
		if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			account.Name = known.Username
		}
		return account, nil
	}
	for _, name := range append([]string{"postgres", "nobody"}, ordinaryUsers()...) {
		if known, err := user.Lookup(name); err == nil {
			return accountOf(known)
		}
	}
	return Account{UID: unnamedUID, GID: unnamedUID, switched: true}, nil
}

func accountOf(known *user.User) (Account, error) {
	uid, err := strconv.Atoi(known.Uid)
	if err != nil {
		return Account{}, fmt.Errorf("user %s has no numeric id: %w", known.Username, err)
	}
	gid, err := strconv.Atoi(known.Gid)
	if err != nil {
		return Account{}, fmt.Errorf("user %s has no numeric group: %w", known.Username, err)
	}
	if uid == 0 {
		return Account{}, errors.New("user " + known.Username + " is root")
	}
	return Account{UID: uid, GID: gid, Name: known.Username, switched: true}, nil
}

// ordinaryUsers returns the names with a UID from 1000 on.
func ordinaryUsers() []string {
	content, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil // no such file is no user
	}
	var names []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Split(line, ":")
		if len(fields) < 4 {
			continue
		}
		if uid, err := strconv.Atoi(fields[2]); err == nil && uid >= 1000 {
			names = append(names, fields[0])
		}
	}
	return names
}

// As returns the account of another UID, which only root can take on.
func (a Account) As(uid int) (Account, error) {
	if !a.switched {
		return Account{}, errors.New("only root can run programs as another user")
	}
	if uid == 0 {
		return Account{}, errors.New("PostgreSQL refuses to run as root")
	}
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return accountOf(known)
	}
	return Account{UID: uid, GID: uid, switched: true}, nil
}

// Reaches reports whether the account may enter the folder.
func (a Account) Reaches(dir string) bool {
	if !a.switched {
		return true
	}
	return a.Command("/", "/bin/sh", "-c", `cd -- "$1"`, "sh", dir).Run() == nil
}

// Switched reports whether the account is another than this process's.
func (a Account) Switched() bool { return a.switched }

// String returns the name, or the number if there is none.
func (a Account) String() string {
	if a.Name != "" {
		return a.Name
	}
	return "uid " + strconv.Itoa(a.UID)
}

// Own gives path, and all in it, to the account.
func (a Account) Own(path string) error {
	if !a.switched {
		return nil
	}
	return filepath.WalkDir(path, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, a.UID, a.GID)
	})
}

// Command prepares a program of the account: own process group, own credentials,
// clean environment, a working directory that it can read.
func (a Account) Command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = a.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.credential()}
	return cmd
}

// Daemon prepares a program of the account that outlives this process: a session
// of its own, no terminal, no output of ours.
func (a Account) Daemon(dir, program string, args ...string) *exec.Cmd {
	cmd := a.Command(dir, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: a.credential()}
	return cmd
}

// credential returns nil if nothing has to change.
func (a Account) credential() *syscall.Credential {
	if !a.switched {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)}
}

// environ is what server programs need, and no PGHOST, PGPORT, PGOPTIONS….
func (a Account) environ() []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	if a.Name != "" {
		env = append(env, "USER="+a.Name)
	}
	for _, name := range []string{"PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "NIX_LD"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
