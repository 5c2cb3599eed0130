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
// damage no more than one record.
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
	if damage != 1 || len(got) < len(want)-1 || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("with damage: %d places, %d of %d ends, the last %d", damage, len(got), len(want), got[len(got)-1])
	}
	if _, err := a.Record(spool.At(99, 4096)); err == nil {
		t.Error("a record of no segment")
	}
	if _, err := spool.OpenArchive(t.TempDir()); err == nil {
		t.Error("an archive of nothing")
	}
}

// entriesOf walks over an archive and returns its records, and its damage.
func entriesOf(t *testing.T, d *disk) (records map[spool.Position]spool.Record, damage []*spool.CorruptError) {
	t.Helper()
	a, err := spool.OpenArchiveFS(d, "/spool")
	if err != nil {
		t.Fatal(err)
	}
	records = map[spool.Position]spool.Record{}
	for r, err := range a.All() {
		if c, damaged := errors.AsType[*spool.CorruptError](err); damaged {
			damage = append(damage, c)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Payload = slices.Clone(r.Payload)
		records[r.Pos] = r
		again, err := a.Record(r.Pos)
		if err != nil || !slices.Equal(again.Payload, r.Payload) {
			t.Fatalf("record at %s: got %+v, %v; want %+v", r.Pos, again, err, r)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return records, damage
}

// A flipped byte anywhere in a segment that was shipped, header and length fields
// included, costs the record that it is in, and that is named.
func TestArchiveFlippedByte(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		calls func(s *spool.Spool) bool // goes on
	}{
		{"in a sealed segment", func(s *spool.Spool) bool { return mustStats(t, s).Synced.Segment() < 2 }},
		{"in the last segment", func(s *spool.Spool) bool { return mustStats(t, s).Unshipped < 20 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(1)
			s := mustOpen(t, small(d))
			for n := uint64(0); tt.calls(s); n++ {
				mustCall(t, s, n)
			}
			shipAll(t, s)
			mustClose(t, s)
			end := mustEndOf(t, d)
			whole, damage := entriesOf(t, d)
			if len(damage) != 0 {
				t.Fatal(damage)
			}
			for off := int64(0); off < end; off += 7 {
				c := d.clone()
				c.bytes(seg1)[off] ^= 0x41
				got, damage := entriesOf(t, c)
				if len(damage) != 1 || damage[0].File != "/spool/"+seg1 || damage[0].Offset > off {
					t.Fatalf("byte %d flipped: damage %v", off, damage)
				}
				for pos, r := range whole {
					hit := pos.Segment() == 1 && pos.Offset() <= off && off < pos.Offset()+spool.FrameSize(len(r.Payload))
					if _, there := got[pos]; there == hit {
						t.Fatalf("byte %d flipped: record at %s is there: %t", off, pos, there)
					}
				}
			}
		})
	}
}

// Several places of one segment are named each, and a file that was cut off is
// read as far as it goes.
func TestArchiveDamagedTwice(t *testing.T) {
	t.Parallel()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	for n := uint64(0); mustStats(t, s).Synced.Segment() < 2; n++ {
		mustCall(t, s, n)
	}
	mustClose(t, s)
	whole, _ := entriesOf(t, d)

	c := d.clone()
	c.bytes(seg1)[6000] ^= 1
	clear(c.bytes(seg1)[9000:9200])
	got, damage := entriesOf(t, c)
	if lost := len(whole) - len(got); len(damage) != 2 || damage[0].Offset > 6000 || damage[1].Offset > 9000 || lost < 2 || lost > 6 {
		t.Errorf("%d records lost to %v", lost, damage)
	}

	c = d.clone()
	c.set(seg1, slices.Clone(c.bytes(seg1)[:9004]))
	got, damage = entriesOf(t, c)
	if len(damage) == 0 || damage[0].File != "/spool/"+seg1 {
		t.Errorf("a file that is cut off: %v", damage)
	}
	for pos, r := range whole {
		want := pos.Segment() > 1 || pos.Offset()+spool.FrameSize(len(r.Payload)) <= 9004
		if _, there := got[pos]; there != want {
			t.Errorf("a file that is cut off: record at %s is there: %t", pos, there)
		}
	}
}
