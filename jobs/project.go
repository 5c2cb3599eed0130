package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"manti/db"
	"manti/projections"
)

// projectArgs are the arguments of a job that folds a projection.
type projectArgs struct {
	Projection string `json:"projection"`
}

// Kind names the job in River's tables.
func (projectArgs) Kind() string { return "project" }

// foldBudget is how long a fold goes on at most. The rest is another job's.
const foldBudget = 45 * time.Second

// busyFor is how long a projection that has moved is taken to be in work,
// maybe by another process.
const busyFor = 500 * time.Millisecond

// lookTimeout bounds one look at the checkpoints and the insertion of jobs.
const lookTimeout = 5 * time.Second

// look starts a job for each projection that is behind and that nobody seems
// to be folding.
func (r *Runner) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	lags, err := projections.ReadLag(ctx, r.cfg.Pool, r.cfg.Projections)
	if err == nil {
		r.metrics.look(lags)
		err = r.kick(ctx, lags)
	}
	if err == nil && !time.Now().Before(r.watchAt) {
		r.watchAt = time.Now().Add(r.cfg.Watch)
		err = r.watch(ctx)
	}
	r.saw(ctx, err)
}

func (r *Runner) kick(ctx context.Context, lags []projections.Lag) error {
	var jobs []river.InsertManyParams
	for _, lag := range lags {
		name := lag.Projection.Name()
		if lag.Events == 0 || lag.Now.Sub(lag.Moved) < busyFor || !r.folding.free(name) {
			continue
		}
		jobs = append(jobs, river.InsertManyParams{Args: projectArgs{name}, InsertOpts: &river.InsertOpts{
			MaxAttempts: 1, // the next look is the retry
			// Of several processes that look in the same second, one is enough.
			UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: time.Second},
		}})
	}
	if len(jobs) == 0 {
		return nil
	}
	if _, err := r.client.InsertMany(ctx, jobs); err != nil {
		return fmt.Errorf("start folds: %w", err)
	}
	return nil
}

// projectWorker folds a projection until it has caught up.
type projectWorker struct {
	river.WorkerDefaults[projectArgs]
	r *Runner
}

// Work folds. It returns at once if this process is folding the projection
// already.
func (w *projectWorker) Work(ctx context.Context, job *river.Job[projectArgs]) error {
	name := job.Args.Projection
	p, ok := projections.Find(name)
	if !ok {
		return river.JobCancel(fmt.Errorf("there is no projection %q in this program", name))
	}
	if !w.r.folding.begin(name) {
		return nil
	}
	err := errPanicked
	defer func() { w.r.folding.end(name, err, time.Now()) }()
	err = w.fold(ctx, p)
	return err
}

// errPanicked stands for a fold that never came back.
var errPanicked = errors.New("jobs: a fold panicked")

func (w *projectWorker) fold(ctx context.Context, p *projections.Projection) error {
	ctx, cancel := context.WithTimeout(ctx, foldBudget)
	defer cancel()
	const stateLocked = "55P03" // lock_timeout: another process folds it
	_, err := projections.CatchUp(ctx, w.r.cfg.Pool, p)
	if db.SQLState(err) == stateLocked || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	return err
}

// folding is what this process folds, and which projections it leaves alone for
// a while because they failed.
type folding struct {
	mu sync.Mutex
	// Guarded by mu, by name.
	running map[string]bool
	failed  map[string]failure
}

type failure struct {
	times int
	until time.Time
}

// maxPause is the longest pause after a failure.
const maxPause = 30 * time.Second

func newFolding() *folding {
	return &folding{running: map[string]bool{}, failed: map[string]failure{}}
}

// begin reports whether the projection wasn't running, and is now.
func (f *folding) begin(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[name] {
		return false
	}
	f.running[name] = true
	return true
}

// end notes how it went. After the first failure the next try is a second
// later, then two, four and so on.
func (f *folding) end(name string, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, name)
	if err == nil {
		delete(f.failed, name)
		return
	}
	last := f.failed[name]
	pause := min(time.Second<<min(last.times, 10), maxPause)
	f.failed[name] = failure{times: last.times + 1, until: now.Add(pause)}
}

// free reports whether the projection may be started.
func (f *folding) free(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.running[name] && !time.Now().Before(f.failed[name].until)
}
