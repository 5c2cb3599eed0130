package spool_test

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"manti/ledger/spool"
)

func id(n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func mustOpen(t testing.TB, cfg spool.Config) *spool.Spool {
	t.Helper()
	s, err := spool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *spool.Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustStart(t testing.TB, s *spool.Spool, n uint64, payload string) spool.Position {
	t.Helper()
	for begin := time.Now(); ; runtime.Gosched() {
		pos, err := s.Start(id(n), []byte(payload), 256)
		if err == nil {
			return pos
		}
		// These segments are so small that the preallocator may be behind.
		if !errors.Is(err, spool.ErrFull) || time.Since(begin) > 10*time.Second {
			t.Fatalf("start of call %d: %v", n, err)
		}
	}
}

func mustEnd(t testing.TB, s *spool.Spool, n uint64, payload string) {
	t.Helper()
	if err := s.End(id(n), []byte(payload)); err != nil {
		t.Fatalf("end of call %d: %v", n, err)
	}
}

func mustCall(t testing.TB, s *spool.Spool, n uint64) {
	t.Helper()
	mustStart(t, s, n, "start")
	mustEnd(t, s, n, "end")
}

func mustStats(t testing.TB, s *spool.Spool) spool.Stats {
	t.Helper()
	st, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// wantCorrupt checks that err names a place in a file.
func wantCorrupt(t testing.TB, err error) *spool.CorruptError {
	t.Helper()
	c, ok := errors.AsType[*spool.CorruptError](err)
	if !ok {
		t.Fatalf("got error %v, want a *CorruptError", err)
	}
	return c
}

// shipAll reads and acknowledges all that is unshipped and returns the calls' numbers.
func shipAll(t testing.TB, s *spool.Spool) []uint64 {
	t.Helper()
	var got []uint64
	for mustStats(t, s).Unshipped > 0 {
		b, err := s.Next(context.Background(), 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Records {
			got = append(got, binary.BigEndian.Uint64(r.ID[8:]))
		}
		if err := s.Ack(b); err != nil {
			t.Fatal(err)
		}
	}
	return got
}
