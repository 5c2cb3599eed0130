package local

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"

	"manti/db/internal/cluster"
)

// Programs returns the folder of the server programs that Start would use in
// cfg.DataDir, having fetched them if need be.
func Programs(ctx context.Context, cfg Config) (string, error) {
	account, err := cluster.ServerAccount()
	if err != nil {
		return "", err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(cfg.DataDir, account)
	if err != nil {
		return "", err
	}
	programs, err := f.choosePrograms(ctx, cfg)
	return programs.Dir, err
}

// choosePrograms returns programs of the cluster's major version, or the newest
// there are for a new cluster; what the machine lacks is fetched.
func (f folder) choosePrograms(ctx context.Context, cfg Config) (cluster.Programs, error) {
	major, err := cluster.DataMajor(f.clusterDir())
	if err != nil {
		return cluster.Programs{}, err
	}
	if major == 0 {
		_, exists, err := ownerOf(f.clusterDir())
		if err != nil {
			return cluster.Programs{}, err
		}
		if exists {
			return cluster.Programs{}, fmt.Errorf("%s is there but is no cluster (it has no PG_VERSION): nothing is done to it; move it away to begin anew", f.clusterDir())
		}
	}
	found, err := f.search(cfg).Find(ctx)
	if err != nil {
		return cluster.Programs{}, err
	}
	if i := slices.IndexFunc(found, func(p cluster.Programs) bool { return major == 0 || p.Major == major }); i >= 0 {
		return found[i], nil
	}
	programs, fetchErr := f.fetch(ctx, cfg, major)
	if fetchErr != nil {
		return cluster.Programs{}, fmt.Errorf("%s; fetching it failed: %w; %s", missing(major, found), fetchErr, howToInstall(major))
	}
	return programs, nil
}

// search looks on the machine first, then among the programs fetched earlier.
func (f folder) search(cfg Config) cluster.Search {
	globs := cfg.SystemGlobs
	if globs == nil {
		globs = cluster.SystemGlobs()
	}
	return cluster.Search{
		Explicit: cfg.ProgramDir, Path: cfg.Path,
		Globs: append(slices.Clone(globs), filepath.Join(f.programsDir(), "*", "bin")),
	}
}

// missing says what isn't there.
func missing(major int, found []cluster.Programs) string {
	if major == 0 {
		return fmt.Sprintf("no PostgreSQL (%d or newer) was found on this machine", cluster.MinMajor)
	}
	text := fmt.Sprintf("the cluster was made by PostgreSQL %d, whose programs were not found on this machine", major)
	for _, programs := range found {
		text += fmt.Sprintf(" (found %s in %s)", programs.Version, programs.Dir)
	}
	return text
}

// howToInstall names the commands that would help here.
func howToInstall(major int) string {
	version := ""
	brew := "17"
	if major != 0 {
		version = fmt.Sprintf("-%d", major)
		brew = fmt.Sprint(major)
	}
	commands := fmt.Sprintf("apt install postgresql%s, dnf install postgresql-server, apk add postgresql", version)
	if runtime.GOOS == "darwin" {
		commands = "brew install postgresql@" + brew
	}
	return "install it (" + commands + "), name its folder in MANTI_PG_BIN, or set DATABASE_URL to a server of your own"
}
