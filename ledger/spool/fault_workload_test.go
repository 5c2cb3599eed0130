package spool_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"manti/ledger/spool"
)

// The workload runs in a process of its own, which strace kills or lies to. What
// it prints are the promises that it was given: the parent holds them against
// what a fresh Open finds.

const (
	workloadDir = "SPOOL_TEST_WORKLOAD_DIR"
	workloadLie = "SPOOL_TEST_WORKLOAD_LIE" // how its disk lies, for the controls
)

// Lies that a control's disk tells.
const (
	lieErrors = "errors" // a write that failed is said to have worked
	lieLate   = "late"   // a write stays in the process until the next one
)

// warmUp is how often each system call that the runtime makes too is made before
// the spool: so many, that only the spool's thread gets to its numbers.
const warmUp = 40

// workloadConfig rotates every dozen calls and deletes what is shipped.
func workloadConfig(dir string) spool.Config {
	return spool.Config{Dir: dir, SegmentBytes: 16 << 10, MaxRecordBytes: 1 << 10, MaxBytes: 128 << 10, KeepBytes: 1, Keep: time.Hour}
}

// endPayload is what the end of call n says.
func endPayload(n uint64) string {
	return fmt.Sprintf("end %d %s", n, strings.Repeat("x", int(n*97%600)))
}

// TestWorkload is not a test, but the child of TestEverySystemCall.
func TestWorkload(t *testing.T) {
	dir := os.Getenv(workloadDir)
	if dir == "" {
		t.Skip("the child process of another test")
	}
	disk := newThread(os.Getenv(workloadLie))
	for life := range uint64(2) {
		if err := workLife(disk, dir, life*100); err != nil {
			say("failed: %v", err)
			return
		}
	}
	say("done")
}

// say prints one line at once.
func say(format string, args ...any) {
	if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil {
		os.Exit(1)
	}
}

// workLife opens the spool, ends what an earlier life left, makes calls of which
// it leaves one open, ships some, and closes it.
func workLife(disk spool.FS, dir string, first uint64) error {
	cfg := workloadConfig(dir)
	cfg.FS = disk
	s, err := spool.Open(cfg)
	if err != nil {
		return err
	}
	for _, c := range s.Unfinished() {
		err = errors.Join(err, workEnd(s, binary.BigEndian.Uint64(c.ID[8:])))
	}
	for n := first + 1; n <= first+40 && err == nil; n++ {
		if err = workStart(s, n); err == nil && n > first+1 {
			err = workEnd(s, n)
		}
		if err == nil && n%16 == 0 {
			err = workShip(s)
		}
	}
	return errors.Join(err, s.Close())
}

func workStart(s *spool.Spool, n uint64) error {
	err := startWithRoom(s, n)
	if err != nil {
		return err
	}
	say("started %d", n)
	if n%3 == 0 {
		_, err = s.Attempt(id(n), []byte("again"))
	}
	return err
}

// startWithRoom starts a call as soon as the preallocator has made room.
func startWithRoom(s *spool.Spool, n uint64) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		if _, err := s.Start(id(n), []byte("start"), 700); !errors.Is(err, spool.ErrFull) {
			return err
		}
		<-tick.C
	}
	return errors.New("there was never room")
}

func workEnd(s *spool.Spool, n uint64) error {
	say("try %d", n)
	if err := s.End(id(n), []byte(endPayload(n))); err != nil {
		return err
	}
	say("ended %d", n)
	return nil
}

func workShip(s *spool.Spool) error {
	b, err := s.Next(context.Background(), 10)
	if err != nil {
		return err
	}
	if err := s.Ack(b); err != nil {
		return err
	}
	for _, r := range b.Records {
		say("acked %d", binary.BigEndian.Uint64(r.ID[8:]))
	}
	_, err = s.Retire(nil)
	return err
}

// A thread is the real disk, all of whose system calls are made by one thread of
// the system: strace counts by threads.
type thread struct {
	spool.FS
	work chan func()
	lie  string

	mu    sync.Mutex
	files map[string]*threadFile // guarded by mu; those that Create made, by their names
}

func newThread(lie string) *thread {
	d := &thread{FS: spool.RealFS(), work: make(chan func()), lie: lie, files: map[string]*threadFile{}}
	go func() {
		runtime.LockOSThread()
		for range warmUp {
			if f, err := os.Open(os.DevNull); err == nil {
				_, _ = f.Stat()
				_, _ = f.ReadAt(make([]byte, 1), 0)
				_ = f.Close()
			}
		}
		for f := range d.work {
			f()
		}
	}()
	return d
}

func (d *thread) do(op, name string, f func() error) (err error) {
	done := make(chan struct{})
	d.work <- func() {
		defer close(done)
		if err = f(); err != nil {
			say("fault %s %s: %v", op, filepath.Base(name), err)
		}
	}
	<-done
	return err
}

func (d *thread) MkdirAll(dir string) error {
	return d.do("mkdir", dir, func() error { return d.FS.MkdirAll(dir) })
}

func (d *thread) Lock(dir string) (c io.Closer, err error) {
	err = d.do("lock", dir, func() error { c, err = d.FS.Lock(dir); return err })
	return c, err
}

func (d *thread) List(dir string) (names []string, err error) {
	err = d.do("list", dir, func() error { names, err = d.FS.List(dir); return err })
	return names, err
}

func (d *thread) Create(name string) (f spool.File, err error) {
	err = d.do("create", name, func() error { f, err = d.FS.Create(name); return err })
	return d.file(name, f, err)
}

func (d *thread) Open(name string, write bool) (f spool.File, err error) {
	err = d.do("open", name, func() error { f, err = d.FS.Open(name, write); return err })
	return d.file(name, f, err)
}

func (d *thread) file(name string, f spool.File, err error) (spool.File, error) {
	if err != nil {
		return nil, err
	}
	t := &threadFile{d: d, f: f}
	t.name.Store(&name)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[name] = t
	return t, nil
}

func (d *thread) Rename(from, to string) error {
	if err := d.do("rename", to, func() error { return d.FS.Rename(from, to) }); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[from]; f != nil {
		f.name.Store(&to)
	}
	return nil
}

func (d *thread) Remove(name string) error {
	return d.do("remove", name, func() error { return d.FS.Remove(name) })
}

func (d *thread) SyncDir(dir string) error {
	return d.do("syncdir", dir, func() error { return d.FS.SyncDir(dir) })
}

// A threadFile is a file of a thread.
type threadFile struct {
	d    *thread
	name atomic.Pointer[string] // changes when it is renamed
	f    spool.File

	mu    sync.Mutex
	late  []byte // guarded by mu; what a lying disk keeps to itself
	where int64  // guarded by mu
}

func (f *threadFile) WriteAt(b []byte, off int64) (n int, err error) {
	if f.d.lie == lieLate && strings.HasSuffix(*f.name.Load(), ".seg") {
		return len(b), f.writeLate(b, off)
	}
	err = f.d.do("write", *f.name.Load(), func() error { n, err = f.f.WriteAt(b, off); return err })
	if f.d.lie == lieErrors {
		return len(b), nil
	}
	return n, err
}

// writeLate keeps the bytes and writes those of the time before.
func (f *threadFile) writeLate(b []byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	late, where := f.late, f.where
	f.late, f.where = append([]byte(nil), b...), off
	return f.d.do("write", *f.name.Load(), func() error { _, err := f.f.WriteAt(late, where); return err })
}

func (f *threadFile) ReadAt(b []byte, off int64) (n int, err error) {
	var end error
	err = f.d.do("read", *f.name.Load(), func() error {
		if n, err = f.f.ReadAt(b, off); errors.Is(err, io.EOF) {
			end = err
			return nil
		}
		return err
	})
	return n, errors.Join(err, end)
}

func (f *threadFile) Sync() error {
	return f.d.do("sync", *f.name.Load(), f.f.Sync)
}

func (f *threadFile) Size() (n int64, err error) {
	err = f.d.do("size", *f.name.Load(), func() error { n, err = f.f.Size(); return err })
	return n, err
}

func (f *threadFile) Close() error { return f.d.do("close", *f.name.Load(), f.f.Close) }
