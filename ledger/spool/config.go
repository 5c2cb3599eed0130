package spool

import (
	"errors"
	"fmt"
	"time"
)

// Config says where a spool is and how much it may take. Only Dir is needed.
type Config struct {
	// Dir is the spool's directory; Open makes it if it isn't there. One process has it at a time.
	Dir string

	// SegmentBytes is the length of each segment file, 16 KiB to 2 GiB; 64 MiB if 0. It must hold at least
	// four records of MaxRecordBytes. Segments that exist keep theirs.
	SegmentBytes int64

	// MaxRecordBytes bounds a payload and a reserve, up to 1 MiB; 64 KiB if 0.
	MaxRecordBytes int

	// MaxBytes bounds all segment files together: at least two segments; 8 GiB if 0. Unshipped records beyond it
	// make Start return ErrFull.
	MaxBytes int64

	// Keep is how long a shipped segment stays, to refill a ledger restored from a backup; 72 hours if 0.
	Keep time.Duration

	// KeepBytes bounds the shipped segments that Keep retains, the oldest go first; half of MaxBytes if 0.
	KeepBytes int64

	// SyncEvery is how long a written record may stay unsynced if nobody waits for it, up to 100 ms; 50 ms if 0,
	// which leaves the disk the other half.
	SyncEvery time.Duration

	// SlowSync is how long callers wait for one sync before they get ErrSlow; 5 s if 0.
	SlowSync time.Duration

	// StuckSync is how long one sync may take before the spool fails for good; 30 s if 0.
	StuckSync time.Duration

	// OnSync, if set, is called after each commit's sync with its duration, for a histogram. It must not block.
	OnSync func(time.Duration)

	// FS is the disk; nil means the real one.
	FS FS
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// withDefaults fills in what is zero and refuses what can't work.
func (c Config) withDefaults() (Config, error) {
	c.SegmentBytes = orDefault(c.SegmentBytes, 64<<20)
	c.MaxRecordBytes = orDefault(c.MaxRecordBytes, 64<<10)
	c.MaxBytes = orDefault(c.MaxBytes, max(8<<30, 2*c.SegmentBytes))
	c.Keep = orDefault(c.Keep, 72*time.Hour)
	c.KeepBytes = orDefault(c.KeepBytes, c.MaxBytes/2)
	c.SyncEvery = orDefault(c.SyncEvery, 50*time.Millisecond)
	c.SlowSync = orDefault(c.SlowSync, 5*time.Second)
	c.StuckSync = orDefault(c.StuckSync, 30*time.Second)
	if c.FS == nil {
		c.FS = osFS{}
	}
	switch {
	case c.Dir == "":
		return c, errors.New("spool: Dir is not set")
	case c.SegmentBytes < minSegment || c.SegmentBytes > maxSegment || c.SegmentBytes%frameAlign != 0:
		return c, fmt.Errorf("spool: SegmentBytes %d is not a multiple of 8 from %d to %d", c.SegmentBytes, minSegment, maxSegment)
	case c.MaxRecordBytes < 0 || c.MaxRecordBytes > maxPayload:
		return c, fmt.Errorf("spool: MaxRecordBytes %d is not from 1 to %d", c.MaxRecordBytes, maxPayload)
	case 4*frameSize(c.MaxRecordBytes) > segmentRoom(c.SegmentBytes):
		return c, fmt.Errorf("spool: SegmentBytes %d doesn't hold four records of %d bytes", c.SegmentBytes, c.MaxRecordBytes)
	case c.MaxBytes < 2*c.SegmentBytes:
		return c, fmt.Errorf("spool: MaxBytes %d is below two segments", c.MaxBytes)
	case c.Keep < 0 || c.KeepBytes < 0:
		return c, errors.New("spool: Keep and KeepBytes can't be negative")
	case c.SyncEvery < 0 || c.SyncEvery > 100*time.Millisecond:
		return c, fmt.Errorf("spool: SyncEvery %s is not up to 100ms", c.SyncEvery)
	case c.SlowSync < 0 || c.StuckSync <= c.SlowSync:
		return c, fmt.Errorf("spool: StuckSync %s must be longer than SlowSync %s", c.StuckSync, c.SlowSync)
	}
	return c, nil
}
