package local

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db/internal/cluster"
)

// instance is one run of the server, from its postmaster's start to its end.
type instance struct {
	folder folder
	site   site
	pid    int
	child  *cluster.Server // nil if adopted
}

// announce writes down where the instance listens, for Find.
func (i *instance) announce() error {
	address, err := i.site.publicURL()
	if err != nil {
		return err
	}
	return i.folder.writeState(state{PID: i.pid, URL: address})
}

// ensureDatabase makes manti's database in a new cluster.
func (i *instance) ensureDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, i.site.url("postgres").Reveal())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending
	exists := false
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, database).Scan(&exists); err != nil {
		return fmt.Errorf("look for the database: %w", err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize()); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return nil
}

// adoptedPoll is how often an adopted instance, which is no child, is looked
// after while it serves, and endPoll how often while it is to end.
const (
	adoptedPoll = time.Second
	endPoll     = 20 * time.Millisecond
)

// await waits for the instance's end, or returns the error of ctx.
func (i *instance) await(ctx context.Context) error {
	if i.child == nil {
		return i.awaitAdopted(ctx, adoptedPoll)
	}
	select {
	case <-i.child.Ended():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *instance) awaitAdopted(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for mayServe(i.pid) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// status says how the instance ended, once it has.
func (i *instance) status() string {
	if i.child == nil {
		return "unknown: it was adopted"
	}
	return i.child.Status()
}

// shutDown ends the instance, the harder the longer it takes.
func (i *instance) shutDown(ctx context.Context) error {
	fast, cancel := context.WithTimeout(ctx, fastTimeout)
	defer cancel()
	err := i.end(fast, cluster.Fast)
	for _, signal := range []syscall.Signal{cluster.Immediate, syscall.SIGKILL} {
		if err == nil {
			return nil
		}
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), immediateTimeout)
		err = i.end(late, signal)
		cancel()
	}
	if err != nil {
		return fmt.Errorf("stop private Postgres (pid %d): %w", i.pid, err)
	}
	return nil
}

// end sends a signal and waits for the process to end.
func (i *instance) end(ctx context.Context, signal syscall.Signal) error {
	var err error
	if i.child != nil {
		if err = i.child.Signal(signal); err == nil {
			err = i.await(ctx)
		}
	} else if p, exists := i.folder.readPostmaster(); exists && p.pid == i.pid && mayServe(i.pid) {
		if err = syscall.Kill(i.pid, signal); err == nil {
			err = i.awaitAdopted(ctx, endPoll)
		}
	}
	if err != nil {
		return fmt.Errorf("it doesn't end on %v: %w", signal, err)
	}
	return nil
}
