package spool_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"manti/ledger/spool"
)

// TestMisuse checks the errors of calls that the owner shouldn't make.
func TestMisuse(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	mustStart(t, s, 1, "start")
	_, err := s.Start(id(1), nil, 0)
	want(t, "second start", err, spool.ErrDuplicate)
	_, err = s.Start(id(2), make([]byte, 2000), 0)
	want(t, "large start", err, spool.ErrTooLarge)
	_, err = s.Start(id(2), nil, 2000)
	want(t, "large reserve", err, spool.ErrTooLarge)
	_, err = s.Attempt(id(3), nil)
	want(t, "attempt of no call", err, spool.ErrNotOpen)
	want(t, "end of no call", s.End(id(3), nil), spool.ErrNotOpen)
	want(t, "large end", s.End(id(1), make([]byte, 2000)), spool.ErrTooLarge)
	want(t, "end beyond its reserve, with room", s.End(id(1), make([]byte, 1000)), nil)
	want(t, "second end", s.End(id(1), nil), spool.ErrNotOpen)
	_, err = s.Start(id(1), nil, 0)
	want(t, "start after end", err, nil)
	mustClose(t, s)
	want(t, "close twice", s.Close(), spool.ErrClosed)
	want(t, "end after close", s.End(id(1), nil), spool.ErrClosed)
	_, err = s.Start(id(5), nil, 0)
	want(t, "start after close", err, spool.ErrClosed)
}

func want(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestFull fills spools at random on a disk that takes no further segment: whatever was started can be ended, with all
// of its reserve, in any order.
func TestFull(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			fill(t, rand.New(rand.NewPCG(seed, 3)))
		})
	}
}

func fill(t *testing.T, rng *rand.Rand) {
	d := newDisk(1)
	segments := 2 + rng.IntN(3)
	d.fault = func(op, name string) (error, bool) {
		if n := len(d.names) - len("mcl"); op == "create" && n >= segments {
			return syscall.ENOSPC, false
		}
		return nil, false
	}
	s := mustOpen(t, small(d))
	open := map[uint64]int{}
	refused := 0
	for n := uint64(0); refused < 40; n++ {
		switch reserve := rng.IntN(1024); rng.IntN(4) {
		case 0, 1:
			_, err := s.Start(id(n), make([]byte, rng.IntN(1024)), reserve)
			if errors.Is(err, spool.ErrFull) {
				refused++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			open[n] = reserve
		case 2:
			for n := range open {
				if _, err := s.Attempt(id(n), make([]byte, rng.IntN(512))); err != nil && !errors.Is(err, spool.ErrFull) {
					t.Fatal(err)
				}
				break
			}
		case 3:
			fillEnd(t, s, open)
		}
	}
	for len(open) > 0 {
		fillEnd(t, s, open)
	}
	mustClose(t, s)
	d.fault = nil
	mustClose(t, mustOpen(t, small(d)))
}

// fillEnd ends one of the open calls with all that was reserved for it.
func fillEnd(t *testing.T, s *spool.Spool, open map[uint64]int) {
	t.Helper()
	for n, reserve := range open {
		if err := s.End(id(n), make([]byte, reserve)); err != nil {
			t.Fatalf("call %d was started with a reserve of %d bytes: %v, %+v", n, reserve, err, mustStats(t, s))
		}
		delete(open, n)
		return
	}
}

// TestFullRecovers gives the disk its space back.
func TestFullRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(1)
		full := true // guarded by d.mu
		d.fault = func(op, name string) (error, bool) {
			if full && op == "write" && name == seg2+".tmp" {
				return syscall.ENOSPC, false
			}
			return nil, false
		}
		s := mustOpen(t, small(d))
		time.Sleep(10 * time.Second)
		var err error
		for n := uint64(0); err == nil; n++ {
			_, err = s.Start(id(n), nil, 1000)
		}
		if !errors.Is(err, spool.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("got %v, want ErrFull and why", err)
		}
		synctest.Wait() // for a try that is under way
		if d.bytes(seg2+".tmp") != nil {
			t.Error("a full disk doesn't get the space of a failed segment back")
		}
		d.mu.Lock()
		full = false
		d.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if _, err := s.Start(id(999), nil, 1000); err != nil {
			t.Errorf("with space again: %v", err)
		}
		mustClose(t, s)
	})
}

// TestMaxBytes refuses calls when unshipped records fill what is allowed, and takes them when they are shipped and gone.
func TestMaxBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(1)
		cfg := small(d)
		cfg.MaxBytes, cfg.KeepBytes = 48<<10, 1
		s := mustOpen(t, cfg)
		n := uint64(0)
		fill := func() (err error) {
			for ; err == nil; n++ {
				synctest.Wait() // for the preallocator
				if _, err = s.Start(id(n), nil, 900); err == nil {
					mustEnd(t, s, n, string(make([]byte, 900)))
				}
			}
			return err
		}
		want(t, "start", fill(), spool.ErrFull)
		if got := mustStats(t, s); got.Bytes != 48<<10 || got.Unshipped < 30 {
			t.Errorf("%d bytes and %d records when full, want %d and most of it used", got.Bytes, got.Unshipped, 48<<10)
		}
		shipAll(t, s)
		if got, err := s.Retire(nil); got == 0 || err != nil {
			t.Errorf("retired %d, %v", got, err)
		}
		before := n
		want(t, "start", fill(), spool.ErrFull)
		if n < before+10 {
			t.Errorf("%d calls after shipping, want more", n-before)
		}
		mustClose(t, s)
	})
}

// TestManyAtOnce lets many callers work while segments turn, the shipper ships and the power is cut.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := newDisk(seed)
			d.crashAt = 200 + int(seed)*40
			s := mustOpen(t, small(d))
			var mu sync.Mutex
			ended := map[[16]byte]bool{}
			var wg sync.WaitGroup
			for worker := range uint64(16) {
				wg.Go(func() {
					for n := worker << 32; ; n++ {
						_, err := s.Start(id(n), []byte("start"), 200)
						if errors.Is(err, spool.ErrFull) {
							continue
						}
						if err == nil {
							err = s.End(id(n), []byte("end"))
						}
						if err != nil {
							return
						}
						mu.Lock()
						ended[id(n)] = true
						mu.Unlock()
					}
				})
			}
			wg.Go(func() {
				for {
					b, err := s.Next(t.Context(), 50)
					if err != nil || s.Ack(b) != nil {
						return
					}
				}
			})
			wg.Wait()
			_ = s.Close() // its disk is gone
			s = mustOpen(t, small(d.boot(false)))
			for r, err := range s.Replay(0) {
				if err != nil {
					t.Fatal(err)
				}
				if r.Kind == spool.End {
					delete(ended, r.ID)
				}
			}
			if len(ended) > 0 {
				t.Errorf("%d completions are gone that End said were durable", len(ended))
			}
			mustClose(t, s)
		})
	}
}
