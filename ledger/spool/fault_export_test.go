package spool

// RealFS is the machine's own disk, for tests that put faults before or behind it.
func RealFS() FS { return osFS{} }
