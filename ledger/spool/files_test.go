package spool_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"manti/ledger/spool"
)

// used is a disk with two segments in use, a spare behind them, call 1 open and calls 100… completed.
func used(t *testing.T) *disk {
	t.Helper()
	d := newDisk(1)
	s := mustOpen(t, small(d))
	mustStart(t, s, 1, "open")
	for n := uint64(100); mustStats(t, s).Synced.Segment() < 2; n++ {
		mustCall(t, s, n)
	}
	mustCall(t, s, 2)
	for mustStats(t, s).Segments < 3 { // the preallocator is at work
		mustCall(t, s, 3)
	}
	mustClose(t, s)
	return d
}

// TestFilesLost takes away or damages one file at a time.
func TestFilesLost(t *testing.T) {
	t.Parallel()
	zero := []byte{}
	for _, tt := range []struct {
		name    string
		change  func(d *disk)
		lost    bool // ErrMetaLost
		corrupt string
	}{
		{name: "nothing", change: func(*disk) {}},
		{name: "meta gone", change: func(d *disk) { d.set("meta", nil) }, lost: true},
		{name: "meta gone, segments too", change: func(d *disk) {
			d.set("meta", nil)
			d.set(seg1, nil)
			d.set(seg2, nil)
			d.set(seg3, nil)
		}, lost: true},
		{name: "meta empty", change: func(d *disk) { d.set("meta", zero) }, corrupt: "meta"},
		{name: "meta damaged", change: func(d *disk) { d.bytes("meta")[20] ^= 1 }, corrupt: "meta"},
		{name: "cursor gone", change: func(d *disk) { d.set("cursor", nil) }},
		{name: "cursor empty", change: func(d *disk) { d.set("cursor", zero) }},
		{name: "cursor damaged", change: func(d *disk) {
			d.bytes("cursor")[30] ^= 1
			d.bytes("cursor")[spool.CursorSlot+30] ^= 1
		}},
		{name: "first segment gone", change: func(d *disk) { d.set(seg1, nil) }, corrupt: seg1},
		{name: "first segment empty", change: func(d *disk) { d.set(seg1, zero) }, corrupt: seg1},
		{name: "last segment gone", change: func(d *disk) { d.set(seg2, nil); d.set(seg3, nil) }, corrupt: seg2},
		{name: "last segment empty", change: func(d *disk) { d.set(seg2, zero); d.set(seg3, nil) }, corrupt: seg2},
		{name: "last segment cut", change: func(d *disk) { d.set(seg2, d.bytes(seg2)[:8192]) }, corrupt: seg2},
		{name: "last segment zeroed", change: func(d *disk) { clear(d.bytes(seg2)[spool.HeaderSize:]) }, corrupt: seg2},
		{name: "middle segment gone", change: func(d *disk) { d.set(seg3, d.bytes(seg2)); d.set(seg2, nil) }, corrupt: seg2},
		{name: "segment where another was", change: func(d *disk) { d.set(seg1, d.bytes(seg2)) }, corrupt: seg1},
		{name: "spare gone", change: func(d *disk) { d.set(seg3, nil) }},
		{name: "spare empty", change: func(d *disk) { d.set(seg3, zero) }},
		{name: "spare without header", change: func(d *disk) { clear(d.bytes(seg3)) }},
		{name: "spare half made", change: func(d *disk) { d.set(seg3, nil); d.set(seg3+".tmp", make([]byte, 5000)) }},
		{name: "spare of another length", change: func(d *disk) {
			b := make([]byte, 32<<10)
			copy(b, spool.EncodeHeader(metaID(d), 3, 32<<10, 1))
			d.set(seg3, b)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := used(t)
			tt.change(d)
			before := d.count()
			s, err := spool.Open(small(d))
			switch {
			case tt.lost:
				if !errors.Is(err, spool.ErrMetaLost) {
					t.Fatalf("got %v, want ErrMetaLost", err)
				}
			case tt.corrupt != "":
				if c := wantCorrupt(t, err); filepath.Base(c.File) != tt.corrupt {
					t.Fatalf("got %v, want %s named", c, tt.corrupt)
				}
			default:
				checkUsed(t, s, err)
				return
			}
			if d.count() != before {
				t.Error("a directory that was refused has been changed")
			}
			if _, err := d.Lock("/spool"); err != nil {
				t.Error("a directory that was refused is still locked")
			}
		})
	}
}

func metaID(d *disk) [16]byte { return [16]byte(d.bytes("meta")[16:32]) }

// checkUsed checks that all of used is there, and that the spool goes on.
func checkUsed(t *testing.T, s *spool.Spool, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	wantOpen(t, s, 1)
	if got := shipAll(t, s); got[0] != 100 || mustStats(t, s).Unshipped != 0 {
		t.Errorf("shipped %v, want all from 100 on", got)
	}
	for n := uint64(1000); mustStats(t, s).Synced.Segment() < 5; n++ {
		mustCall(t, s, n)
		shipAll(t, s)
		if _, err := s.Retire(nil); err != nil {
			t.Fatal(err)
		}
	}
	mustEnd(t, s, 1, "at last")
	mustClose(t, s)
}

// TestFirstSteps cuts the power at each operation of the first Open and the first call.
func TestFirstSteps(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		d := newDisk(uint64(at))
		d.crashAt = at
		m := newModel(t, 1)
		finished := firstCall(m, d)
		m.cut = true
		s := mustOpen(t, small(d.boot(false)))
		if err := m.recovered(s); err != nil {
			t.Fatalf("after a crash at operation %d: %v", at, err)
		}
		m.drain(s)
		mustClose(t, s)
		if finished {
			return
		}
	}
}

// firstCall opens a spool, makes a call and closes it; false if the disk ended that.
func firstCall(m *model, d *disk) bool {
	s, err := spool.Open(small(d))
	if err != nil {
		return false
	}
	err = m.start(s)
	if err == nil {
		err = m.end(s)
	}
	return errors.Join(err, s.Close()) == nil
}

// TestEveryCrash cuts each life of one script at each operation, by power cut and by kill.
func TestEveryCrash(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		for at := 1; ; at++ {
			d := newDisk(uint64(at))
			d.crashAt = at
			m := newModel(t, 42)
			live(t, m, d)
			finished := d.count() < at
			m.cut = !kill
			s := mustOpen(t, small(d.boot(kill)))
			if err := m.recovered(s); err != nil {
				t.Fatalf("after a crash at operation %d: %v", at, err)
			}
			m.drain(s)
			mustClose(t, s)
			if finished {
				break
			}
			if testing.Short() {
				at += 6
			}
		}
	}
}

// TestRealDisk goes through a small life on the machine's own file system.
func TestRealDisk(t *testing.T) {
	t.Parallel()
	cfg := spool.Config{Dir: filepath.Join(t.TempDir(), "a", "spool"), SegmentBytes: 64 << 10, MaxRecordBytes: 4 << 10}
	s := mustOpen(t, cfg)
	first := s.ID()
	mustStart(t, s, 1, "open")
	if _, err := s.Attempt(id(1), []byte("again")); err != nil {
		t.Fatal(err)
	}
	for n := uint64(100); mustStats(t, s).Synced.Segment() < 3; n++ {
		mustCall(t, s, n)
	}
	if st := mustStats(t, s); st.DiskSync <= 0 || st.Syncs == 0 || st.OldestAt.IsZero() {
		t.Errorf("stats are %+v, want a sync's duration, syncs and the oldest record's time", st)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg)
	if s.ID() != first || s.Epoch() != 2 {
		t.Errorf("id %x epoch %d, want %x and 2", s.ID(), s.Epoch(), first)
	}
	wantOpen(t, s, 1)
	if c := s.Unfinished()[0]; string(c.Start.Payload) != "open" || c.Epoch != 1 || len(c.Attempts) != 1 {
		t.Errorf("open call is %+v", c)
	}
	mustEnd(t, s, 1, "unknown")
	got := shipAll(t, s)
	if got[0] != 100 || got[len(got)-1] != 1 {
		t.Errorf("shipped %v, want from 100 to 1", got)
	}
	mustClose(t, s)
	info, err := spool.Inspect(cfg.Dir)
	if err != nil || info.Damage != nil || info.OpenCalls != 0 || info.Unshipped != 0 || info.Epoch != 2 {
		t.Errorf("inspect: %+v, %v", info, err)
	}
}

const childDir = "SPOOL_TEST_CHILD_DIR"

// TestSecondProcess opens a spool that another process has.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(childDir); dir != "" {
		_, err := spool.Open(spool.Config{Dir: dir})
		fmt.Println(err)
		return
	}
	cfg := spool.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10, MaxRecordBytes: 4 << 10}
	s := mustOpen(t, cfg)
	_, err := spool.Open(cfg)
	if l, ok := errors.AsType[*spool.LockedError](err); !ok || l.PID != os.Getpid() || l.Dir != cfg.Dir {
		t.Errorf("got %v, want *LockedError with this process's id", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSecondProcess$")
	cmd.Env = append(os.Environ(), childDir+"="+cfg.Dir)
	out, err := cmd.Output()
	if want := fmt.Sprintf("spool %s is in use by process %d", cfg.Dir, os.Getpid()); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("second process said %q, %v; want %q", out, err, want)
	}
	mustClose(t, s)
	mustClose(t, mustOpen(t, cfg))
}

// TestOpenRefused checks what Open says when the disk doesn't let it.
func TestOpenRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, op, file string
		err            error
	}{
		{"read-only", "create", "meta.tmp", syscall.EROFS},
		{"full", "write", seg1 + ".tmp", syscall.ENOSPC},
		{"sync fails", "sync", seg1 + ".tmp", syscall.EIO},
		{"cursor's sync fails", "sync", "cursor", syscall.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(1)
			d.fault = func(op, name string) (error, bool) {
				if op == tt.op && name == tt.file {
					return tt.err, false
				}
				return nil, false
			}
			_, err := spool.Open(small(d))
			if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), "/spool") {
				t.Errorf("got %v, want %v and the directory's name", err, tt.err)
			}
			d.fault = nil
			mustClose(t, mustOpen(t, small(d)))
		})
	}
}

// TestConfig checks what Open refuses to try.
func TestConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  spool.Config
	}{
		{"no directory", spool.Config{}},
		{"tiny segment", spool.Config{Dir: "/spool", SegmentBytes: 4096}},
		{"odd segment", spool.Config{Dir: "/spool", SegmentBytes: 1<<20 + 1}},
		{"segment below four records", spool.Config{Dir: "/spool", SegmentBytes: 64 << 10}},
		{"huge record", spool.Config{Dir: "/spool", MaxRecordBytes: 2 << 20}},
		{"no two segments", spool.Config{Dir: "/spool", MaxBytes: 64 << 20}},
		{"late sync", spool.Config{Dir: "/spool", SyncEvery: 101e6}},
		{"stuck before slow", spool.Config{Dir: "/spool", StuckSync: 1}},
		{"negative keep", spool.Config{Dir: "/spool", Keep: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.FS = newDisk(1)
			if _, err := spool.Open(tt.cfg); err == nil {
				t.Error("got no error")
			}
		})
	}
}
