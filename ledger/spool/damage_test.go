package spool_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"manti/ledger/spool"
)

const (
	seg1 = "0000000001.seg"
	seg2 = "0000000002.seg"
	seg3 = "0000000003.seg"
)

// TestFlippedByte inverts each byte of a small segment in turn: in what was synced it is found and named; behind it, it
// is a torn tail that is cut.
func TestFlippedByte(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	for n := range uint64(6) {
		mustCall(t, s, n)
	}
	mustClose(t, s)
	end := mustEndOf(t, d)
	step := int64(1)
	for off := int64(0); off < int64(len(d.bytes(seg1))); off += step {
		c := d.clone()
		c.bytes(seg1)[off] ^= 0x41
		s, err := spool.Open(small(c))
		if off < end {
			if e := wantCorrupt(t, err); e.File != "/spool/"+seg1 || e.Offset > off {
				t.Fatalf("byte %d flipped: got %v", off, e)
			}
			continue
		}
		if err != nil {
			t.Fatalf("byte %d flipped behind what is synced: %v", off, err)
		}
		step = 97
		if got := mustStats(t, s); got.TornBytes == 0 || got.Unshipped != 6 {
			t.Fatalf("byte %d flipped: %d bytes torn, %d records", off, got.TornBytes, got.Unshipped)
		}
		mustClose(t, s)
	}
}

func mustEndOf(t *testing.T, d *disk) int64 {
	t.Helper()
	info, err := spool.InspectFS(d, "/spool")
	if err != nil || info.Damage != nil {
		t.Fatal(err, info.Damage)
	}
	return info.Segments[0].End
}

// TestFlippedByteInSealed does the same to a segment that has a successor: there nothing is torn.
func TestFlippedByteInSealed(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	for n := uint64(0); mustStats(t, s).Synced.Segment() < 2; n++ {
		mustCall(t, s, n)
	}
	mustClose(t, s)
	end := mustEndOf(t, d)
	for off := int64(0); off < end; off += 13 {
		c := d.clone()
		c.bytes(seg1)[off] ^= 1
		_, err := spool.Open(small(c))
		if e := wantCorrupt(t, err); e.File != "/spool/"+seg1 || e.Offset > off {
			t.Fatalf("byte %d flipped: got %v", off, e)
		}
	}
}

// TestTornTail damages starts that nobody was told are durable.
func TestTornTail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage func(b []byte, first, second int64) // of the file; where the two unsynced starts begin
		open   []uint64
	}{
		{"second is cut off", func(b []byte, _, second int64) { clear(b[second+50:]) }, []uint64{7}},
		{"second has a flipped byte", func(b []byte, _, second int64) { b[second+50] ^= 1 }, []uint64{7}},
		{"second has a huge length", func(b []byte, _, second int64) { b[second+3] = 0xff }, []uint64{7}},
		{"first is gone, second is there", func(b []byte, first, second int64) { clear(b[first:second]) }, nil},
		{"first is damaged, second is there", func(b []byte, first, _ int64) { b[first+50] ^= 1 }, nil},
		{"garbage to the file's end", func(b []byte, first, _ int64) {
			for i := first; i < int64(len(b)); i++ {
				b[i] = byte(i * 7)
			}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(1)
			s := mustOpen(t, small(d))
			mustCall(t, s, 1)
			first := mustStats(t, s).End.Offset()
			second := mustStart(t, s, 7, "seven").Offset()
			mustStart(t, s, 8, "eight")
			d.stop()
			_ = s.Close() // its disk is gone
			d = d.boot(true)
			tt.damage(d.bytes(seg1), first, second)

			s = mustOpen(t, small(d))
			if st := mustStats(t, s); st.TornBytes == 0 || st.Unshipped != 1 {
				t.Errorf("%d bytes torn, %d unshipped; want some, 1", st.TornBytes, st.Unshipped)
			}
			wantOpen(t, s, tt.open...)
			mustCall(t, s, 9)
			mustClose(t, s)
			s = mustOpen(t, small(d))
			if got := shipAll(t, s); fmt.Sprint(got) != "[1 9]" || mustStats(t, s).TornBytes != 0 {
				t.Errorf("shipped %v after a repair, want [1 9]", got)
			}
			mustClose(t, s)
		})
	}
}

func wantOpen(t *testing.T, s *spool.Spool, want ...uint64) {
	t.Helper()
	got := map[uint64]bool{}
	for _, c := range s.Unfinished() {
		got[binary.BigEndian.Uint64(c.ID[8:])] = true
	}
	for _, n := range want {
		if !got[n] {
			t.Errorf("call %d is not open, want it to be", n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v are open, want %v", got, want)
	}
}

// TestDamageBeforeMark puts damage where a later frame, or the cursor, says that the file was synced.
func TestDamageBeforeMark(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	mustCall(t, s, 1)
	begin := mustStats(t, s).End.Offset()
	mustCall(t, s, 2)
	synced := mustStats(t, s).End.Offset()
	d2 := d.clone()
	d2.bytes(seg1)[begin+50] ^= 1
	s2 := mustOpen(t, small(d2)) // the last group, no mark yet: it can't be told from a torn tail
	wantOpen(t, s2)
	mustClose(t, s2)

	if b, err := s.Next(t.Context(), 10); err != nil {
		t.Fatal(err)
	} else if err := s.Ack(b); err != nil {
		t.Fatal(err)
	}
	c := d.clone()
	c.bytes(seg1)[begin+50] ^= 1
	if _, err := spool.Open(small(c)); wantCorrupt(t, err).Offset != begin {
		t.Errorf("with the cursor behind it: %v, want offset %d", err, begin)
	}

	mustStart(t, s, 3, "three") // says that all up to here is synced
	c = d.clone()
	c.set("cursor", nil)
	c.bytes(seg1)[begin+50] ^= 1
	if _, err := spool.Open(small(c)); wantCorrupt(t, err).Offset != begin {
		t.Errorf("with a record behind it: %v, want offset %d", err, begin)
	}
	c = d.clone()
	clear(c.bytes(seg1)[begin:synced])
	if _, err := spool.Open(small(c)); wantCorrupt(t, err).Offset != begin {
		t.Errorf("with zeros before it: %v, want offset %d", err, begin)
	}
	mustClose(t, s)
}

// TestDamageWhileReading finds what goes wrong under a running spool before it is shipped.
func TestDamageWhileReading(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	mustCall(t, s, 1)
	begin := mustStats(t, s).End.Offset()
	mustCall(t, s, 2)
	d.bytes(seg1)[begin+1] ^= 1
	b, err := s.Next(t.Context(), 10)
	if err != nil || len(b.Records) != 1 {
		t.Fatalf("got %d records and %v, want the good one first", len(b.Records), err)
	}
	for range 2 {
		if _, err = s.Next(t.Context(), 10); wantCorrupt(t, err).Offset != begin {
			t.Errorf("got %v, want offset %d", err, begin)
		}
	}
	var last error
	for _, err := range s.Replay(0) {
		last = err
	}
	wantCorrupt(t, last)
	mustClose(t, s)
}
