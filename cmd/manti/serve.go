package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "time/tzdata" // for images that have no time zones

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	_ "golang.org/x/crypto/x509roots/fallback" // for images that have no roots

	"manti/db"
	"manti/db/local"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/direct"
	"manti/ledger/spool"
	"manti/proxy"
)

// Timeouts of the listeners. None cuts a stream.
const (
	// headerTimeout bounds the header, which comes in one packet from an honest
	// caller, and how long net/http waits for a body that nobody reads because
	// the call was refused. The gateway gives a body that it reads its own time.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute // longer than SDKs keep connections
	// abortTimeout is how long calls have to record their end once they are cut
	// off, and shipTimeout how long the spool may take to be emptied: what is left
	// is shipped at the next start.
	abortTimeout = 5 * time.Second
	shipTimeout  = 10 * time.Second
	// postgresTimeout is for the private Postgres' last checkpoint.
	postgresTimeout = 30 * time.Second
)

// server is everything that serve opens, in the order in which it is opened.
type server struct {
	cfg      Config
	io       stdio
	log      *slog.Logger
	logw     *logWriter
	registry *prometheus.Registry

	listener net.Listener
	admin    net.Listener // nil without MANTI_ADMIN_LISTEN
	private  *local.Server
	database db.URL
	secret   []byte
	spool    *spool.Spool // nil if calls are recorded in Postgres alone
	direct   *direct.Log  // nil with a spool
	session  domain.SpoolID
	recorder *ledger.Recorder
	evidence *evidence
	watch    *ledger.Watch
	books    books
	up       *upstreams
	snaps    *snapshots
	gateway  *proxy.Gateway
}

// serve runs the gateway until ctx ends, then drains it.
func serve(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	listen := flags.String("listen", "", "where callers reach manti ($MANTI_LISTEN)")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	if *listen != "" {
		cfg.Listen = *listen
	}
	cfg.moveTo(*data)
	defer paceCollector()()
	s := &server{cfg: cfg, io: inv.io}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// open opens and wires everything. What it has opened when it fails is closed
// by close.
func (s *server) open(ctx context.Context) (err error) {
	s.log, s.logw = newLogger(s.cfg, s.io.err)
	if s.listener, err = listenOn(s.cfg.Listen, "MANTI_LISTEN"); err != nil {
		return err
	}
	if s.cfg.AdminListen != "" {
		if s.admin, err = listenOn(s.cfg.AdminListen, "MANTI_ADMIN_LISTEN"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.cfg.Data, 0o755); err != nil {
		return fmt.Errorf("make the data directory: %w; set MANTI_DATA or --data to a folder that can be written", err)
	}
	if err := s.openPostgres(ctx); err != nil {
		return err
	}
	if s.secret, err = loadSecret(&s.cfg, s.private != nil); err != nil {
		return err
	}
	if err := s.openRecorder(); err != nil {
		return err
	}
	if s.evidence, err = openEvidence(s.cfg, s.private != nil, s.log); err != nil {
		return err
	}
	if s.up, err = openUpstreams(s.cfg); err != nil {
		return err
	}
	s.openGateway()
	return s.openWatch()
}

// listenOn takes an address, or says which setting to change.
func listenOn(addr, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; set %s to an address that is free", err, setting)
	}
	return l, nil
}

// openPostgres finds the configured Postgres or starts the private one.
func (s *server) openPostgres(ctx context.Context) (err error) {
	if s.database = s.cfg.DatabaseURL; s.database != "" {
		return nil
	}
	if s.private, err = local.Start(ctx, localConfig(s.cfg, s.log)); err != nil {
		return err
	}
	s.database = s.private.URL()
	return nil
}

func (s *server) openSpool() (err error) {
	s.spool, err = spool.Open(spool.Config{Dir: s.cfg.Spool, MaxBytes: s.cfg.SpoolMaxBytes, Keep: s.cfg.SpoolKeep, MaxRecordBytes: domain.MaxRecordBytes})
	if err != nil {
		return err
	}
	stats, err := s.spool.Stats()
	if err != nil {
		return err
	}
	s.log.Info("spool open", "dir", s.cfg.Spool, "epoch", s.spool.Epoch(), "disk_sync_seconds", stats.DiskSync.Seconds(), "unshipped", stats.Unshipped,
		"open_calls", len(s.spool.Unfinished()), "torn_bytes", stats.TornBytes)
	s.recorder, err = ledger.NewRecorder(ledger.RecorderConfig{Spool: s.spool, Log: s.log})
	return err
}

// openGateway wires the data plane. It serves from the saved snapshot until the
// database answers.
func (s *server) openGateway() {
	s.registry = prometheus.NewRegistry()
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.spool != nil {
		s.registry.MustRegister(newSpoolCollector(s.spool))
	}
	by, epoch := s.recordedBy()
	cfg := proxy.Config{
		Recorder: s.recorder, Pepper: pepperOf(s.secret), Log: s.log, Registerer: s.registry,
		Replica: s.cfg.Replica, Spool: by, Epoch: epoch, ConfigVersion: s.cfg.fingerprint(),
		MaxBodyBytes: s.cfg.MaxBodyBytes, MaxStale: s.cfg.MaxStale, CallerGone: s.cfg.CallerGone, CORSOrigins: s.cfg.CORSOrigins,
		Full: s.recorder.Full, Refused: s.refused, Receipts: s.evidence, Notes: s.notes,
	}
	if s.admin == nil {
		cfg.Metrics = promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
	}
	s.gateway = proxy.New(cfg)
	s.snaps = newSnapshots(filepath.Join(s.cfg.Data, "snapshot.json"), s.up.hosts)
	at, err := s.snaps.restore()
	if err != nil {
		s.log.Warn("the saved snapshot can't be used", "err", err)
	}
	if !at.IsZero() {
		s.gateway.SetSnapshot(s.snaps.snapshot(at))
	}
}

// run serves until ctx ends or something fails for good, then drains.
func (s *server) run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tasks sync.WaitGroup
	failed := make(chan error, 8)
	start := func(task func(context.Context) error) {
		tasks.Go(func() {
			if err := task(background); err != nil && background.Err() == nil {
				failed <- err
			}
		})
	}
	start(func(ctx context.Context) error { s.logw.run(ctx); return nil })
	if s.spool != nil {
		start(s.spool.Run)
		start(s.retire)
	}
	if s.private != nil {
		start(s.private.Run)
	}
	for _, c := range s.up.clients {
		start(c.Run)
	}
	control := &control{server: s, shipped: make(chan struct{})}
	start(control.Run)
	servers := s.listen(failed)

	err := error(nil)
	select {
	case <-ctx.Done():
		s.log.Info("stopping", "drain_timeout", s.cfg.DrainTimeout)
	case err = <-failed:
		s.log.Error("stopping", "err", err)
	}
	s.drain(servers)
	if err == nil {
		control.awaitShipped(shipTimeout)
	}
	stop()
	tasks.Wait()
	return err
}

// listen serves callers, and operators if they have a listener of their own.
func (s *server) listen(failed chan<- error) []*http.Server {
	public := &http.Server{
		Handler: s.gateway.Handler(), ReadTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 1 << 20,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	servers := []*http.Server{public}
	go func() { failed <- ignoreClosed(public.Serve(s.listener)) }() // ends with Shutdown or Close
	if s.admin != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
		mux.Handle("GET /healthz", public.Handler)
		mux.Handle("GET /readyz", public.Handler)
		admin := &http.Server{Handler: mux, ReadTimeout: headerTimeout, IdleTimeout: idleTimeout}
		servers = append(servers, admin)
		go func() { failed <- ignoreClosed(admin.Serve(s.admin)) }() // ends with Shutdown or Close
		s.log.Info("serving operators", "address", s.admin.Addr().String())
	}
	s.log.Info("serving", "address", s.listener.Addr().String(), "version", version)
	return servers
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// drain lets running calls finish, then cuts off those that don't.
func (s *server) drain(servers []*http.Server) {
	s.gateway.StopAdmitting()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	for _, srv := range servers {
		if srv.Shutdown(ctx) == nil {
			continue
		}
		s.log.Warn("some calls didn't finish in time and are cut off")
		s.gateway.Abort()
		last, done := context.WithTimeout(context.Background(), abortTimeout)
		_ = srv.Shutdown(last) // what still runs then is swept to unknown at the next start
		done()
		_ = srv.Close()
	}
}

// close gives back what open took, in reverse.
func (s *server) close() {
	var errs []error
	if s.up != nil {
		s.up.close()
	}
	if s.spool != nil {
		errs = append(errs, s.spool.Close())
	}
	if s.private != nil {
		ctx, cancel := context.WithTimeout(context.Background(), postgresTimeout)
		errs = append(errs, s.private.Stop(ctx))
		cancel()
	}
	for _, l := range []net.Listener{s.admin, s.listener} {
		if l != nil {
			_ = l.Close() // closed by Shutdown already, mostly
		}
	}
	if s.log == nil {
		return
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Error("stopped, though not cleanly", "err", err)
	} else if s.recorder != nil {
		s.log.Info("stopped")
	}
	s.logw.Flush()
}
