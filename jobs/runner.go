package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"manti/ledger"
	"manti/projections"
)

// Config describes a Runner. Pool is required, and must run as the writer.
type Config struct {
	Pool *pgxpool.Pool
	// Ledger makes the partitions; nil is one on Pool.
	Ledger *ledger.Ledger
	// Projections are folded; nil is all of them.
	Projections []*projections.Projection
	// Logger gets what fails; nil is none.
	Logger *slog.Logger
	// Registerer gets the metrics; nil is none.
	Registerer prometheus.Registerer
	// Tick is how often the runner looks for events to fold; 0 is a second.
	Tick time.Duration
	// Watch is how often it looks for checks that are due and for events that
	// could not be folded; 0 is ten seconds.
	Watch time.Duration
	// PollOnly does without LISTEN, for PgBouncer's transaction mode. A fold
	// then begins up to a second later.
	PollOnly bool
}

const (
	// schema is where River's tables are.
	schema = "river"
	// workers is how many jobs run at once in a process. Each takes a
	// connection of the pool.
	workers = 3
	// defaultTick keeps projections within about a second of the ledger.
	defaultTick = time.Second
	// defaultWatch is soon for an alarm, and rare for a look at two small tables.
	defaultWatch = 10 * time.Second
	// pollInterval is how long a job waits whose notification was lost.
	pollInterval = 5 * time.Second
	// jobTimeout ends a job that hangs; a fold stops by itself before.
	jobTimeout = time.Minute
	// rescueAfter is when a job is given up that a crash left as running.
	rescueAfter = 2 * time.Minute
	// keepDone and keepFailed are how long finished rows stay, to be looked at.
	keepDone   = 2 * time.Minute
	keepFailed = time.Hour
	// softStop is how long jobs may go on when the runner stops. What is cut
	// off then is rolled back, and done again at the next start.
	softStop = time.Second
	// stopTimeout bounds the whole stop.
	stopTimeout = 5 * time.Second
)

// Runner works the jobs of one process. Any number of processes may have one.
type Runner struct {
	cfg     Config
	log     *slog.Logger
	client  *river.Client[pgx.Tx]
	folding *folding
	metrics *metrics
	// Owned by Run: whether the last look failed, when the next watch is due, and
	// which parked events have been logged.
	outage  bool
	watchAt time.Time
	alarmed map[parkedAt]bool
}

// New makes a Runner. It connects to nothing yet.
func New(cfg Config) (*Runner, error) {
	if cfg.Pool == nil {
		return nil, errors.New("jobs: Config.Pool is missing")
	}
	cfg.Tick, cfg.Watch = cmp.Or(cfg.Tick, defaultTick), cmp.Or(cfg.Watch, defaultWatch)
	if cfg.Ledger == nil {
		cfg.Ledger = ledger.New(cfg.Pool)
	}
	if cfg.Projections == nil {
		cfg.Projections = projections.All()
	}
	r := &Runner{cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), folding: newFolding(), alarmed: map[parkedAt]bool{}}
	var err error
	if r.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	all := river.NewWorkers()
	river.AddWorker(all, &projectWorker{r: r})
	river.AddWorker(all, &partitionsWorker{r: r})
	river.AddWorker(all, &tidyWorker{r: r})
	river.AddWorker(all, &checkWorker{r: r})
	poll := pollInterval
	if cfg.PollOnly {
		poll = cfg.Tick
	}
	r.client, err = river.NewClient(riverpgxv5.New(cfg.Pool), &river.Config{
		Schema: schema, Workers: all, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}, checkQueue: {MaxWorkers: 1}},
		PeriodicJobs: periodic(), PollOnly: cfg.PollOnly, FetchPollInterval: poll,
		JobTimeout: jobTimeout, RescueStuckJobsAfter: rescueAfter, SoftStopTimeout: softStop,
		CompletedJobRetentionPeriod: keepDone, CancelledJobRetentionPeriod: keepFailed, DiscardedJobRetentionPeriod: keepFailed,
		ReindexerIndexNames: []string{}, // only the owner may
		ErrorHandler:        errorHandler{r}, Logger: slog.New(quiet{r.log.Handler()}),
	})
	if err != nil {
		return nil, fmt.Errorf("jobs: make River's client: %w", err)
	}
	return r, nil
}

// Run works until ctx ends, then stops what is running and returns nil. While
// the database doesn't answer it waits for it.
func (r *Runner) Run(ctx context.Context) error {
	if !r.start(ctx) {
		return nil
	}
	for r.sleep(ctx) {
		r.look(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := r.client.Stop(ctx); err != nil {
		return fmt.Errorf("stop jobs: %w", err)
	}
	return nil
}

// start starts River as soon as the database answers; false if ctx ended before.
func (r *Runner) start(ctx context.Context) bool {
	for ctx.Err() == nil {
		// The client is stopped by Run alone.
		err := r.client.Start(context.WithoutCancel(ctx))
		r.saw(ctx, err)
		if err == nil {
			return true
		}
		r.sleep(ctx)
	}
	return false
}

// sleep waits for a tick, a tenth more or less; false if ctx has ended.
func (r *Runner) sleep(ctx context.Context) bool {
	timer := time.NewTimer(r.cfg.Tick*9/10 + rand.N(r.cfg.Tick/5))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// saw logs when the database stops answering and when it does again.
func (r *Runner) saw(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && !r.outage:
		r.log.WarnContext(ctx, "background jobs wait for the database", "err", err)
	case err == nil && r.outage:
		r.log.InfoContext(ctx, "background jobs go on")
	}
	r.outage = err != nil
}
