package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Memory remembers the last signed checkpoint outside of the database: what
// tells a ledger that was restored or edited from one that is whole. Its methods
// may be called concurrently, by several processes too.
//
// Load returns what the last Swap stored, nil if there never was one. Swap
// replaces old (nil: nothing yet) by new, durably when it returns, or returns
// ErrChanged if old isn't what is there. After any other error it may have
// happened or not. Accepted are the losses that operators have accepted.
type Memory interface {
	Load(ctx context.Context) ([]byte, error)
	Swap(ctx context.Context, old, new []byte) error
	Accepted(ctx context.Context) ([]Acceptance, error)
}

// Dir is a Memory in a directory: the file "checkpoint" in it is the signed
// note, and "accepted" has the losses that were accepted, with the last checkpoint
// from before each. Several processes may share the directory, on several machines too if
// its file system does flock(2) and atomic renames among them: NFS from version
// 4 on, mounted without local_lock.
type Dir struct{ path string }

var _ Memory = (*Dir)(nil)

// Names in the directory.
const (
	memoryFile = "checkpoint"
	memoryLock = "lock"
)

// lockRetry is how often a lock that another process holds is tried again: it is
// held for two syncs of the disk.
const lockRetry = 5 * time.Millisecond

// OpenDir opens the memory in a directory, which is made if it is missing.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of checkpoints: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("make the directory of checkpoints: %w", err)
	}
	return &Dir{path: path}, nil
}

// Path is the directory.
func (d *Dir) Path() string { return d.path }

// Load reads the file; a rename has put it there, so it is whole.
func (d *Dir) Load(context.Context) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(d.path, memoryFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last checkpoint: %w", err)
	}
	return text, nil
}

// Swap writes a new file beside the old one and renames it, under a lock.
func (d *Dir) Swap(ctx context.Context, old, new []byte) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return fmt.Errorf("keep the checkpoint: %w", err)
	}
	defer unlock()
	there, err := d.Load(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, old) {
		return ErrChanged
	}
	if err := d.replace(memoryFile, new); err != nil {
		return fmt.Errorf("keep the checkpoint: %w", err)
	}
	return nil
}

// lock waits for the other processes, as long as ctx allows.
func (d *Dir) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.path, memoryLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	t := time.NewTicker(lockRetry)
	defer t.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // which unlocks; nothing was written
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close() // nothing was written
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close() // nothing was written
			return nil, fmt.Errorf("lock %s: %w", f.Name(), ctx.Err())
		case <-t.C:
		}
	}
}

// replace leaves the old file or the new one, whenever power is cut.
func (d *Dir) replace(name string, text []byte) error {
	f, err := os.CreateTemp(d.path, ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // there no more once it is renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644) // there is no secret in it, and auditors may read it
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(d.path, name)); err != nil {
		return err
	}
	return syncDir(d.path)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
