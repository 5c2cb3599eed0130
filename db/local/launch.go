package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"manti/db/internal/cluster"
)

// maxLogBytes is the size above which the server's log is put aside at a start.
const maxLogBytes = 10 << 20

// portAttempts is how many free ports are tried: each may be taken between
// finding it and the server's own bind.
const portAttempts = 3

// Settings are the server parameters that a private server runs with, but for
// where it listens. They suit a machine that does other things as well.
func Settings() map[string]string {
	return map[string]string{
		// Write and sync the log while a batch is being copied, not all of it at
		// the commit that waits for it.
		"wal_writer_delay":    "10ms",
		"shared_buffers":      "128MB",
		"max_connections":     "100",
		"fsync":               "on",
		"full_page_writes":    "on",
		"synchronous_commit":  "on",
		"wal_level":           "minimal",
		"max_wal_senders":     "0",
		"max_wal_size":        "1GB",
		"timezone":            "UTC",
		"log_timezone":        "UTC",
		"log_line_prefix":     "%m [%p] ",
		"logging_collector":   "off",
		"log_destination":     "stderr",
		"password_encryption": "scram-sha-256",
		"cluster_name":        "manti",
		"log_checkpoints":     "off",
		"checkpoint_timeout":  "15min",
		"wal_compression":     "on",
	}
}

// launch starts a server, making first what it needs.
func (f folder) launch(ctx context.Context, cfg Config) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout+fetchTimeout)
	defer cancel()
	programs, err := f.choosePrograms(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := f.ensureCluster(ctx, programs); err != nil {
		return nil, fmt.Errorf("make a new cluster: %w", err)
	}
	password, err := f.password(false)
	if err != nil {
		return nil, err
	}
	return f.outwait(ctx, func() (*instance, error) {
		at, err := f.chooseSite(cfg, password)
		if err != nil {
			return nil, err
		}
		running, err := f.launchAt(ctx, programs, at, startTimeout)
		if err != nil {
			at.remove()
		}
		return running, err
	})
}

// relaunch starts a server on the cluster that there is, at the same site.
func (f folder) relaunch(ctx context.Context, cfg Config, at site) (*instance, error) {
	if major, err := cluster.DataMajor(f.clusterDir()); err != nil {
		return nil, err
	} else if major == 0 { // a new one in its place would be an empty ledger
		return nil, fmt.Errorf("the cluster is gone from %s: bring it back", f.clusterDir())
	}
	programs, err := f.choosePrograms(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := f.reopen(at); err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	return f.outwait(ctx, func() (*instance, error) { return f.launchAt(ctx, programs, at, recoveryTimeout) })
}

// outwait attempts a start until what stands in its way for a moment is gone.
func (f folder) outwait(ctx context.Context, attemptStart func() (*instance, error)) (*instance, error) {
	if err := f.rotateLog(); err != nil {
		return nil, err
	}
	held := time.Now().Add(heldPatience)
	for attempt := 1; ; attempt++ {
		running, err := attemptStart()
		switch {
		case errors.Is(err, errStillHeld) && time.Now().Before(held):
			if err := pause(ctx, heldPoll); err != nil {
				return nil, err
			}
		case errors.Is(err, errPortTaken) && attempt < portAttempts:
		default:
			return running, err
		}
	}
}

// What a start may meet and outwait.
var (
	errPortTaken = errors.New("the port was taken by another program")
	// The postmaster was killed and its backends haven't all noticed yet.
	errStillHeld = errors.New("processes of the server before still hold the cluster")
)

// Backends notice the end of their postmaster when they next wait for something:
// at once, unless they are in the middle of a long statement.
const (
	heldPatience = 20 * time.Second
	heldPoll     = 100 * time.Millisecond
)

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// launchAt makes one attempt at a site, which may take as long as patience.
func (f folder) launchAt(ctx context.Context, programs cluster.Programs, at site, patience time.Duration) (*instance, error) {
	parameters := Settings()
	for name, value := range at.address.Settings() {
		parameters[name] = value
	}
	child, err := cluster.Start(cluster.StartConfig{
		Programs: programs, Account: f.account, DataDir: f.clusterDir(), LogFile: f.logFile(), Settings: parameters,
	})
	if err != nil {
		return nil, withHint(err, f.account)
	}
	running := &instance{folder: f, site: at, pid: child.PID(), child: child}
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := child.Ready(ready, at.url("postgres").Reveal()); err != nil {
		switch text := err.Error(); {
		case strings.Contains(text, "Address already in use"):
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		case strings.Contains(text, "pre-existing shared memory block"):
			err = fmt.Errorf("%w: %w", errStillHeld, err)
		}
		return nil, errors.Join(withHint(err, f.account), running.shutDown(context.WithoutCancel(ctx)))
	}
	return running, nil
}

// rotateLog keeps the log and the one before it.
func (f folder) rotateLog() error {
	info, err := os.Stat(f.logFile())
	if err != nil || info.Size() < maxLogBytes {
		return nil // there is none, or it is short
	}
	return os.Rename(f.logFile(), f.logFile()+".old")
}
