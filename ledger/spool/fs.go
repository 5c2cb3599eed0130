package spool

import "io"

// FS is the spool's seam to the disk; a nil Config.FS means the real one. Tests put faults behind it.
type FS interface {
	// MkdirAll makes dir and its parents, durably as far as the system allows.
	MkdirAll(dir string) error
	// Lock holds dir for this process until the closer is called. It returns *LockedError if another has it.
	Lock(dir string) (io.Closer, error)
	// List returns the names in dir, sorted.
	List(dir string) ([]string, error)
	// Create makes an empty file, replacing one that is there.
	Create(name string) (File, error)
	// Open opens a file that is there, for reading only unless write is set.
	Open(name string, write bool) (File, error)
	// Rename moves a file over another in the same directory, atomically.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(name string) error
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
}

// File is an open file of an FS. All methods may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Sync returns when all bytes written before it are durable, and the length that reading them needs.
	Sync() error
}
