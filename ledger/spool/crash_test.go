package spool_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"manti/ledger/spool"
)

// small is a spool that rotates every few dozen records.
func small(d *disk) spool.Config {
	return spool.Config{
		Dir: "/spool", FS: d, SegmentBytes: 16 << 10, MaxRecordBytes: 1 << 10, MaxBytes: 256 << 10,
		KeepBytes: 32 << 10, Keep: time.Hour,
	}
}

// TestCrashAtRandom lives many lives of a spool, each cut off at some operation of the disk, by a power cut or a kill.
func TestCrashAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(lives(t)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			crashLives(t, seed, 12)
		})
	}
}

func lives(t *testing.T) int {
	if testing.Short() {
		return 20
	}
	return 80
}

// crashLives runs one model through several crashes and a last, quiet life.
func crashLives(t *testing.T, seed uint64, crashes int) {
	d := newDisk(seed)
	m := newModel(t, seed)
	for life := range crashes {
		d.crashAt = d.ops + 1 + m.rng.IntN(1+m.rng.IntN(600))
		if m.rng.IntN(10) == 0 {
			d.crashAt = 0
		}
		if m.rng.IntN(6) == 0 {
			d.fault = failingSync(m.rng.IntN(60), m.rng.IntN(2) == 0)
		}
		live(t, m, d)
		kill := m.rng.IntN(3) == 0
		m.cut = m.cut || !kill
		d = d.boot(kill)
		if t.Failed() {
			t.Fatalf("in life %d of seed %d", life, seed)
		}
	}
	d.fault = nil
	s := mustOpen(t, small(d))
	if err := m.recovered(s); err != nil {
		t.Fatal(err)
	}
	m.drain(s)
	mustClose(t, s)
}

// failingSync fails one sync, which happened or not.
func failingSync(after int, happened bool) func(op, name string) (error, bool) {
	return func(op, _ string) (error, bool) {
		if op != "sync" {
			return nil, false
		}
		after--
		if after == 0 {
			return syscall.EIO, happened
		}
		return nil, false
	}
}

// diskEnded says that err comes from the faults that the test makes.
func diskEnded(err error) bool {
	return errors.Is(err, errCrashed) || errors.Is(err, syscall.EIO) || errors.Is(err, spool.ErrFailed)
}

// live is one life of the spool, until the disk ends it or 400 steps are done.
func live(t *testing.T, m *model, d *disk) {
	t.Helper()
	s, err := spool.Open(small(d))
	if err != nil && diskEnded(err) {
		return
	}
	if err != nil {
		t.Fatalf("open after a crash: %v", err)
	}
	if err = m.recovered(s); err == nil {
		for range 400 {
			if err = m.step(s); err != nil {
				break
			}
		}
	}
	if err != nil && !diskEnded(err) {
		t.Fatal(err)
	}
	if m.rng.IntN(2) == 0 {
		d.stop()
	}
	if err := s.Close(); err != nil && !diskEnded(err) {
		t.Fatal(err)
	}
}
