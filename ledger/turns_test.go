package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
)

const (
	turnBatches = 24
	batchEvents = 500
)

// BenchmarkTurns appends batches of 500, each turn 24 of them, to a server with
// the settings of a private one and fsync on: one at a time, two at once, as
// Shipper does, which makes one batch ready while another is written, and two at
// once beside a sealer. bare is COPY of the same rows into a table without
// index, constraint or partition. They take turns, so that what else the machine
// does meets them all; the figures are medians of the turns (-benchtime 20x).
// Processor time is that of all of the server's processes, and of this one.
func BenchmarkTurns(b *testing.B) {
	pool := openDurable(b)
	l := ledger.New(pool)
	server := newServerTime(b, pool)
	sealer := newSealer(b, pool)
	from := int64(0)
	batches := make([][]domain.Encoded, turnBatches)
	for i := range batches {
		batches[i] = calls(b, batchEvents)
	}
	kinds := []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"bare", func(ctx context.Context) error {
			return each(ctx, 1, batches, func(events []domain.Encoded) error {
				from += batchEvents
				return l.CopyAlone(ctx, events, from)
			})
		}},
		{"one", func(ctx context.Context) error {
			return each(ctx, 1, batches, func(events []domain.Encoded) error { return appendAll(ctx, l, events) })
		}},
		{"two", func(ctx context.Context) error {
			return each(ctx, 2, batches, func(events []domain.Encoded) error { return appendAll(ctx, l, events) })
		}},
		{"sealed", func(ctx context.Context) error {
			return beside(ctx, sealer, func() error {
				return each(ctx, 2, batches, func(events []domain.Encoded) error { return appendAll(ctx, l, events) })
			})
		}},
	}
	figures := make(map[string][]float64)
	turn := 0
	for b.Loop() {
		for i := range kinds {
			kind := kinds[(i+turn)%len(kinds)]
			for _, events := range batches {
				renew(events)
			}
			if _, err := sealer.Pass(b.Context()); err != nil {
				b.Fatal(err)
			}
			server.start()
			if err := kind.do(b.Context()); err != nil {
				b.Fatal(err)
			}
			wall, theirs, ours := server.stop()
			const events = turnBatches * batchEvents
			for unit, v := range map[string]float64{
				"events/s":      events / wall.Seconds(),
				"pg-µs/event":   float64(theirs.Microseconds()) / events,
				"ours-µs/event": float64(ours.Microseconds()) / events,
			} {
				figures[kind.name+"-"+unit] = append(figures[kind.name+"-"+unit], v)
			}
		}
		turn++
	}
	for unit, all := range figures {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], unit)
	}
}

func appendAll(ctx context.Context, l *ledger.Ledger, events []domain.Encoded) error {
	res, err := l.Append(ctx, events)
	if err == nil && res.Appended != len(events) {
		err = fmt.Errorf("appended %d of %d", res.Appended, len(events))
	}
	return err
}

// each does the batches, so many at once.
func each(ctx context.Context, atOnce int, batches [][]domain.Encoded, do func([]domain.Encoded) error) error {
	group, _ := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, events := range batches {
		group.Go(func() error { return do(events) })
	}
	return group.Wait()
}

// beside lets the sealer pass each second, five times as often as serve does,
// while do runs, and once more after it: what do appends is all sealed then.
func beside(ctx context.Context, sealer *seal.Sealer, do func() error) error {
	stop := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				_, err := sealer.Pass(ctx)
				return err
			case <-tick.C:
			}
			if _, err := sealer.Pass(ctx); err != nil {
				return err
			}
		}
	})
	err := do()
	close(stop)
	return errors.Join(err, group.Wait())
}

func newSealer(b *testing.B, pool *pgxpool.Pool) *seal.Sealer {
	b.Helper()
	text, err := seal.NewKey("manti/bench")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := seal.ParseSigner(text)
	if err != nil {
		b.Fatal(err)
	}
	memory, err := seal.OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	sealer, err := seal.New(seal.Config{Pool: pool, Signer: signer, Memory: memory})
	if err != nil {
		b.Fatal(err)
	}
	return sealer
}

// serverTime is a stop-watch of processor time: a server's and our own.
type serverTime struct {
	b          *testing.B
	postmaster string

	began        time.Time
	theirs, ours time.Duration
}

func newServerTime(b *testing.B, pool *pgxpool.Pool) *serverTime {
	b.Helper()
	backend := 0
	if err := pool.QueryRow(b.Context(), `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		b.Fatal(err)
	}
	stat, err := readStat(strconv.Itoa(backend))
	if err != nil {
		b.Skipf("the server's processor time can't be read: %v", err)
	}
	return &serverTime{b: b, postmaster: stat.parent}
}

func (s *serverTime) start() {
	s.theirs, s.ours, s.began = s.server(), self(s.b), time.Now()
}

func (s *serverTime) stop() (wall, theirs, ours time.Duration) {
	wall = time.Since(s.began)
	return wall, s.server() - s.theirs, self(s.b) - s.ours
}

// server is the time of all of the server's processes, those that ended included.
func (s *serverTime) server() (sum time.Duration) {
	main, err := readStat(s.postmaster)
	if err != nil {
		s.b.Fatal(err)
	}
	sum = main.own + main.ended
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.b.Fatal(err)
	}
	for _, dir := range all {
		stat, err := readStat(filepath.Base(dir))
		if err == nil && stat.parent == s.postmaster { // a process may end meanwhile
			sum += stat.own
		}
	}
	return sum
}

// processStat is of proc(5), /proc/PID/stat: times of the process and of the
// children that it has waited for.
type processStat struct {
	parent     string
	own, ended time.Duration
}

func readStat(pid string) (p processStat, err error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return p, err
	}
	// The name, in parentheses, may hold anything; the state follows it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const tick = 10 * time.Millisecond // USER_HZ
	ticks := [4]time.Duration{}
	for i := range ticks {
		n, err := strconv.Atoi(fields[11+i]) // utime, stime, cutime, cstime
		if err != nil {
			return p, err
		}
		ticks[i] = time.Duration(n) * tick
	}
	return processStat{fields[1], ticks[0] + ticks[1], ticks[2] + ticks[3]}, nil
}

func self(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
