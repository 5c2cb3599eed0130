package spool

import (
	"errors"
	"fmt"
)

// What a caller may meet. Match with errors.Is.
var (
	// ErrFull refuses a Start or an Attempt: the preallocated room doesn't cover it and the completions of
	// all open calls. It passes when calls end, segments are retired or the disk has space again.
	ErrFull = errors.New("spool is full")

	// ErrSlow says that the disk has been at one sync for longer than Config.SlowSync. The record is
	// written, or will be, but nobody knows whether it is durable: the caller must not say that it is.
	ErrSlow = errors.New("spool sync takes too long")

	// ErrFailed is final: a write or sync failed or never came back. Nothing is accepted any more, the
	// process should end, and the next Open finds out what the disk holds.
	ErrFailed = errors.New("spool failed")

	// ErrClosed answers calls after Close.
	ErrClosed = errors.New("spool is closed")

	// ErrNotOpen refuses an End or Attempt of a call that was never started or has its completion.
	ErrNotOpen = errors.New("call is not open in the spool")

	// ErrDuplicate refuses a second Start of a call that is open.
	ErrDuplicate = errors.New("call is already open in the spool")

	// ErrTooLarge refuses a payload or reserve above Config.MaxRecordBytes.
	ErrTooLarge = errors.New("record is too large for the spool")

	// ErrMetaLost refuses a directory that has segments but no meta file.
	ErrMetaLost = errors.New("spool has segments but its meta file is gone")
)

// A LockedError says that another process has the spool open.
type LockedError struct {
	Dir string
	PID int // 0 if not known
}

// Error names the directory and, if known, the process.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("spool %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("spool %s is in use by process %d", e.Dir, e.PID)
}

// A CorruptError says that bytes which were once synced are no longer what was written. The spool
// doesn't start on such a directory: what is lost must be known to somebody first.
type CorruptError struct {
	File   string // path of the damaged file
	Offset int64  // first byte that doesn't hold, from the file's begin
	Reason string
}

// Error names the file, the offset and what is wrong there.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("spool file %s is corrupt at offset %d: %s", e.File, e.Offset, e.Reason)
}
