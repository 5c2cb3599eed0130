//go:build unix && !linux

package spool

// Sync is (*os.File).Sync: F_FULLFSYNC on darwin, fsync(2) elsewhere.
func (f *osFile) Sync() error { return f.File.Sync() }
