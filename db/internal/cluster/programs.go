package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// MinMajor is the oldest PostgreSQL that manti works with.
const MinMajor = 15

// versionTimeout bounds one `postgres -V`, which takes milliseconds.
const versionTimeout = 5 * time.Second

// Programs is one installation's folder of server programs.
type Programs struct {
	Dir     string // absolute, symlinks resolved
	Major   int    // 15
	Version string // "15.14"
}

// Path returns the path of one program.
func (p Programs) Path(name string) string { return filepath.Join(p.Dir, name) }

// Search says where to look for programs.
type Search struct {
	// Explicit is the only folder looked at, if set.
	Explicit string
	// Path is a list of folders as in $PATH.
	Path string
	// Globs are patterns of further folders.
	Globs []string
}

// SystemGlobs returns the folders where distributions and installers put server
// programs without putting them on the PATH.
func SystemGlobs() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",                                // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                         // postgresql.org's RPMs
		"/usr/libexec/postgresql*",                                 // Alpine
		"/opt/homebrew/opt/postgresql@*/bin",                       // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                          // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",          // Homebrew on Linux
		"/Applications/Postgres.app/Contents/Versions/*/bin",       // Postgres.app
		"/usr/local/pgsql/bin",                                     // built from source
		"/Library/PostgreSQL/*/bin", "/opt/bitnami/postgresql/bin", // EDB's installer, Bitnami
	}
}

// Find returns the installations of MinMajor or newer, newest first. An Explicit
// folder without usable programs is an error; nothing found elsewhere isn't.
func (s Search) Find(ctx context.Context) ([]Programs, error) {
	if s.Explicit != "" {
		programs, err := inspect(ctx, s.Explicit)
		if err != nil {
			return nil, fmt.Errorf("look for PostgreSQL's programs in %s: %w", s.Explicit, err)
		}
		return []Programs{programs}, nil
	}
	var found []Programs
	seen := map[string]bool{}
	for _, dir := range s.candidates() {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil || seen[filepath.Dir(real)] {
			continue
		}
		seen[filepath.Dir(real)] = true
		if programs, err := inspect(ctx, filepath.Dir(real)); err == nil {
			found = append(found, programs)
		}
	}
	slices.SortStableFunc(found, func(a, b Programs) int { return cmp.Compare(b.Major, a.Major) })
	return found, ctx.Err()
}

func (s Search) candidates() []string {
	dirs := filepath.SplitList(s.Path)
	for _, glob := range s.Globs {
		matches, err := filepath.Glob(glob)
		if err != nil {
			continue // a malformed pattern matches nothing
		}
		dirs = append(dirs, matches...)
	}
	return dirs
}

var versionText = regexp.MustCompile(`\(PostgreSQL\) (\d+)((?:\.\d+)*|\w*)`)

// inspect asks the programs in dir for their version.
func inspect(ctx context.Context, dir string) (Programs, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Programs{}, err
	}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return Programs{}, fmt.Errorf("%s is missing", name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "-V").Output()
	if err != nil {
		return Programs{}, fmt.Errorf("ask postgres for its version: %w", err)
	}
	match := versionText.FindSubmatch(out)
	if match == nil {
		return Programs{}, fmt.Errorf("postgres says %q for a version", out)
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return Programs{}, fmt.Errorf("postgres says %q for a version", out)
	}
	if major < MinMajor {
		return Programs{}, fmt.Errorf("PostgreSQL %d is too old, %d or newer is needed", major, MinMajor)
	}
	return Programs{Dir: dir, Major: major, Version: string(match[1]) + string(match[2])}, nil
}

// DataMajor returns the major version that made a data folder, and 0 if there is
// none: no such folder, or one without PG_VERSION.
func DataMajor(dataDir string) (int, error) {
	content, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the data folder's version: %w", err)
	}
	match := regexp.MustCompile(`^(\d+)\s*$`).FindSubmatch(content)
	if match == nil {
		return 0, fmt.Errorf("read the data folder's version: PG_VERSION says %q", content)
	}
	return strconv.Atoi(string(match[1]))
}
