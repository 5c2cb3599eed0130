package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"manti/domain"
	"manti/ledger"
	"manti/ledger/spool"
)

// spoolRow is a spool in the list: as the ledger knows it, as it stands on this
// machine, or both.
type spoolRow struct {
	ID        domain.SpoolID `json:"id"`
	Replica   string         `json:"replica,omitempty"`
	Epoch     uint64         `json:"epoch"`
	LastSeen  time.Time      `json:"last_seen,omitzero"`
	Unshipped int64          `json:"unshipped"`
	Oldest    time.Time      `json:"oldest_unshipped,omitzero"`
	State     string         `json:"state"`
	Dir       string         `json:"dir,omitempty"`
}

// The states of a spool in the list.
const (
	spoolSeen     = "seen"
	spoolAtRest   = "at rest"
	spoolLost     = "lost"
	spoolOrphaned = "not seen for 10 minutes"
	spoolUnknown  = "unknown to the ledger"
)

// spoolList lists the spools that the ledger knows, and those on this machine.
func spoolList(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	asJSON := flags.Bool("json", false, "print JSON, one object a line")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	cfg.moveTo(*data)
	dirs := flags.Args()
	if len(dirs) == 0 {
		dirs = []string{cfg.Spool}
	}
	return withoutSecret(ctx, inv, *data, func(d database) error {
		known, err := ledger.Spools(ctx, d.pool)
		if err != nil {
			return err
		}
		rows, err := spoolRows(known, dirs, flags.NArg() > 0)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSONLines(inv.io.out, rows)
		}
		return printSpools(inv.io.out, rows)
	})
}

// spoolRows joins what the ledger knows with the directories. One that was named
// must be a spool.
func spoolRows(known []ledger.SpoolState, dirs []string, named bool) ([]spoolRow, error) {
	var rows []spoolRow
	at := map[domain.SpoolID]int{}
	for _, s := range known {
		at[s.ID] = len(rows)
		rows = append(rows, spoolRow{ID: s.ID, Replica: s.Replica, Epoch: uint64(s.Epoch), LastSeen: s.LastSeen,
			Unshipped: s.Unshipped, Oldest: s.OldestUnshipped, State: stateOf(s)})
	}
	for _, dir := range dirs {
		info, err := spool.Inspect(dir)
		if err != nil {
			if named || !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			continue
		}
		i, there := at[domain.SpoolID(info.ID)]
		if !there {
			i = len(rows)
			rows = append(rows, spoolRow{ID: domain.SpoolID(info.ID), State: spoolUnknown})
		}
		rows[i].Dir, rows[i].Epoch, rows[i].Unshipped = dir, info.Epoch, int64(info.Unshipped)
	}
	return rows, nil
}

func stateOf(s ledger.SpoolState) string {
	switch {
	case s.Lost:
		return spoolLost
	case s.AtRest:
		return spoolAtRest
	case s.Orphaned():
		return spoolOrphaned
	}
	return spoolSeen
}

func printJSONLines(w io.Writer, rows []spoolRow) error {
	enc := json.NewEncoder(w)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func printSpools(w io.Writer, rows []spoolRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tREPLICA\tEPOCH\tLAST SEEN\tUNSHIPPED\tOLDEST\tSTATE\tDIRECTORY")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\n", r.ID, r.Replica, r.Epoch, orNever(r.LastSeen), r.Unshipped, orNever(r.Oldest), r.State, r.Dir)
	}
	return t.Flush()
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// shipPoll is how often `manti spool ship` looks whether the spool is empty.
const shipPoll = 20 * time.Millisecond

// spoolShip empties an orphan into the ledger.
func spoolShip(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return usageError{"manti spool ship: name one directory of a spool"}
	}
	dir := flags.Arg(0)
	if _, err := os.Stat(filepath.Join(dir, "meta")); err != nil {
		return fmt.Errorf("%s is no spool: %w", dir, err)
	}
	cfg, err := loadConfig(inv.env)
	if err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		s, err := spool.Open(spool.Config{Dir: dir, MaxBytes: cfg.SpoolMaxBytes, Keep: cfg.SpoolKeep, MaxRecordBytes: domain.MaxRecordBytes})
		if err != nil {
			return err
		}
		log := slog.New(slog.NewTextHandler(inv.io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
		shipped, err := shipAll(ctx, d, s, dir, cfg.Replica, log)
		if err = errors.Join(err, s.Close()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(inv.io.out, "%d calls were shipped; the spool in %s is empty. Keep it for as long as a backup from before now might be restored.\n", shipped, dir)
		return err
	})
}

// shipAll ships until nothing is left. It refuses a ledger that isn't what the
// spool's process saw.
func shipAll(ctx context.Context, d database, s *spool.Spool, dir, replica string, log *slog.Logger) (shipped uint64, err error) {
	watch, err := ledger.NewWatch(ledger.WatchConfig{Dir: dir, Highest: s.Highest(), Log: log})
	if err != nil {
		return 0, err
	}
	watch.Guard(d.ledger)
	if err := watch.Look(ctx); err != nil {
		return 0, err
	}
	if reason := watch.Frozen(); reason != "" {
		return 0, errors.New(reason)
	}
	shipper, err := ledger.NewShipper(ledger.ShipperConfig{Ledger: d.ledger, Spool: s, Replica: replica, Log: log})
	if err != nil {
		return 0, err
	}
	before, err := s.Stats()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	untilEmpty := func(ctx context.Context) error {
		defer cancel()
		for ctx.Err() == nil {
			now, err := s.Stats()
			if err != nil || now.Unshipped == 0 && now.OpenCalls == 0 {
				return err
			}
			sleep(ctx, shipPoll)
		}
		return nil
	}
	if err := together(ctx, shipper.Run, watch.Run, untilEmpty); err != nil {
		return 0, err
	}
	after, err := s.Stats()
	if err == nil && (after.Unshipped > 0 || after.OpenCalls > 0) {
		err = fmt.Errorf("stopped with %d ended calls unshipped", after.Unshipped)
	}
	return before.Unshipped + uint64(before.OpenCalls), err
}

// orphansEvery is how often the ledger is asked for spools that nobody ships
// from.
const orphansEvery = time.Minute

// orphans tells of spools that may hold calls and aren't seen any more.
func (c *control) orphans(d database) (func(context.Context) error, error) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "manti_spools_orphaned",
		Help: "Spools not seen for ten minutes that may hold calls which the ledger doesn't have: `manti spool list`."})
	if err := c.registry.Register(gauge); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		told := map[domain.SpoolID]bool{}
		for ctx.Err() == nil {
			asked, cancel := context.WithTimeout(ctx, refreshTimeout)
			spools, err := ledger.Spools(asked, d.pool)
			cancel()
			if err == nil { // else the database is away, and others say so
				gauge.Set(float64(c.tellOrphans(spools, told)))
			}
			sleep(ctx, orphansEvery)
		}
		return nil
	}, nil
}

// tellOrphans logs each orphan once, and counts them.
func (c *control) tellOrphans(spools []ledger.SpoolState, told map[domain.SpoolID]bool) (n int) {
	for _, s := range spools {
		orphaned := s.Orphaned()
		if orphaned {
			n++
		}
		if orphaned && !told[s.ID] {
			c.log.Warn("a spool isn't seen any more and may hold calls; `manti spool ship` empties it", "spool", s.ID, "replica", s.Replica,
				"last_seen", s.LastSeen, "unshipped", s.Unshipped)
		}
		told[s.ID] = orphaned
	}
	return n
}
