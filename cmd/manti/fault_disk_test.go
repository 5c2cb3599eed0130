//go:build linux

package main_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"manti/db/dbtest"
	"manti/db/local"
)

// ownDisk is a file system of its own that other users may enter.
func ownDisk(t *testing.T, size string) string {
	t.Helper()
	dir := folder(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		t.Skipf("a file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 2); err != nil { // MNT_DETACH
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
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
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

// With the disk of the private Postgres full, be it its own or the one that the
// spool is on too, calls go on, and when there is room the ledger gets
// everything, once.
func TestDiskFullUnderLoad(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	const callers, calls = 6, 30
	for _, test := range []struct {
		name   string
		size   string
		shared bool // with the spool
		long   bool
	}{
		{name: "of Postgres", size: "256m", long: true},
		{name: "of both", size: "448m", shared: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.long && !long() {
				t.Skip("MANTI_TEST_LONG=1 runs it")
			}
			t.Parallel()
			disk, provider := ownDisk(t, test.size), startProvider(t)
			data, env := filepath.Join(disk, "manti"), sealed(t, provider.env().with("MANTI_BOOTSTRAP_KEY", testKey))
			spool := filepath.Join(data, "spool")
			if !test.shared {
				spool = filepath.Join(folder(t), "spool")
			}
			env = env.with("MANTI_SPOOL", spool)
			p := serve(t, data, env).ready()
			crowd := gather(t, "http://"+p.addr, callers)
			more := func(what string) {
				t.Helper()
				until := crowd.whole.Load() + calls
				p.poll(what, func() bool { return crowd.whole.Load() >= until })
			}
			more("calls before")
			empty := fillDisk(t, disk)
			more("calls with the disk full")
			p.await(shippingStopped)
			more("calls with the disk full and the ledger away")
			if got := p.status("/readyz"); got != http.StatusOK {
				t.Errorf("/readyz meanwhile: %d", got)
			}
			empty()
			p.await(shippingGoesOn)
			more("calls afterwards")
			crowd.end()
			if n := crowd.failed.Load(); n != 0 {
				t.Errorf("%d calls failed: %+v", n, failures(crowd.seen()))
			}
			url, running, err := local.Find(data)
			if err != nil || !running {
				t.Fatalf("find the private Postgres: running %v, %v", running, err)
			}
			pool := openPool(t, url)
			p.poll("the spool to be shipped", func() bool { return len(readLedger(t, pool)) == len(provider.Calls()) })
			trial{provider: provider, env: env.with("MANTI_DATA", data), url: url, spools: []string{spool}, seen: crowd.seen()}.check(t)
			pool.Close()
			last := postmasterOf(t, data)
			p.stop()
			awaitEnd(t, last)
		})
	}
}

// A spool's disk that has room for one segment alone: calls are refused with 503
// once it is full, all that were admitted end well, and with more room calls are
// admitted again. It takes tens of thousands of calls.
func TestDiskOfTheSpoolFullUnderLoad(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	if !long() {
		t.Skip("MANTI_TEST_LONG=1 runs it; TestDiskOfTheKernelFull in ledger/spool does the same on a small spool")
	}
	database := dbtest.Open(t, dbtest.Options{})
	disk, provider := ownDisk(t, "70m"), startProvider(t)
	env := sealed(t, provider.env().onDatabase(database.URL())).with("MANTI_SPOOL", filepath.Join(disk, "spool"))
	p := serve(t, folder(t), env).ready()
	crowd := gatherFor(t, "http://"+p.addr, 16, []ask{{"/v1/messages", quickModel, false}, {"/v1/chat/completions", quickModel, true}})
	for crowd.failed.Load() < 20 {
		more := crowd.whole.Load() + 500
		p.poll("calls to end well, or to be refused", func() bool { return crowd.whole.Load() > more || crowd.failed.Load() >= 20 })
		if more > 100_000 {
			t.Fatal("100000 calls fit into one segment of 64 MiB: the spool isn't on the small disk")
		}
	}
	full := crowd.whole.Load()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "mode=0755,size=400m"); err != nil {
		t.Fatal(err)
	}
	p.poll("calls to be admitted again", func() bool { return crowd.whole.Load() > full+100 })
	crowd.end()
	p.stop()
	t.Logf("%d calls ended well until the disk was full, %d were refused", full, crowd.failed.Load())
	for _, s := range failures(crowd.seen()) {
		if s.status != http.StatusServiceUnavailable || !regexp.MustCompile("room").MatchString(s.body) {
			t.Errorf("a call that failed: %+v", s)
		}
	}
	trial{provider: provider, env: env, url: database.URL(), spools: []string{filepath.Join(disk, "spool")}, seen: crowd.seen()}.check(t)
}
