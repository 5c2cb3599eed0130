package spool_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"manti/ledger/spool"
)

const sector = 512 // bytes that a disk writes whole or not at all

var errCrashed = errors.New("the machine is off")

// A disk is a file system in memory that forgets what wasn't synced: on a crash each sector holds any of the states that it went
// through since the last sync, and of the directory's changes any prefix, of the
// removals in it any.
type disk struct {
	mu      sync.Mutex
	rng     *rand.Rand // guarded by mu
	names   map[string]*inode
	durable map[string]*inode
	changes []change // to durable, not yet synced
	locked  bool
	ops     int // operations that change something, so far
	crashAt int // the one that ends it all; 0 is never
	off     bool

	// fault, if set, is asked before each operation. An error with happened set comes after it has been done.
	fault func(op, name string) (err error, happened bool)

	// gate, if set, is called before each sync of a file, which waits for it to return. Set before the disk is used.
	gate func(name string)
}

// An inode is a file's bytes: as the process sees them, and on the platter.
type inode struct {
	name         string // that it has now
	cur, platter []byte
	writes       []write // since the last sync
}

// A change is one to the directory.
type change struct {
	do      func(map[string]*inode)
	removal bool
}

type write struct {
	off  int64
	data []byte
}

func newDisk(seed uint64) *disk {
	return &disk{
		rng: rand.New(rand.NewPCG(seed, 1)), names: map[string]*inode{}, durable: map[string]*inode{},
	}
}

// step counts an operation that changes something. crash says that it is the last one: it may happen in part.
func (d *disk) step(op, name string) (crash, after bool, err error) {
	if d.off {
		return false, false, errCrashed
	}
	if d.fault != nil {
		if err, after = d.fault(op, filepath.Base(name)); err != nil && !after {
			return false, false, err
		}
	}
	d.ops++
	if d.ops == d.crashAt {
		d.off = true
		return true, after, errCrashed
	}
	return false, after, err
}

// stop ends the process, or the machine: no operation does anything any more.
func (d *disk) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// boot is the disk after a stop, and after the last user has gone: as the system holds it if only the process was killed, else as
// a power cut leaves it.
func (d *disk) boot(kill bool) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kill {
		d.off, d.locked, d.crashAt, d.fault = false, false, 0, nil
		return d
	}
	n := newDisk(d.rng.Uint64())
	state := maps.Clone(d.durable)
	for _, c := range d.changes[:d.rng.IntN(len(d.changes)+1)] {
		if !c.removal || d.rng.IntN(2) == 0 {
			c.do(state)
		}
	}
	for name, f := range state {
		b := f.after(d.rng)
		n.names[name] = &inode{cur: b, platter: slices.Clone(b)}
	}
	n.durable = maps.Clone(n.names)
	return n
}

// after is what the platter may hold after a power cut.
func (f *inode) after(rng *rand.Rand) []byte {
	b := slices.Clone(f.platter)
	if len(f.cur) > len(b) && rng.IntN(2) == 0 {
		b = append(b, make([]byte, len(f.cur)-len(b))...)
	}
	bySector := map[int64][]write{}
	for _, w := range f.writes {
		for data, off := w.data, w.off; len(data) > 0; {
			n := min(int64(len(data)), sector-off%sector)
			bySector[off/sector] = append(bySector[off/sector], write{off, data[:n]})
			data, off = data[n:], off+n
		}
	}
	sectors := slices.Sorted(maps.Keys(bySector))
	lost := rng.IntN(3) // 0 all, 1 none, 2 some
	for _, s := range sectors {
		ws := bySector[s]
		n := len(ws)
		switch lost {
		case 0:
			n = 0
		case 2:
			n = rng.IntN(len(ws) + 1)
		}
		for _, w := range ws[:n] {
			if w.off < int64(len(b)) {
				copy(b[w.off:], w.data)
			}
		}
	}
	return b
}

func (d *disk) MkdirAll(string) error { return nil }

func (d *disk) Lock(dir string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, errCrashed
	}
	if d.locked {
		return nil, &spool.LockedError{Dir: dir}
	}
	d.locked = true
	return lock{d}, nil
}

type lock struct{ d *disk }

func (l lock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.locked = false
	return nil
}

func (d *disk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.names {
		names = append(names, filepath.Base(name))
	}
	slices.Sort(names)
	return names, nil
}

func (d *disk) Create(name string) (spool.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _, err := d.step("create", name)
	if err != nil {
		return nil, err
	}
	f := &inode{name: name}
	d.change(func(m map[string]*inode) { m[name] = f })
	return &file{d: d, f: f}, nil
}

// change does to the directory what a crash may forget until SyncDir.
func (d *disk) change(fn func(map[string]*inode)) {
	fn(d.names)
	d.changes = append(d.changes, change{do: fn})
}

func (d *disk) Open(name string, write bool) (spool.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, errCrashed
	}
	f := d.names[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f.name = name
	return &file{d: d, f: f}, nil
}

func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _, err := d.step("rename", from)
	if err != nil {
		return err
	}
	f := d.names[from]
	f.name = to
	d.change(func(m map[string]*inode) {
		delete(m, from)
		m[to] = f
	})
	return nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _, err := d.step("remove", name)
	if err != nil {
		return err
	}
	d.change(func(m map[string]*inode) { delete(m, name) })
	d.changes[len(d.changes)-1].removal = true
	return nil
}

func (d *disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, _, err := d.step("syncdir", dir); err != nil {
		return err
	}
	d.durable = maps.Clone(d.names)
	d.changes = nil
	return nil
}

// A file is an open inode.
type file struct {
	d *disk
	f *inode
}

func (f *file) Close() error { return nil }

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.f.cur)), nil
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.off {
		return 0, errCrashed
	}
	if off >= int64(len(f.f.cur)) {
		return 0, io.EOF
	}
	n := copy(b, f.f.cur[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	crash, after, err := f.d.step("write", f.f.name)
	if err != nil && !crash && !after {
		return 0, err
	}
	if crash {
		b = b[:f.d.rng.IntN(len(b)+1)]
	}
	if errors.Is(err, io.ErrShortWrite) {
		b, err = b[:len(b)/2], nil
	}
	if need := off + int64(len(b)); need > int64(len(f.f.cur)) {
		f.f.cur = append(f.f.cur, make([]byte, need-int64(len(f.f.cur)))...)
	}
	copy(f.f.cur[off:], b)
	f.f.writes = append(f.f.writes, write{off, slices.Clone(b)})
	return len(b), err
}

func (f *file) Sync() error {
	if f.d.gate != nil {
		f.d.mu.Lock()
		name := filepath.Base(f.f.name)
		f.d.mu.Unlock()
		f.d.gate(name)
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	crash, after, err := f.d.step("sync", f.f.name)
	if crash && f.d.rng.IntN(2) == 0 || err == nil || after {
		f.f.platter = append(f.f.platter, make([]byte, len(f.f.cur)-len(f.f.platter))...)
		for _, w := range f.f.writes {
			copy(f.f.platter[w.off:], w.data)
		}
		f.f.writes = nil
	}
	if err != nil && !crash {
		f.f.writes = nil // a failed sync: the system takes the pages for clean, and they never reach the platter
	}
	return err
}

// bytes returns a file's bytes, to be changed as a bad disk changes them; nil if there is no such file.
func (d *disk) bytes(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names["/spool/"+name]
	if f == nil {
		return nil
	}
	f.platter, f.writes = slices.Clone(f.cur), nil
	return f.cur
}

// set replaces a file's bytes; nil removes it.
func (d *disk) set(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, "/spool/"+name)
	if b != nil {
		d.names["/spool/"+name] = &inode{cur: slices.Clone(b), platter: slices.Clone(b)}
	}
	d.durable = maps.Clone(d.names)
}

// count returns how many operations that change something there were.
func (d *disk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// clone is the same disk again, unlocked and without faults.
func (d *disk) clone() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := newDisk(7)
	for name, f := range d.names {
		n.names[name] = &inode{cur: slices.Clone(f.cur), platter: slices.Clone(f.cur)}
	}
	n.durable = maps.Clone(n.names)
	return n
}
