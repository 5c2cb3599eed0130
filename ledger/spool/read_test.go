package spool_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"manti/ledger/spool"
)

// TestNextIsDurable checks that Next waits, and returns nothing that isn't synced.
func TestNextIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, g := gated(t)
		got := make(chan spool.Batch, 1)
		go func() {
			b, err := s.Next(t.Context(), 10)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
		mustStart(t, s, 1, "start")
		time.Sleep(time.Minute)
		g.shut(seg1)
		go func() {
			if err := s.End(id(1), []byte("end")); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("a completion was given away before it was durable")
		default:
		}
		g.open()
		b := <-got
		if len(b.Records) != 1 || string(b.Records[0].Payload) != "end" || b.Records[0].Epoch != 1 {
			t.Errorf("got %+v", b.Records)
		}
		mustStart(t, s, 2, "start")
		g.shut(seg1)
		go func() {
			if err := s.End(id(2), []byte("end")); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b, err := s.Next(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %+v, %v: a completion is written, but not durable", b, err)
		}
		g.open()
		if b, err := s.Next(t.Context(), 10); err != nil || len(b.Records) != 1 {
			t.Errorf("got %+v, %v", b, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Next(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		go func() {
			time.Sleep(time.Second)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		if _, err := s.Next(t.Context(), 10); !errors.Is(err, spool.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

// TestUnknownKinds ships what a later version may write, and its own.
func TestUnknownKinds(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	for _, k := range []spool.Kind{4, 5, 6, 99, 127, 131, 255} {
		if err := s.AppendAny(k, id(uint64(k)), []byte("later")); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	s = mustOpen(t, small(d))
	if got := fmt.Sprint(shipAll(t, s)); got != "[6 99 127]" {
		t.Errorf("shipped %s, want [6 99 127]", got)
	}
	mustClose(t, s)
}

// TestAck checks where shipping goes on.
func TestAck(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	for n := range uint64(6) {
		mustCall(t, s, n)
	}
	first, err := s.Next(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Next(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Ack(second), s.Ack(first)); err != nil { // an older one takes nothing back
		t.Fatal(err)
	}
	if got := mustStats(t, s); got.Unshipped != 2 || got.Acked != second.End {
		t.Errorf("%d unshipped, acked %s; want 2, %s", got.Unshipped, got.Acked, second.End)
	}
	mustClose(t, s)
	torn := d.clone()
	s = mustOpen(t, small(d))
	if got := fmt.Sprint(shipAll(t, s)); got != "[4 5]" {
		t.Errorf("after a restart shipped %s, want [4 5]", got)
	}
	mustClose(t, s)

	slot := mustNewerSlot(torn)
	torn.bytes("cursor")[slot+35] ^= 1
	s = mustOpen(t, small(torn))
	if mustStats(t, s).CursorLost {
		t.Error("one damaged slot lost the cursor")
	}
	mustClose(t, s)
	torn.set("cursor", nil)
	s = mustOpen(t, small(torn))
	if got := fmt.Sprint(shipAll(t, s)); got != "[0 1 2 3 4 5]" || !mustStats(t, s).CursorLost {
		t.Errorf("without a cursor shipped %s, want all", got)
	}
	mustClose(t, s)
}

// mustNewerSlot is the offset of the cursor's slot that holds.
func mustNewerSlot(d *disk) int {
	b := d.bytes("cursor")
	if b[24] > b[spool.CursorSlot+24] {
		return 0
	}
	return spool.CursorSlot
}

// TestRetire checks that a segment goes only when it is shipped, old or over the cap, and covered.
func TestRetire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(1)
		cfg := small(d)
		cfg.KeepBytes = 1 << 20
		s := mustOpen(t, cfg)
		mustStart(t, s, 1, "open all the time")
		n := uint64(100)
		for ; mustStats(t, s).Synced.Segment() < 4; n++ {
			mustCall(t, s, n)
		}
		retire := func(want int, covered func(spool.Position) bool) {
			t.Helper()
			if got, err := s.Retire(covered); err != nil || got != want {
				t.Errorf("retired %d, %v; want %d", got, err, want)
			}
		}
		time.Sleep(2 * time.Hour)
		retire(0, nil) // nothing is shipped
		shipAll(t, s)
		mustCall(t, s, n)
		shipAll(t, s)
		retire(0, func(spool.Position) bool { return false })
		retire(1, func(end spool.Position) bool { return end.Segment() < 2 })
		for r, err := range s.Replay(0) {
			if err != nil || r.Pos.Segment() < 2 {
				t.Errorf("replay: %s %v", r.Pos, err)
			}
			break
		}
		retire(2, nil)
		mustClose(t, s)
		cfg.KeepBytes = 0
		cfg.MaxBytes = 64 << 10 // and so half of it for shipped ones
		s = mustOpen(t, cfg)
		wantOpen(t, s, 1)
		for ; mustStats(t, s).Synced.Segment() < 7; n++ {
			mustCall(t, s, n)
			shipAll(t, s)
			if _, err := s.Retire(nil); err != nil {
				t.Fatal(err)
			}
			if got := mustStats(t, s).Bytes; got > 64<<10 {
				t.Fatalf("%d bytes, want at most %d", got, 64<<10)
			}
		}
		mustEnd(t, s, 1, "end")
		mustClose(t, s)
	})
}

// TestRetireIsDurable cuts the power right after segments were retired: what is left is a spool without a gap, and the cursor
// isn't before it.
func TestRetireIsDurable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		d := newDisk(seed)
		cfg := small(d)
		cfg.KeepBytes = 1
		s := mustOpen(t, cfg)
		for n := uint64(100); mustStats(t, s).Synced.Segment() < 5; n++ {
			mustCall(t, s, n)
		}
		shipAll(t, s)
		d.mu.Lock()
		d.crashAt = d.ops + 1 + int(seed%15)
		d.mu.Unlock()
		_, _ = s.Retire(nil) // the disk may end it
		d.stop()
		_ = s.Close() // its disk is gone
		s = mustOpen(t, small(d.boot(false)))
		mustCall(t, s, 1)
		mustClose(t, s)
	}
}

// TestRetireWaitsForCarried keeps a segment until the records of open calls are durable in the next one.
func TestRetireWaitsForCarried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, g := newDisk(1), &gate{}
		d.gate = g.wait
		cfg := small(d)
		cfg.KeepBytes = 1
		s := mustOpen(t, cfg)
		synctest.Wait()
		mustStart(t, s, 1, "open all the time")
		n := uint64(100)
		for ; mustStats(t, s).End.Offset() < 15<<10; n++ {
			mustCall(t, s, n)
		}
		g.shut(seg2)
		for ; mustStats(t, s).End.Segment() < 2; n++ {
			mustStart(t, s, n, "start")
		}
		shipAll(t, s)
		time.Sleep(2 * time.Second) // longer than the timer for a sync, shorter than a slow one
		if got, err := s.Retire(nil); got != 0 || err != nil {
			t.Errorf("retired %d, %v; want 0: open calls would be lost", got, err)
		}
		g.open()
		synctest.Wait()
		mustClose(t, s)
	})
}

// TestReplay reads everything, from the begin and from the middle.
func TestReplay(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	mustStart(t, s, 1, "open")
	var n uint64
	for n = 100; mustStats(t, s).Synced.Segment() < 3; n++ {
		mustCall(t, s, n)
	}
	ends, carried, next := uint64(0), 0, uint64(100)
	var middle spool.Position
	for r, err := range s.Replay(0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Carried {
			carried++
		}
		if r.Kind != spool.End {
			continue
		}
		if r.ID != id(next) {
			t.Fatalf("got completion of %x, want %d", r.ID, next)
		}
		ends++
		next++
		if ends == 70 {
			middle = r.Pos
		}
	}
	if ends != n-100 || carried != 2 {
		t.Errorf("%d completions and %d carried records, want %d and 2", ends, carried, n-100)
	}
	for r, err := range s.Replay(middle) {
		if err != nil || r.Pos != middle || r.ID != id(169) {
			t.Errorf("replay from %s begins with %s, %x, %v", middle, r.Pos, r.ID, err)
		}
		break
	}
	mustClose(t, s)
}

// TestInspect looks at a spool in use, closed, damaged and at none.
func TestInspect(t *testing.T) {
	t.Parallel()
	d := used(t)
	info, err := spool.InspectFS(d, "/spool")
	if err != nil || info.Damage != nil || info.OpenCalls != 1 || info.Epoch != 1 || info.Unshipped == 0 ||
		info.Records != 2*info.Unshipped+1 || info.Segments[0].Sealed.IsZero() || info.Synced.Segment() != 2 {
		t.Errorf("got %+v, %v", info, err)
	}
	before := d.count()
	s := mustOpen(t, small(d))
	mustStart(t, s, 50, "start")
	if live, err := spool.InspectFS(d, "/spool"); err != nil || live.Damage != nil || live.OpenCalls != 2 || live.Epoch != 2 {
		t.Errorf("in use: got %+v, %v", live, err)
	}
	mustClose(t, s)
	if d.count() == before {
		t.Error("the test's own counter stands still")
	}
	before = d.count()
	d.bytes(seg1)[5000] ^= 1
	info, err = spool.InspectFS(d, "/spool")
	if err != nil || wantCorrupt(t, info.Damage).File != "/spool/"+seg1 || d.count() != before {
		t.Errorf("damaged: got %+v, %v", info, err)
	}
	if _, err := spool.Inspect(t.TempDir()); err == nil {
		t.Error("an empty directory: got no error")
	}
}
