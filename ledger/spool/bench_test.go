package spool_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"manti/ledger/spool"
)

const (
	startBytes = 200 // what a start's payload is like
	endBytes   = 900 // a completion's
)

func benchSpool(b *testing.B) *spool.Spool {
	b.Helper()
	s, err := spool.Open(spool.Config{Dir: b.TempDir(), MaxBytes: 64 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// inFlight runs fn with n goroutines at work, and reports records and syncs.
func inFlight(b *testing.B, s *spool.Spool, n int, fn func(id [16]byte) error) {
	b.Helper()
	var next atomic.Uint64
	before, err := s.Stats()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(max(1, n/2)) // GOMAXPROCS goroutines each; 2 on the machine that the figures are from
	begin := time.Now()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var id [16]byte
			binary.BigEndian.PutUint64(id[8:], next.Add(1))
			if err := fn(id); err != nil {
				b.Error(err)
				return
			}
		}
	})
	took := time.Since(begin)
	after, err := s.Stats()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(next.Load())/took.Seconds(), "calls/s")
	b.ReportMetric(float64(after.Syncs-before.Syncs)/took.Seconds(), "syncs/s")
}

// BenchmarkCall is a call's whole path, its start and its durable completion, with so many calls at a time.
func BenchmarkCall(b *testing.B) {
	start, end := make([]byte, startBytes), make([]byte, endBytes)
	for _, n := range []int{64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := benchSpool(b)
			inFlight(b, s, n, func(id [16]byte) error {
				if _, err := s.Start(id, start, 8<<10); err != nil {
					return err
				}
				return s.End(id, end)
			})
		})
	}
}

// BenchmarkCallAlone is the same with one call at a time.
func BenchmarkCallAlone(b *testing.B) {
	s := benchSpool(b)
	start, end := make([]byte, startBytes), make([]byte, endBytes)
	var id [16]byte
	var n uint64
	b.ReportAllocs()
	for b.Loop() {
		n++
		binary.BigEndian.PutUint64(id[8:], n)
		if _, err := s.Start(id, start, 8<<10); err != nil {
			b.Fatal(err)
		}
		if err := s.End(id, end); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(mustStats(b, s).DiskSync.Nanoseconds()), "ns/disk-sync")
}
