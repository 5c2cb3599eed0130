package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// Sync is fdatasync(2): segments are full of zeros before their first record, so there is no metadata to
// write. An interrupted call is begun again; any other error is returned as it is and never tried again.
func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}
