package spool_test

import (
	"errors"
	"testing"
	"time"

	"manti/ledger/spool"
)

// FuzzSegment opens a spool whose one segment holds frames made of the first argument, with valid checksums but any
// contents, and then any bytes. Open must refuse it with a *CorruptError, or repair it into a spool that works.
func FuzzSegment(f *testing.F) {
	head := []byte{130, 0, 0, 4}
	f.Add(head, []byte{})
	f.Add(append(head, 1, 0, 0, 9, 3, 0, 0, 200, 128, 0, 255, 0), []byte{})
	f.Add(append(head, 1, 0, 0, 9, 2, 0, 1, 17, 129, 0, 0, 0), []byte{1, 2, 3})
	f.Add(append(head, 3, 1, 0, 9), []byte("not a frame"))
	f.Add([]byte{1, 0, 0, 0}, []byte{})
	f.Add([]byte{}, make([]byte, 100))
	spoolID := [16]byte{1}
	f.Fuzz(func(t *testing.T, frames, raw []byte) {
		d := newDisk(1)
		b := spool.EncodeHeader(spoolID, 1, 16<<10, 1)
		for ; len(frames) >= 4 && len(b) < 14<<10; frames = frames[4:] {
			b = fuzzFrame(b, spoolID, frames)
		}
		b = append(b, raw...)
		b = append(b, make([]byte, 16<<10)...)[:16<<10]
		d.set(seg1, b)
		d.set("meta", spool.EncodeMeta(spoolID, 1))

		info, err := spool.InspectFS(d, "/spool")
		if err != nil {
			t.Fatal(err)
		}
		s, err := spool.Open(small(d))
		if err != nil {
			if _, ok := errors.AsType[*spool.CorruptError](err); !ok || info.Damage == nil {
				t.Fatalf("open: %v; inspect: %v", err, info.Damage)
			}
			return
		}
		if info.Damage != nil {
			t.Fatalf("open: nil; inspect: %v", info.Damage)
		}
		worksAfterAll(t, s, d, info)
	})
}

// fuzzFrame appends a frame made of four bytes: kind, flags and call, mark, length.
func fuzzFrame(b []byte, spoolID [16]byte, in []byte) []byte {
	rec := spool.Record{
		Kind: spool.Kind(in[0]), Carried: in[1]&1 != 0, ID: id(uint64(in[1] >> 5)), Epoch: 1, At: time.UnixMicro(1),
		Payload: make([]byte, in[3]),
	}
	off := int64(len(b))
	mark := uint32(0)
	if in[2] > 0 {
		mark = uint32(off) - uint32(in[2]) + 1
	}
	return spool.AppendFrame(b, spoolID, 1, off, rec, mark)
}

// worksAfterAll ships what a damaged spool has left, and uses it over a restart.
func worksAfterAll(t *testing.T, s *spool.Spool, d *disk, info spool.Info) {
	t.Helper()
	if got := len(shipAll(t, s)); got != info.Unshipped {
		t.Fatalf("shipped %d records, inspect saw %d", got, info.Unshipped)
	}
	for _, c := range s.Unfinished() {
		if err := s.End(c.ID, nil); err != nil && !errors.Is(err, spool.ErrFull) {
			t.Fatal(err)
		}
	}
	mustCall(t, s, 1000)
	mustClose(t, s)
	s = mustOpen(t, small(d))
	if got := shipAll(t, s); len(got) == 0 || got[len(got)-1] != 1000 {
		t.Fatalf("after a restart shipped %v, want 1000 as the last", got)
	}
	mustClose(t, s)
}
