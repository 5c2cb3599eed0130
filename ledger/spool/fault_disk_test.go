//go:build linux

package spool_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"manti/ledger/spool"
)

// smallDisk is a file system of its own with room for size bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fillDisk writes until nothing more fits; empty gives it back.
func fillDisk(t *testing.T, dir string) (empty func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskOfTheKernelFull fills a real file system under a spool at work: calls
// are refused, all that were admitted end, nothing is lost over a restart, and
// with room calls are admitted again.
func TestDiskOfTheKernelFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "128k")
	cfg := spool.Config{Dir: filepath.Join(disk, "spool"), SegmentBytes: 16 << 10, MaxRecordBytes: 1 << 10, MaxBytes: 1 << 20, KeepBytes: 1}
	s := mustOpen(t, cfg)
	mustCall(t, s, 1)
	empty := fillDisk(t, disk)

	payload, admitted := strings.Repeat("x", 1000), uint64(1)
	var err error
	known := time.Now().Add(time.Minute) // until when the disk must have said why there is no room
	for err == nil {                     // each fourth call stays open
		_, err = s.Start(id(admitted+1), []byte("start"), len(payload))
		if err == spool.ErrFull && time.Now().Before(known) { // preallocation is still trying
			runtime.Gosched()
			err = nil
			continue
		}
		if err == nil {
			if admitted++; admitted%4 != 0 {
				err = s.End(id(admitted), []byte(payload))
			}
		}
	}
	if !errors.Is(err, spool.ErrFull) || !errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("call %d on a full disk: %v, want ErrFull and why", admitted, err)
	}
	if admitted < 8 {
		t.Fatalf("only %d calls were admitted: the test doesn't test much", admitted)
	}
	for n := uint64(4); n <= admitted; n += 4 {
		if err := s.End(id(n), []byte(payload)); err != nil {
			t.Errorf("the end of call %d, which was admitted: %v", n, err)
		}
	}
	mustClose(t, s)

	// A start on the full disk works or says why; it takes nothing away.
	if s, err := spool.Open(cfg); err == nil {
		mustClose(t, s)
	} else if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("open on a full disk: %v", err)
	}
	empty()
	s = mustOpen(t, cfg)
	if got := shipAll(t, s); len(got) != int(admitted) {
		t.Errorf("%d of %d calls are there", len(got), admitted)
	}
	if _, err := s.Retire(nil); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1000); n < 1050; n++ {
		mustCall(t, s, n)
		shipAll(t, s)
		if _, err := s.Retire(nil); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
}

// TestDiskFullWithoutReserve is the control: starts that reserve nothing are
// admitted until there is no room for an end.
func TestDiskFullWithoutReserve(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "128k")
	s := mustOpen(t, spool.Config{Dir: filepath.Join(disk, "spool"), SegmentBytes: 16 << 10, MaxRecordBytes: 1 << 10, MaxBytes: 1 << 20})
	mustCall(t, s, 1)
	fillDisk(t, disk)
	var admitted []uint64
	for n := uint64(2); ; n++ {
		if _, err := s.Start(id(n), []byte("start"), 0); err != nil {
			break
		}
		admitted = append(admitted, n)
	}
	lost := 0
	for _, n := range admitted {
		if err := s.End(id(n), binary.BigEndian.AppendUint64([]byte(fmt.Sprintf("%900d", n)), n)); err != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Errorf("all %d calls ended: the reserve isn't what keeps their room", len(admitted))
	}
	mustClose(t, s)
}

// A disk that is full only for a moment stops nobody for long.
func TestDiskFullForAMoment(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "128k")
	s := mustOpen(t, spool.Config{Dir: filepath.Join(disk, "spool"), SegmentBytes: 16 << 10, MaxRecordBytes: 1 << 10, MaxBytes: 1 << 20})
	empty := fillDisk(t, disk)
	n := uint64(1)
	for ; ; n++ {
		if _, err := s.Start(id(n), nil, 1000); err != nil {
			break
		}
	}
	empty()
	late, tick := time.After(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for again := false; !again; {
		select {
		case <-late:
			t.Fatal("ten seconds after there was room again, calls are still refused")
		case <-tick.C:
			_, err := s.Start(id(n), nil, 1000)
			again = err == nil
		}
	}
	mustClose(t, s)
}
