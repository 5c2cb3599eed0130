package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"manti/ledger"
	"manti/projections"
)

// upkeepEvery is the rhythm of what only has to be done now and then.
const upkeepEvery = time.Hour

// upkeepTimeout bounds it; a partition that is closed is read once, whole.
const upkeepTimeout = 2 * time.Hour

// shadowsAge is how long ago a rebuild must have last moved to be taken for
// abandoned.
const shadowsAge = 24 * time.Hour

// periodic are the jobs that the leader among the processes starts: at the
// beginning of its term, then every hour.
func periodic() []*river.PeriodicJob {
	every := func(args river.JobArgs) *river.PeriodicJob {
		return river.NewPeriodicJob(river.PeriodicInterval(upkeepEvery), func() (river.JobArgs, *river.InsertOpts) {
			return args, &river.InsertOpts{MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByPeriod: time.Minute}}
		}, &river.PeriodicJobOpts{RunOnStart: true})
	}
	return []*river.PeriodicJob{every(partitionsArgs{}), every(tidyArgs{})}
}

type partitionsArgs struct{}

// Kind names the job in River's tables.
func (partitionsArgs) Kind() string { return "partitions" }

// partitionsWorker makes partitions ahead and closes those that are full.
type partitionsWorker struct {
	river.WorkerDefaults[partitionsArgs]
	r *Runner
}

// Timeout allows for reading a whole partition.
func (*partitionsWorker) Timeout(*river.Job[partitionsArgs]) time.Duration { return upkeepTimeout }

// closeBehind is how many full partitions behind the head are looked at. In an
// hour far fewer can become full.
const closeBehind = 16

// Work makes and closes.
func (w *partitionsWorker) Work(ctx context.Context, _ *river.Job[partitionsArgs]) error {
	if err := w.r.cfg.Ledger.MakePartitions(ctx); err != nil {
		return err
	}
	head, err := ledger.ReadHead(ctx, w.r.cfg.Pool)
	if err != nil {
		return err
	}
	full := head.Size / ledger.PartitionEvents
	var errs []error // of one partition, which are no reason to leave the others open
	for no := max(0, full-closeBehind); no < full && ctx.Err() == nil; no++ {
		errs = append(errs, w.r.cfg.Ledger.ClosePartition(ctx, no))
	}
	return errors.Join(errs...)
}

type tidyArgs struct{}

// Kind names the job in River's tables.
func (tidyArgs) Kind() string { return "tidy" }

// tidyWorker removes what interrupted work left behind.
type tidyWorker struct {
	river.WorkerDefaults[tidyArgs]
	r *Runner
}

// Work drops the tables of abandoned rebuilds.
func (w *tidyWorker) Work(ctx context.Context, _ *river.Job[tidyArgs]) error {
	dropped, err := projections.DropShadows(ctx, w.r.cfg.Pool, time.Now().Add(-shadowsAge))
	if err != nil {
		return fmt.Errorf("tidy up: %w", err)
	}
	if len(dropped) > 0 {
		w.r.log.InfoContext(ctx, "dropped abandoned rebuilds", "projections", dropped)
	}
	return nil
}
