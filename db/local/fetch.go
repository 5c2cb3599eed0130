package local

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"manti/db/internal/cluster"
)

// FetchCommand is the hidden first argument with which manti calls itself to
// fetch programs; the rest is for FetchMain.
const FetchCommand = "fetch-postgres"

const (
	// fetchTimeout bounds the download (about 30 MB) and the trial run.
	fetchTimeout = 5 * time.Minute
	// fetchStartTimeout bounds the trial run's start.
	fetchStartTimeout = 60 * time.Second
	mavenCentral      = "https://repo1.maven.org/maven2"
)

// fetchVersion returns the version to fetch for a major one, the newest for 0.
func fetchVersion(major int) (embeddedpostgres.PostgresVersion, error) {
	switch major {
	case 0, 18:
		return embeddedpostgres.V18, nil
	case 17:
		return embeddedpostgres.V17, nil
	case 16:
		return embeddedpostgres.V16, nil
	case 15:
		return embeddedpostgres.V15, nil
	}
	return "", fmt.Errorf("there are no programs of PostgreSQL %d to fetch", major)
}

// fetch downloads programs into DATA/pgsql/VERSION. The library that does it also
// runs a server, erases folders it is told of, and can't drop privileges. So it
// runs in a child of our own binary, under the server's account, in a new folder
// below DATA/pgsql that holds nothing else; only its programs are kept.
func (f folder) fetch(ctx context.Context, cfg Config, major int) (cluster.Programs, error) {
	version, err := fetchVersion(major)
	if err != nil {
		return cluster.Programs{}, err
	}
	command, err := fetchCommand(cfg)
	if err != nil {
		return cluster.Programs{}, err
	}
	repository := cfg.Repository
	if repository == "" {
		repository = mavenCentral
	}
	cfg.Log.InfoContext(ctx, "no PostgreSQL on this machine: fetching its programs once", "version", version, "from", repository)
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	work, err := f.fetchDir()
	if err != nil {
		return cluster.Programs{}, err
	}
	defer func() { _ = os.RemoveAll(work) }() // made above; what stays is only wasted space
	arguments := append(command[1:], "-version", string(version), "-dir", work, "-repository", repository)
	cmd := f.account.Command(work, command[0], arguments...)
	cmd.Env = append(cmd.Env, networkEnviron()...)
	cmd.Env = append(cmd.Env, "HOME="+work, "TMPDIR="+work)
	if output, err := f.account.Run(ctx, cmd); err != nil {
		return cluster.Programs{}, fmt.Errorf("%w: %s", err, cluster.LastLines(output))
	}
	final := filepath.Join(f.programsDir(), string(version))
	err = os.Rename(filepath.Join(work, "programs"), final)
	if err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) { // another process was quicker
		return cluster.Programs{}, err
	}
	found, err := cluster.Search{Explicit: filepath.Join(final, "bin")}.Find(ctx)
	if err != nil {
		return cluster.Programs{}, err
	}
	return found[0], nil
}

// fetchDir makes the folder that the child may do with as it likes.
func (f folder) fetchDir() (string, error) {
	mode := os.FileMode(0o700)
	if f.account.Switched() {
		mode = 0o711
	}
	if err := os.MkdirAll(f.programsDir(), mode); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(f.programsDir(), ".fetch-")
	if err != nil {
		return "", err
	}
	return work, f.account.Own(work)
}

// fetchCommand returns how to call FetchMain.
func fetchCommand(cfg Config) ([]string, error) {
	switch {
	case len(cfg.FetchCommand) == 1 && cfg.FetchCommand[0] == "-":
		return nil, errors.New("fetching is switched off")
	case len(cfg.FetchCommand) > 0:
		return append([]string(nil), cfg.FetchCommand...), nil
	case runtime.GOOS == "linux":
		// The file may stand in a folder that the other account can't enter (go run's).
		return []string{"/proc/self/exe", FetchCommand}, nil
	}
	self, err := os.Executable()
	return []string{self, FetchCommand}, err
}

// networkEnviron is what a download may need of our environment.
func networkEnviron() []string {
	var env []string
	for _, name := range []string{
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// FetchMain is the child of fetch: it downloads the programs of -version from
// -repository into -dir/programs and proves that they run, with a server on
// throw-away data in -dir. Its result is the exit status. It refuses root.
func FetchMain(args []string, stderr io.Writer) int {
	if err := fetchMain(args, stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func fetchMain(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet(FetchCommand, flag.ContinueOnError)
	flags.SetOutput(stderr)
	version := flags.String("version", "", "version to fetch")
	dir := flags.String("dir", "", "empty folder to work in")
	repository := flags.String("repository", mavenCentral, "Maven repository")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return errors.New("PostgreSQL's programs are not tried out as root")
	}
	entries, err := os.ReadDir(*dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", *dir)
	}
	port, err := cluster.FreePort()
	if err != nil {
		return err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.PostgresVersion(*version)).
		BinaryRepositoryURL(*repository).
		CachePath(filepath.Join(*dir, "cache")).
		RuntimePath(filepath.Join(*dir, "run")).
		BinariesPath(filepath.Join(*dir, "programs")).
		DataPath(filepath.Join(*dir, "data")).
		Username(superuser).Password(rand.Text()).Database("postgres").
		StartParameters(map[string]string{"listen_addresses": "localhost", "unix_socket_directories": ""}).
		Port(uint32(port)).StartTimeout(fetchStartTimeout).Logger(stderr))
	if err := server.Start(); err != nil {
		return err
	}
	return server.Stop()
}
