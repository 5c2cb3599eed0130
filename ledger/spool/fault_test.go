package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"manti/ledger/spool"
)

// TestFault breaks the disk under a completion: each kind of fault, having happened or not.
func TestFault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, op string
		err      error
		happened bool
		there    bool // the completion is found after the process was started again
	}{
		{"sync fails", "sync", syscall.EIO, false, true}, // the system still has the page, and Open writes it again
		{"sync fails but happened", "sync", syscall.EIO, true, true},
		{"write fails", "write", syscall.EIO, false, false},
		{"write fails but happened", "write", syscall.EIO, true, true},
		{"disk full", "write", syscall.ENOSPC, false, false},
		{"short write", "write", io.ErrShortWrite, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(1)
			s := mustOpen(t, small(d))
			mustCall(t, s, 1)
			mustStart(t, s, 2, "two")
			tried := 0
			d.mu.Lock()
			d.fault = func(op, name string) (error, bool) {
				if op == tt.op && name == seg1 {
					tried++
					return tt.err, tt.happened
				}
				return nil, false
			}
			d.mu.Unlock()
			err := s.End(id(2), []byte("end"))
			if !errors.Is(err, spool.ErrFailed) || !errors.Is(err, tt.err) {
				t.Errorf("End: got %v, want ErrFailed and %v", err, tt.err)
			}
			wantFailed(t, s)
			if tried != 1 {
				t.Errorf("%d tries, want 1: an error is final", tried)
			}
			d = d.boot(true)
			mustClose(t, mustOpen(t, small(d)))
			d.stop()
			s = mustOpen(t, small(d.boot(false))) // what the first restart has seen, no power cut takes away
			if got, want := fmt.Sprint(shipAll(t, s)), map[bool]string{true: "[1 2]", false: "[1]"}[tt.there]; got != want {
				t.Errorf("after a restart %s are there, want %s", got, want)
			}
			mustClose(t, s)
		})
	}
}

// TestTornRotation ends a call with the record that begins a new segment, and the process in the middle of that write: the
// new segment's head is there, the completion isn't. The call must still be open.
func TestTornRotation(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	for n := uint64(100); mustStats(t, s).End.Offset() < 15<<10; n++ {
		mustCall(t, s, n)
	}
	d.mu.Lock()
	d.fault = func(op, name string) (error, bool) {
		if op == "write" && name == seg2 {
			return io.ErrShortWrite, true
		}
		return nil, false
	}
	d.mu.Unlock()
	var err error
	n := uint64(1)
	for ; err == nil; n++ {
		if _, err = s.Start(id(n), nil, 1000); err != nil {
			t.Fatal(err)
		}
		err = s.End(id(n), bytes.Repeat([]byte("x"), 1000))
	}
	want(t, "end", err, spool.ErrFailed)
	_ = s.Close() // has failed
	s = mustOpen(t, small(d.boot(true)))
	wantOpen(t, s, n-1)
	mustClose(t, s)
}

// TestNoSyncAfterFailed lets a rotation wait for its sync behind one that fails: a second one would succeed without the data.
func TestNoSyncAfterFailed(t *testing.T) {
	t.Parallel()
	d, g := newDisk(1), &gate{}
	d.gate = g.wait
	s := mustOpen(t, small(d))
	n := uint64(100)
	for ; mustStats(t, s).End.Offset() < 15<<10; n++ {
		mustCall(t, s, n)
	}
	mustStart(t, s, 1, "start")
	synced := 0 // guarded by d.mu
	d.mu.Lock()
	d.fault = func(op, name string) (error, bool) {
		if op != "sync" || name != seg1 {
			return nil, false
		}
		synced++
		return map[bool]error{true: syscall.EIO}[synced == 1], false
	}
	d.mu.Unlock()
	g.shut(seg1)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.End(id(1), nil); !errors.Is(err, spool.ErrFailed) {
			t.Errorf("End: got %v, want ErrFailed", err)
		}
	})
	wg.Go(func() {
		var err error
		for n := uint64(1000); err == nil || errors.Is(err, spool.ErrFull); n++ {
			_, err = s.Start(id(n), nil, 100)
		}
		if !errors.Is(err, spool.ErrFailed) {
			t.Errorf("Start: got %v, want ErrFailed", err)
		}
	})
	for mustStats(t, s).End.Segment() < 2 {
		runtime.Gosched()
	}
	g.open()
	wg.Wait()
	wantFailed(t, s)
	if synced != 1 {
		t.Errorf("%d syncs, want 1", synced)
	}
}

// wantFailed checks that nothing is accepted any more and Run says so.
func wantFailed(t *testing.T, s *spool.Spool) {
	t.Helper()
	if _, err := s.Start(id(90), nil, 0); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("Start: got %v, want ErrFailed", err)
	}
	if _, err := s.Attempt(id(2), nil); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("Attempt: got %v, want ErrFailed", err)
	}
	if err := s.End(id(1), nil); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("End: got %v, want ErrFailed", err)
	}
	if err := s.Sync(t.Context(), spool.At(9, 0)); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("Sync: got %v, want ErrFailed", err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("Run: got %v, want ErrFailed", err)
	}
	if err := s.Close(); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("Close: got %v, want ErrFailed", err)
	}
}

// A gate holds back a disk's syncs of segments in use.
type gate struct {
	mu   sync.Mutex
	held chan struct{} // guarded by mu; nil is open
	file string
}

func (g *gate) shut(file string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.file = make(chan struct{}), file
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.held)
	g.held = nil
}

func (g *gate) wait(name string) {
	g.mu.Lock()
	held := g.held
	if name != g.file {
		held = nil
	}
	g.mu.Unlock()
	if held != nil {
		<-held
	}
}

// gated is a spool in fake time whose syncs can be held back.
func gated(t *testing.T) (*spool.Spool, *disk, *gate) {
	t.Helper()
	d, g := newDisk(1), &gate{}
	d.gate = g.wait
	return mustOpen(t, small(d)), d, g
}

// TestSlowSync holds a sync for ten seconds: callers hear of it after five, nobody is admitted, then all goes on.
func TestSlowSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, g := gated(t)
		for n := range uint64(4) {
			mustStart(t, s, n, "start")
		}
		g.shut(seg1)
		began := time.Now()
		var wg sync.WaitGroup
		for n := range uint64(3) {
			wg.Go(func() {
				if err := s.End(id(n), []byte("end")); !errors.Is(err, spool.ErrSlow) {
					t.Errorf("End: got %v, want ErrSlow", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("callers waited %s, want 5s", took)
		}
		if err := s.End(id(3), []byte("end")); !errors.Is(err, spool.ErrSlow) {
			t.Errorf("End while stalled: got %v, want ErrSlow", err)
		}
		if _, err := s.Start(id(9), nil, 0); !errors.Is(err, spool.ErrSlow) {
			t.Errorf("Start while stalled: got %v, want ErrSlow", err)
		}
		time.AfterFunc(5*time.Second, g.open)
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: got %v after a slow sync, want nil", err)
		}
		mustCall(t, s, 10)
		if got := fmt.Sprint(shipAll(t, s)); len(got) != len("[0 1 2 3 10]") {
			t.Errorf("shipped %s, want all five: a slow completion isn't lost", got)
		}
		mustClose(t, s)
	})
}

// TestStuckSync never lets a sync come back: after thirty seconds the spool gives up.
func TestStuckSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, g := gated(t)
		mustStart(t, s, 1, "start")
		mustStart(t, s, 2, "start")
		g.shut(seg1)
		began := time.Now()
		if err := s.End(id(1), nil); !errors.Is(err, spool.ErrSlow) {
			t.Errorf("End: got %v, want ErrSlow", err)
		}
		err := s.Run(t.Context())
		if took := time.Since(began); !errors.Is(err, spool.ErrFailed) || took != 30*time.Second {
			t.Errorf("Run: got %v after %s, want ErrFailed after 30s", err, took)
		}
		wantFailed(t, s)
		g.open()
	})
}

// TestStuckRotation does the same to the sync of a segment that is full: whoever fills it is held up in it, everybody
// else is told. In real time, for synctest doesn't see that a goroutine waits for a mutex.
func TestStuckRotation(t *testing.T) {
	t.Parallel()
	d, g := newDisk(1), &gate{}
	d.gate = g.wait
	cfg := small(d)
	cfg.SlowSync, cfg.StuckSync = 20*time.Millisecond, 60*time.Millisecond
	s := mustOpen(t, cfg)
	n := uint64(0)
	for ; mustStats(t, s).End.Offset() < 15<<10; n++ {
		mustCall(t, s, n)
	}
	g.shut(seg1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for err := error(nil); err == nil || errors.Is(err, spool.ErrFull); n++ {
			_, err = s.Start(id(n), []byte("start"), 256)
		}
	}()
	if err := s.Run(t.Context()); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("Run: got %v, want ErrFailed", err)
	}
	wantFailed(t, s)
	g.open()
	<-done
}

// TestGroupCommit lets 64 callers come while a sync is under way: the next one is for all of them.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, g := gated(t)
		synctest.Wait()
		for n := range uint64(65) {
			mustStart(t, s, n, "")
		}
		before := mustStats(t, s).Syncs
		g.shut(seg1)
		var wg sync.WaitGroup
		end := func(n uint64) {
			wg.Go(func() {
				if err := s.End(id(n), nil); err != nil {
					t.Error(err)
				}
			})
		}
		end(0)
		synctest.Wait()
		for n := range uint64(64) {
			end(n + 1)
		}
		synctest.Wait()
		if got := mustStats(t, s).Synced; got >= mustStats(t, s).End {
			t.Errorf("synced is %s while the sync is under way", got)
		}
		g.open()
		wg.Wait()
		if got := mustStats(t, s).Syncs - before; got != 2 {
			t.Errorf("%d syncs for 1 + 64 callers, want 2", got)
		}
		mustClose(t, s)
	})
}

// TestLazySync checks that a start is durable within 100 ms with nobody asking, and that a quiet spool is quiet.
func TestLazySync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d, _ := gated(t)
		time.Sleep(10 * time.Second)
		pos := mustStart(t, s, 1, "start")
		if mustStats(t, s).Synced >= pos {
			t.Error("a start waited for the disk")
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := mustStats(t, s).Synced; got < pos {
			t.Errorf("after 100 ms synced is %s, want %s", got, pos)
		}
		c := d.clone()
		c.bytes(seg1)[pos.Offset()-1] ^= 1
		mustClose(t, mustOpen(t, small(c))) // not marked yet
		time.Sleep(2 * time.Second)
		synctest.Wait()
		c = d.clone()
		c.set("cursor", nil)
		c.bytes(seg1)[pos.Offset()-1] ^= 1
		_, err := spool.Open(small(c))
		wantCorrupt(t, err)
		before := d.count()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := d.count() - before; got != 0 {
			t.Errorf("%d operations in a quiet hour, want none", got)
		}
		mustClose(t, s)
	})
}

// TestLazySyncUnderMark begins a call while the timer waits to write a mark: it is synced as early as any other.
func TestLazySyncUnderMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := gated(t)
		mustCall(t, s, 1)
		time.Sleep(200 * time.Millisecond)
		pos := mustStart(t, s, 2, "start")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := mustStats(t, s).Synced; got < pos {
			t.Errorf("after 100 ms synced is %s, want %s", got, pos)
		}
		mustClose(t, s)
	})
}

// TestKick begins a sync without waiting for it, and Sync waits.
func TestKick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, g := gated(t)
		pos := mustStart(t, s, 1, "start")
		g.shut(seg1)
		s.Kick(pos)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Sync(ctx, pos); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sync: got %v, want its context's error", err)
		}
		g.open()
		synctest.Wait()
		if got := mustStats(t, s).Synced; got < pos {
			t.Errorf("synced is %s after a kick, want %s", got, pos)
		}
		if err := s.Sync(t.Context(), pos); err != nil {
			t.Error(err)
		}
		mustClose(t, s)
		if err := s.Sync(t.Context(), pos); err != nil {
			t.Errorf("Sync after Close: %v", err)
		}
	})
}
