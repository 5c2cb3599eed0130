package main

import (
	"context"
	"time"

	"manti/ledger/spool"
)

// retireEvery is how often segments of the spool that nobody needs any more are
// looked for: a segment takes minutes to fill at the highest rate.
const retireEvery = time.Minute

// retire deletes the spool's old segments until ctx ends. Without it, the spool
// would fill up to its limit and then refuse calls.
func (s *server) retire(ctx context.Context) error {
	c := coverage{evidence: s.evidence}
	for ctx.Err() == nil {
		if stats, err := s.spool.Stats(); err == nil { // else the spool has failed, and said so
			c.note(ctx, stats.Acked)
		}
		if !s.watch.Whole() { // what a ledger that is behind has lost is in these segments
			sleep(ctx, retireEvery)
			continue
		}
		if _, err := s.spool.Retire(c.covered); err != nil {
			s.log.Warn("old segments of the spool can't be deleted", "err", err)
		}
		sleep(ctx, retireEvery)
	}
	return nil
}

// coverage knows what of the spool a signed checkpoint covers, whoever seals: a
// shipped segment is kept until then. It is owned by the one who retires.
//
// In a ledger that nobody has ever sealed, age and size alone decide. Once there
// is a checkpoint there must be further ones: without, segments pile up to the
// spool's limit, which the sealer's log and manti_seal_lag_seconds say long
// before.
type coverage struct {
	evidence *evidence
	marks    []shippedMark // by ascending position
}

// A shippedMark says that everything in the spool before a position is in the ledger's
// first size events.
type shippedMark struct {
	end  spool.Position
	size int64
}

// note remembers how large the ledger is now that everything before a position
// is in it.
func (c *coverage) note(ctx context.Context, acked spool.Position) {
	if n := len(c.marks); n > 0 && c.marks[n-1].end >= acked {
		return
	}
	live := c.evidence.live.Load()
	if live == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	if live.progress.Look(ctx) != nil {
		return // the database doesn't answer; it is asked again
	}
	c.marks = append(c.marks, shippedMark{acked, live.progress.Head()})
}

// covered reports whether everything before end is in the ledger and sealed there,
// as far as is known.
func (c *coverage) covered(end spool.Position) bool {
	live := c.evidence.live.Load()
	if live == nil {
		return false
	}
	sealed := live.progress.Sealed()
	if sealed < 0 && c.evidence.signer == nil && len(c.marks) > 0 {
		return true
	}
	for len(c.marks) > 1 && c.marks[1].size <= sealed {
		c.marks = c.marks[1:] // the one after it says more
	}
	return len(c.marks) > 0 && c.marks[0].size <= sealed && c.marks[0].end >= end
}
