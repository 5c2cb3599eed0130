package spool_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"manti/ledger/spool"
)

// readArchive returns the ends' numbers, and how many places were damaged.
func readArchive(t *testing.T, a *spool.Archive) (ends []uint64, damage int) {
	t.Helper()
	for r, err := range a.All() {
		if _, damaged := errors.AsType[*spool.CorruptError](err); damaged {
			damage++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := a.Record(r.Pos)
		if err != nil || again.Kind != r.Kind || again.ID != r.ID || !slices.Equal(again.Payload, r.Payload) {
			t.Fatalf("record at %s: got %+v, %v; want %+v", r.Pos, again, err, r)
		}
		if r.Kind == spool.End {
			ends = append(ends, binary.BigEndian.Uint64(r.ID[8:]))
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return ends, damage
}

// An archive is read while the spool is at work, changes nothing, and loses to
// damage no more than the rest of a segment.
func TestArchive(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	var want []uint64
	for n := uint64(1); mustStats(t, s).Synced.Segment() < 4; n++ {
		mustCall(t, s, n)
		want = append(want, n)
	}
	mustStart(t, s, 9999, "open")
	a, err := spool.OpenArchiveFS(d, "/spool")
	if err != nil {
		t.Fatal(err)
	}
	if got, damage := readArchive(t, a); fmt.Sprint(got) != fmt.Sprint(want) || damage != 0 {
		t.Errorf("got %v, %d places damaged; want %v", got, damage, want)
	}
	mustClose(t, s)

	d.bytes(seg2)[8000] ^= 1
	before := d.count()
	got, damage := readArchive(t, a)
	if d.count() != before {
		t.Error("reading changed the directory")
	}
	if damage != 1 || len(got) < len(want)/2 || len(got) >= len(want) || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("with damage: %d places, %d of %d ends, the last %d", damage, len(got), len(want), got[len(got)-1])
	}
	if _, err := a.Record(spool.At(99, 4096)); err == nil {
		t.Error("a record of no segment")
	}
	if _, err := spool.OpenArchive(t.TempDir()); err == nil {
		t.Error("an archive of nothing")
	}
}
