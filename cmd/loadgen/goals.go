package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// goal is a line of the table: a figure and the most that it may be.
type goal struct {
	Name   string  `json:"name"`
	Figure float64 `json:"figure"`
	Most   float64 `json:"most"`
	Unit   string  `json:"unit"`
	Met    bool    `json:"met"`
	Note   string  `json:"note,omitempty"`
}

func newGoal(name string, figure, most float64, unit, note string) goal {
	return goal{name, figure, most, unit, figure <= most, note}
}

// act is a measurement and the goals that it is for.
type act struct {
	name string
	run  func(ctx context.Context, s *stage) ([]goal, []section, error)
}

// acts are the table's measurements. Memory comes first: it is taken of
// processes that have done nothing yet.
func acts() []act {
	return []act{
		{"idle", idleAct},
		{"streams", streamsAct},
		{"w1-1", loadAct("w1", func(l *load) { l.concurrency = 1 }, func(s *stage, g, b figures) ([]goal, error) {
			sync, err := syncTime(s.flags.data)
			most := 1.3*b.value["added_p50"] + float64(sync)/float64(time.Microsecond)
			return []goal{newGoal("W1, 1 in flight: latency added, p50", g.value["added_p50"], most, "µs",
				fmt.Sprintf("1.3 × %s + one fdatasync of %v", number(b.value["added_p50"]), sync))}, err
		})},
		{"w1-64", loadAct("w1", nil, func(_ *stage, g, b figures) ([]goal, error) {
			return []goal{
				ratioGoal("W1, 64 in flight: CPU a call", "cpu", 0.9, g, b),
				ratioGoal("W1, 64 in flight: latency added, p50", "added_p50", 1.2, g, b),
				ratioGoal("W1, 64 in flight: latency added, p99", "added_p99", 1.5, g, b),
			}, nil
		})},
		{"w2", loadAct("w2", nil, oneGoal("W2, 1,000/s: CPU a call", "cpu", 1.3))},
		{"w3", loadAct("w3", nil, oneGoal("W3: CPU a chunk", "cpu_chunk", 1.3))},
		{"w4", loadAct("w4", nil, oneGoal("W4, 500 streams: CPU a chunk", "cpu_chunk", 1.3))},
		{"w5", loadAct("w5", nil, oneGoal("W5: CPU a call", "cpu", 1.5))},
	}
}

type judge func(s *stage, gateway, baseline figures) ([]goal, error)

func oneGoal(name, metric string, most float64) judge {
	return func(_ *stage, g, b figures) ([]goal, error) {
		return []goal{ratioGoal(name, metric, most, g, b)}, nil
	}
}

// ratioGoal bounds the ratio of gateway to baseline. A measurement with errors
// meets no goal.
func ratioGoal(name, metric string, most float64, gateway, baseline figures) goal {
	g, b := gateway.value[metric], baseline.value[metric]
	note := fmt.Sprintf("%s against %s %s; load core %s", number(g), number(b), gateway.unit[metric], number(gateway.value["load_core"]))
	goal := goal{Name: name, Most: most, Unit: "×", Note: note}
	if b > 0 {
		goal.Figure = g / b
		goal.Met = goal.Figure <= most
	}
	if n := gateway.value["errors"] + baseline.value["errors"]; n > 0 {
		goal.Met = false
		goal.Note += fmt.Sprintf("; %.0f errors", n)
	}
	return goal
}

// loadAct measures a workload.
func loadAct(name string, change func(*load), judge judge) func(context.Context, *stage) ([]goal, []section, error) {
	return func(ctx context.Context, s *stage) ([]goal, []section, error) {
		w, err := findWorkload(name)
		if err != nil {
			return nil, nil, err
		}
		l := load{mode: w.mode, concurrency: w.concurrency, rate: w.rate, warmup: s.flags.warmup, duration: s.flags.duration}
		if change != nil {
			change(&l)
		}
		gateway, baseline, err := s.bench.compareRounds(ctx, w, l)
		if err != nil {
			return nil, nil, err
		}
		goals, err := judge(s, gateway, *baseline)
		title := fmt.Sprintf("%s: %s, %s loop, %d callers", w.name, w.what, l.mode, l.concurrency)
		return goals, []section{{title, rows(gateway, baseline)}}, err
	}
}

// idleAct takes memory and size of a gateway that has done nothing yet.
func idleAct(_ context.Context, s *stage) ([]goal, []section, error) {
	u, err := s.bench.gateway.proc.usage()
	if err != nil {
		return nil, nil, err
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.bench.gateway.proc.pid))
	if err != nil {
		return nil, nil, fmt.Errorf("find the gateway's binary: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("find the gateway's binary: %w", err)
	}
	return []goal{
		newGoal("idle memory", float64(u.rss)/(1<<20), 60, "MiB", "Postgres apart"),
		newGoal("binary", float64(info.Size())/1e6, 40, "MB", ""),
	}, nil, nil
}

// streamsAct takes the memory of open streams.
func streamsAct(ctx context.Context, s *stage) ([]goal, []section, error) {
	table, err := s.bench.streams(ctx, s.flags.streams)
	if err != nil {
		return nil, nil, err
	}
	last := table.Rows[len(table.Rows)-1]
	return []goal{newGoal(fmt.Sprintf("memory a slow stream, %d open", s.flags.streams), last.Gateway, 64, "KiB",
		"the baseline: "+number(*last.Baseline))}, []section{table}, nil
}

// table plays all acts and prints the goals; missed says that not all were
// met.
func (s *stage) table(ctx context.Context, io streams) (missed bool, err error) {
	var goals []goal
	only := strings.FieldsFunc(s.flags.only, func(r rune) bool { return r == ',' })
	for _, a := range acts() {
		if len(only) > 0 && !slices.ContainsFunc(only, func(o string) bool { return strings.HasPrefix(a.name, o) }) {
			continue
		}
		fmt.Fprintf(io.err, "loadgen: %s\n", a.name)
		reached, sections, err := a.run(ctx, s)
		if err != nil {
			return false, fmt.Errorf("%s: %w", a.name, err)
		}
		for _, c := range s.children {
			if err := c.alive(); err != nil {
				return false, err
			}
		}
		goals = append(goals, reached...)
		for _, table := range sections {
			if !s.flags.verbose {
				break
			}
			if err := table.show(io.out, s.flags.json); err != nil {
				return false, err
			}
		}
	}
	missed = slices.ContainsFunc(goals, func(g goal) bool { return !g.Met })
	if s.flags.json {
		return missed, json.NewEncoder(io.out).Encode(goals)
	}
	return missed, showGoals(io, goals)
}

func showGoals(io streams, goals []goal) error {
	t := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\n\tmeasured\tat most\t\t")
	for _, g := range goals {
		verdict := "ok"
		if !g.Met {
			verdict = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\t%s\n", g.Name, number(g.Figure), g.Unit, number(g.Most), verdict, g.Note)
	}
	return t.Flush()
}

// syncTime is the median time of an fdatasync in a directory, each after a
// record of usual size, in a file whose blocks have been written before.
func syncTime(dir string) (time.Duration, error) {
	const records, recordBytes = 200, 512
	f, err := os.Create(filepath.Join(dir, "loadgen-sync"))
	if err != nil {
		return 0, fmt.Errorf("time a sync: %w", err)
	}
	defer func() {
		_ = f.Close() // nothing in it matters
		_ = os.Remove(f.Name())
	}()
	if _, err := f.Write(make([]byte, records*recordBytes)); err != nil {
		return 0, fmt.Errorf("time a sync: %w", err)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("time a sync: %w", err)
	}
	var h histogram
	for i := range records {
		if _, err := f.WriteAt(make([]byte, recordBytes), int64(i*recordBytes)); err != nil {
			return 0, fmt.Errorf("time a sync: %w", err)
		}
		begun := time.Now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, fmt.Errorf("time a sync: %w", err)
		}
		h.record(time.Since(begun))
	}
	return h.quantile(0.5), nil
}
