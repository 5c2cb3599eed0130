// Package local runs the private Postgres that manti uses when nobody gives it
// one: a cluster in the data directory, made on the first start and kept ever
// since, with its own server process.
//
//	DATA/postgres/cluster        the cluster (PGDATA); belongs to the server's account
//	DATA/postgres/password       its superuser's password, readable to manti's user alone
//	DATA/postgres/server.json    where the running server listens; Find reads it
//	DATA/postgres/server.log     what the server says
//	DATA/postgres/lock           locked by the manti that runs the server
//	DATA/postgres/run            the server's socket, if the path is short enough
//	DATA/pgsql/VERSION           programs, fetched where the machine has none
//
// It promises that no cluster is ever erased: a new one is made beside its final
// place and renamed when it is complete, and the library that fetches programs
// never learns where the data are. As root the server runs under another account.
// It needs no port: it listens on a socket in a private folder, or where sockets
// can't be used on a free port of 127.0.0.1; in both cases with a password.
//
// After a kill -9 of manti the server goes on; the next Start adopts it. After a
// crash of the machine Postgres recovers by itself, for which Start waits. After a
// crash of the server alone Run starts it again where it was.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"manti/db"
	"manti/db/internal/cluster"
)

const (
	superuser = "manti"
	database  = "manti"
	// startTimeout bounds a start with its crash recovery.
	startTimeout = 60 * time.Second
	// fastTimeout is how long a fast shutdown may take (it writes a checkpoint),
	// and immediateTimeout how long one that writes nothing, before SIGKILL.
	fastTimeout      = 20 * time.Second
	immediateTimeout = 5 * time.Second
)

// Config says where the private Postgres lives. Only DataDir is required.
type Config struct {
	// DataDir is manti's data directory; it is made if missing.
	DataDir string
	// Log gets what a user should know (adopted, fetching …); nil means none.
	Log *slog.Logger
	// ProgramDir is the one folder to take server programs from ($MANTI_PG_BIN);
	// empty means to look for them on PATH and where systems install them.
	ProgramDir string
	// Path is the list of folders to look in first ($PATH).
	Path string
	// SystemGlobs are the patterns of further folders; nil means those of the known
	// systems, empty none.
	SystemGlobs []string
	// Repository is the Maven repository to fetch programs from where none are
	// found ($MANTI_PG_REPOSITORY); empty means Maven Central.
	Repository string
	// FetchCommand is the program and first arguments that call FetchMain; empty
	// means this binary with the argument FetchCommand. No fetch is tried if it is
	// set to a single "-".
	FetchCommand []string
	// Loopback makes the server listen on 127.0.0.1 instead of a socket.
	Loopback bool
}

// Server is the private Postgres of this process. Its methods may be called
// concurrently.
type Server struct {
	folder   folder
	cfg      Config
	site     site // the same for every instance
	lock     *os.File
	now      atomic.Pointer[instance] // the latest, which may have ended
	turn     sync.Mutex               // held while an instance is brought back or ended
	stopping chan struct{}            // closed when Stop begins

	stopOnce sync.Once
	stopErr  error // written in stopOnce
}

// Start adopts the server that runs on the data directory's cluster, or starts
// one, making the cluster and fetching programs where they are missing. It
// returns when the server answers. ctx bounds the start, not the server.
//
// Errors say what to do: install PostgreSQL, choose another folder, end the
// other manti, or set DATABASE_URL.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.DataDir == "" {
		return nil, errors.New("start private Postgres: no data directory given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	server, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start private Postgres in %s: %w", cfg.DataDir, err)
	}
	return server, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	account, err := cluster.ServerAccount()
	if err != nil {
		return nil, err
	}
	f, err := openFolder(cfg.DataDir, account)
	if err != nil {
		return nil, err
	}
	lock, err := f.takeLock()
	if err != nil {
		return nil, err
	}
	running, err := f.bringUp(ctx, cfg)
	if err != nil {
		_ = lock.Close() // the error of the start says more
		return nil, err
	}
	server := &Server{folder: f, cfg: cfg, site: running.site, lock: lock, stopping: make(chan struct{})}
	server.now.Store(running)
	return server, nil
}

// bringUp returns a serving instance; the caller holds the lock.
func (f folder) bringUp(ctx context.Context, cfg Config) (*instance, error) {
	running, err := f.adopt(ctx)
	if err != nil {
		return nil, err
	}
	if running != nil {
		cfg.Log.InfoContext(ctx, "adopted the private Postgres that was still running", "pid", running.pid)
	} else if running, err = f.launch(ctx, cfg); err != nil {
		return nil, err
	}
	err = running.ensureDatabase(ctx)
	if err == nil {
		err = running.announce()
	}
	if err != nil {
		err = errors.Join(err, running.shutDown(context.WithoutCancel(ctx)))
		running.site.remove()
		return nil, err
	}
	return running, nil
}

// URL returns the superuser's login to manti's database, password included. It
// stays the same when the server is started again.
func (s *Server) URL() db.URL { return s.site.url(database) }

// PID returns the process id of the postmaster, the latest if it has ended.
func (s *Server) PID() int { return s.now.Load().pid }

// Adopted reports whether the server had been started by an earlier manti.
func (s *Server) Adopted() bool { return s.now.Load().child == nil }

// Stop ends the server: fast (connections are cut, a checkpoint is written),
// after 20 s or the end of ctx immediately (the next start recovers). It
// releases the data directory, also on error. Further calls return the same. It
// ends Run, if that still runs, and gives up a start that is under way.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		close(s.stopping)
		s.turn.Lock()
		defer s.turn.Unlock()
		s.stopErr = s.now.Load().shutDown(ctx)
		s.site.remove()
		s.folder.removeState()
		_ = s.lock.Close() // nothing is written to it
	})
	return s.stopErr
}
