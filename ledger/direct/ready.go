package direct

import (
	"fmt"
	"sync/atomic"

	"manti/ledger"
)

// trouble is why the last commits failed. Starts and signs of life fail apart
// from events: a ledger that takes no events may still take starts.
type trouble struct {
	reach  atomic.Pointer[error] // of the last start or sign of life; nil if it succeeded
	append atomic.Pointer[error] // of the last events
}

// note keeps the outcome of a commit.
func note(of *atomic.Pointer[error], err error) {
	if err == nil {
		of.Store(nil)
		return
	}
	of.Store(&err)
}

// Ready returns nil if calls can be recorded now, as far as is known: else
// ErrNotConnected, or a ledger.ErrOutage with why the last commit failed. A session that is idle finds
// out by its next sign of life, in either direction.
func (l *Log) Ready() error {
	if l.base.Load() == nil {
		return ErrNotConnected
	}
	for _, of := range []*atomic.Pointer[error]{&l.trouble.reach, &l.trouble.append} {
		if err := of.Load(); err != nil {
			return fmt.Errorf("%w: the last commit failed: %w", ledger.ErrOutage, *err)
		}
	}
	return nil
}
