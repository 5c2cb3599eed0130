package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/ledger"
	"manti/projections"
	"manti/proxy"
)

// refreshEvery is how long a change may go unnoticed when no notification
// comes: a revoked key must stop working within a second.
const refreshEvery = 500 * time.Millisecond

// refreshTimeout bounds one look at the database.
const refreshTimeout = 5 * time.Second

// refresher carries what changes in the control plane to the data plane.
type refresher struct {
	pool      *pgxpool.Pool
	snapshots *snapshots
	gateway   *proxy.Gateway
	watch     *ledger.Watch
	log       *slog.Logger
	pollOnly  bool

	down bool // the last look failed
	held bool // the ledger is, or was at the last look, behind: the data plane keeps what it has
}

// begin loads everything once.
func (r *refresher) begin(ctx context.Context) error {
	at := time.Now()
	all, err := projections.LoadSnapshot(ctx, r.pool)
	if err != nil {
		return err
	}
	r.unread(all.Unread)
	if err := r.snapshots.load(all); err != nil {
		return err
	}
	return r.publish(true, at)
}

// Run keeps the data plane up to date until ctx ends. The database may go and
// come back.
func (r *refresher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.follow(ctx); err != nil && ctx.Err() == nil {
			r.note(err)
			sleep(ctx, refreshEvery)
		}
	}
	return nil
}

// follow looks for changes at each notification, and every refreshEvery in any
// case, on one connection.
func (r *refresher) follow(ctx context.Context) error {
	if r.pollOnly {
		if err := r.look(ctx); err != nil {
			return err
		}
		sleep(ctx, refreshEvery)
		return nil
	}
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "LISTEN "+projections.ControlChannel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for ctx.Err() == nil {
		if err := r.look(ctx); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, refreshEvery)
		_, err := conn.Conn().WaitForNotification(wait)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("wait for a notification: %w", err)
		}
	}
	return nil
}

// look takes over what changed since the last look.
func (r *refresher) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	at := time.Now()
	if _, behind := r.watch.Behind(); behind {
		r.held = true
		return r.publish(false, at)
	}
	if r.held {
		if err := r.begin(ctx); err != nil {
			return err
		}
		r.held = false
		return nil
	}
	changes, err := projections.ReadChanges(ctx, r.pool, r.snapshots.index)
	if err != nil {
		return err
	}
	if r.down {
		r.down = false
		r.log.Info("the database answers again")
	}
	r.unread(changes.Unread)
	changed := len(changes.Issued)+len(changes.Revoked) > 0 || changes.Book != nil
	if err := r.snapshots.apply(changes); err != nil {
		return err
	}
	return r.publish(changed, at)
}

// publish gives the data plane what is known to hold at a time.
func (r *refresher) publish(changed bool, at time.Time) error {
	if old := r.gateway.Snapshot(); old != nil && !changed {
		same := *old
		same.At = at
		r.gateway.SetSnapshot(&same)
	} else {
		r.gateway.SetSnapshot(r.snapshots.snapshot(at))
	}
	if err := r.snapshots.save(changed, at); err != nil {
		r.log.Warn("the snapshot can't be saved: without the database manti would not start", "err", err)
	}
	return nil
}

// unread says which control events this program can't read. A key that one of
// them names is refused until it is run by one that can.
func (r *refresher) unread(events []projections.Unread) {
	for _, u := range events {
		key := "none"
		if !u.Key.IsZero() {
			key = u.Key.String()
		}
		r.log.Error("a control event can't be read; a key that it names is refused", "index", u.Index, "kind", string(u.Kind), "key", key, "err", u.Err)
	}
}

// note says once that the database doesn't answer.
func (r *refresher) note(err error) {
	if !r.down {
		r.down = true
		r.log.Warn("the database doesn't answer; calls go on with the keys and prices known so far", "err", err)
	}
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
