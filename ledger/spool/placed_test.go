package spool_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"manti/ledger/spool"
)

func at(µs int64) time.Time { return time.UnixMicro(µs).UTC() }

func somePlaces() spool.Places {
	return spool.Places{Leaf: [32]byte{9}, Places: []spool.Place{
		{ID: id(1), Index: 5000, At: at(1_700_000_000_000_001)},
		{ID: id(2), Index: 5001, At: at(1_700_000_000_000_001)},
		{ID: id(3), Index: -1},
		{ID: id(4), Index: 7, At: at(1_600_000_000_000_000)},
		{ID: id(5), Index: 3, At: at(1_600_000_000_000_000)},
		{ID: id(6), Index: -1},
		{ID: id(7), Index: -1},
	}}
}

func someEntry() spool.Committed {
	return spool.Committed{Index: 1 << 40, At: at(1_700_000_000_000_001), Kind: "KeyIssued", Canonical: []byte("canonical"),
		Erasable: []byte("name"), ErasableSalt: [16]byte{3}}
}

func TestPayloadsComeBack(t *testing.T) {
	t.Parallel()
	for _, want := range []spool.Places{somePlaces(), {Leaf: [32]byte{1}}} {
		got, err := spool.ParsePlaces(want.Append(nil))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	bare := spool.Committed{At: at(1), Kind: "x", Canonical: []byte{}}
	for _, want := range []spool.Committed{someEntry(), bare} {
		got, err := spool.ParseCommitted(want.Append(nil))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if h, ok := somePlaces().Head(); !ok || h != (spool.Head{Size: 5002, At: at(1_700_000_000_000_001), Leaf: [32]byte{9}}) {
		t.Errorf("head %+v, %t", h, ok)
	}
	// A batch as most are takes little more than its ids.
	var batch spool.Places
	for n := range uint64(500) {
		batch.Places = append(batch.Places, spool.Place{ID: id(n), Index: 1_000_000 + int64(n), At: at(1)})
	}
	if n := len(batch.Append(nil)); n > 500*17+50 {
		t.Errorf("the places of 500 records take %d bytes", n)
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add(somePlaces().Append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := spool.ParsePlaces(b)
		if err != nil {
			return
		}
		again, err := spool.ParsePlaces(p.Append(nil))
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Errorf("%v (-first +again):\n%s", err, diff)
		}
		p.Head()
	})
}

func FuzzCommitted(f *testing.F) {
	f.Add(someEntry().Append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := spool.ParseCommitted(b)
		if err != nil {
			return
		}
		again, err := spool.ParseCommitted(c.Append(nil))
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Errorf("%v (-first +again):\n%s", err, diff)
		}
	})
}

func mustNote(t testing.TB, s *spool.Spool, k spool.Kind, payload []byte) {
	t.Helper()
	if _, err := s.Append(k, id(77), payload); err != nil {
		t.Fatal(err)
	}
}

// Places and entries are kept over a restart and are no work for the shipper.
func TestNotesAreNoWork(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	mustCall(t, s, 1)
	shipAll(t, s)
	mustNote(t, s, spool.Placed, somePlaces().Append(nil))
	mustNote(t, s, spool.Entry, someEntry().Append(nil))
	want, _ := somePlaces().Head()
	for range 2 {
		if st := mustStats(t, s); st.Unshipped != 0 || !st.OldestAt.IsZero() || st.OpenCalls != 0 {
			t.Errorf("stats %+v", st)
		}
		if got := s.Highest(); got != want {
			t.Errorf("highest %+v, want %+v", got, want)
		}
		mustClose(t, s)
		s = mustOpen(t, small(d))
	}
	var kinds []spool.Kind
	for r, err := range s.Replay(0) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, r.Kind)
	}
	if diff := cmp.Diff([]spool.Kind{spool.Start, spool.End, spool.Placed, spool.Entry}, kinds); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if _, err := s.Append(spool.End, id(1), nil); err == nil {
		t.Error("an end of no call")
	}
	if _, err := s.Append(spool.Entry, id(1), make([]byte, 1<<20+1)); !errors.Is(err, spool.ErrTooLarge) {
		t.Errorf("a large entry: %v", err)
	}
	mustClose(t, s)
}

// A spool that refuses calls for lack of room takes the places of what it
// holds, so that it can be emptied; entries it doesn't take.
func TestPlacesFindRoomInAFullSpool(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	cfg := small(d)
	cfg.SegmentBytes, cfg.MaxBytes = 64<<10, 128<<10
	s := mustOpen(t, cfg)
	err := error(nil)
	for n := uint64(0); err == nil; n++ {
		if _, err = s.Start(id(n), nil, 1000); err == nil {
			mustEnd(t, s, n, "end")
		}
	}
	for err == nil || !errors.Is(err, spool.ErrFull) {
		t.Fatal(err)
	}
	for err = nil; err == nil; { // what calls left
		_, err = s.Append(spool.Entry, id(1), nil)
	}
	if !errors.Is(err, spool.ErrFull) {
		t.Fatal(err)
	}
	mustNote(t, s, spool.Placed, bytes.Repeat([]byte{1}, 800))
	mustClose(t, s)
}

// Segments that hold nothing but entries go when they are old enough, although
// nothing is shipped any more.
func TestEntriesAloneDoNotFillTheSpool(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	mustCall(t, s, 1)
	shipAll(t, s)
	for range 600 { // 600 KiB, of 256 that there may be
		for {
			_, err := s.Append(spool.Entry, id(1), make([]byte, 1000))
			if err == nil {
				break
			}
			if !errors.Is(err, spool.ErrFull) {
				t.Fatal(err)
			}
			if _, err := s.Retire(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustCall(t, s, 2)
	if got := shipAll(t, s); len(got) != 1 || got[0] != 2 {
		t.Errorf("shipped %v, want 2", got)
	}
	mustClose(t, s)
}

func TestSeenComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, ok, err := spool.LoadSeen(dir); ok || err != nil {
		t.Errorf("seen before anything was: %t, %v", ok, err)
	}
	want := spool.Seen{Head: spool.Head{Size: 7, At: at(5), Leaf: [32]byte{1}}, First: [32]byte{2}, Mirrored: 3}
	if err := spool.SaveSeen(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := spool.LoadSeen(dir); got != want || !ok || err != nil {
		t.Errorf("got %+v, %t, %v", got, ok, err)
	}
	path := filepath.Join(dir, "head")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := spool.LoadSeen(dir); ok || err != nil {
		t.Errorf("a damaged file: %t, %v", ok, err)
	}
}
