package spool_test

import (
	"errors"
	"fmt"
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
	return 150
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
		live(t, m, d)
		kill := m.rng.IntN(3) == 0
		m.cut = m.cut || !kill
		d = d.crash(kill)
		if t.Failed() {
			t.Fatalf("in life %d of seed %d", life, seed)
		}
	}
	s, err := spool.Open(small(d))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.recovered(s); err != nil {
		t.Fatal(err)
	}
	m.drain(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// live is one life of the spool, until the disk ends it or 400 steps are done.
func live(t *testing.T, m *model, d *disk) {
	t.Helper()
	s, err := spool.Open(small(d))
	if errors.Is(err, errCrashed) {
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
	if err != nil && !errors.Is(err, errCrashed) && !errors.Is(err, spool.ErrFailed) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil && !errors.Is(err, errCrashed) {
		t.Fatal(err)
	}
}
