package spool_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSyncsKeepApart lets syncs follow each other at once while few calls are open, and 2 ms apart while many are: by
// then some more have ended.
func TestSyncsKeepApart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		open int // besides those that end
		want time.Duration
	}{
		{"a call alone", 0, 0},
		{"a few calls", 15, 0},
		{"many calls", 16, 2 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := mustOpen(t, small(newDisk(1)))
				for n := range tt.open {
					mustStart(t, s, uint64(100+n), "open")
				}
				mustStart(t, s, 1, "first")
				time.Sleep(time.Second) // whatever was to be synced is
				synctest.Wait()
				mustEnd(t, s, 1, "first")
				begin := time.Now()
				mustStart(t, s, 2, "second")
				mustEnd(t, s, 2, "second")
				if took := time.Since(begin); took != tt.want {
					t.Errorf("the second end took %s, want %s", took, tt.want)
				}
				mustClose(t, s)
			})
		})
	}
}
