package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"manti/projections"
)

// checkQueue is a queue of its own: checks last long, and no fold waits for one.
const checkQueue = "checks"

// checkTimeout bounds a check, which folds the whole ledger.
const checkTimeout = 6 * time.Hour

// checkAgain is how long a check that was asked for isn't asked for again.
const checkAgain = 5 * time.Minute

// parkedAt is which event, of which projection.
type parkedAt struct {
	projection string
	index      int64
}

// watch raises the alarm for events that could not be folded, shows how the last
// checks ended, and starts those that are due.
func (r *Runner) watch(ctx context.Context) error {
	parked, err := projections.ReadParked(ctx, r.cfg.Pool, "")
	if err != nil {
		return err
	}
	for _, k := range parked {
		at := parkedAt{k.Projection, k.Index}
		if !r.alarmed[at] {
			r.alarmed[at] = true
			r.log.ErrorContext(ctx, "an event can't be folded and is missing in figures; they are marked until a manti that can fold it rebuilds the projection",
				"projection", k.Projection, "index", k.Index, "event", k.ID.String(), "kind", string(k.Kind), "err", k.Error)
		}
	}
	checks, err := projections.LastChecks(ctx, r.cfg.Pool)
	if err != nil {
		return err
	}
	r.metrics.watch(r.cfg.Projections, parked, checks)
	return r.kickChecks(ctx)
}

func (r *Runner) kickChecks(ctx context.Context) error {
	due, err := projections.DueChecks(ctx, r.cfg.Pool, r.cfg.Projections)
	if err != nil || len(due) == 0 {
		return err
	}
	var jobs []river.InsertManyParams
	for _, p := range due {
		jobs = append(jobs, river.InsertManyParams{Args: checkArgs{p.Name()}, InsertOpts: &river.InsertOpts{
			Queue: checkQueue, MaxAttempts: 1, // a later watch is the retry
			UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: checkAgain},
		}})
	}
	if _, err := r.client.InsertMany(ctx, jobs); err != nil {
		return fmt.Errorf("start checks: %w", err)
	}
	return nil
}

// checkArgs are the arguments of a job that compares a projection with the
// ledger.
type checkArgs struct {
	Projection string `json:"projection"`
}

// Kind names the job in River's tables.
func (checkArgs) Kind() string { return "check" }

type checkWorker struct {
	river.WorkerDefaults[checkArgs]
	r *Runner
}

// Timeout allows for folding the whole ledger.
func (*checkWorker) Timeout(*river.Job[checkArgs]) time.Duration { return checkTimeout }

// Work compares, unless another process has taken that on tonight.
func (w *checkWorker) Work(ctx context.Context, job *river.Job[checkArgs]) error {
	p, ok := projections.Find(job.Args.Projection)
	if !ok {
		return river.JobCancel(fmt.Errorf("there is no projection %q in this program", job.Args.Projection))
	}
	check, done, err := projections.CheckNightly(ctx, w.r.cfg.Pool, p)
	switch {
	case err != nil:
		return err
	case !done || check.OK:
		return nil
	case !check.Compared:
		w.r.log.ErrorContext(ctx, "a projection can't be compared with the ledger", "projection", check.Projection, "why", check.Difference)
	default:
		w.r.log.ErrorContext(ctx, "rows of a projection are not what the ledger says; `manti rebuild --replace` mends them",
			"projection", check.Projection, "index", check.Index, "difference", check.Difference)
	}
	return nil
}
