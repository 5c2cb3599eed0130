package main

import (
	"context"
	"time"
)

// retireEvery is how often segments of the spool that nobody needs any more are
// looked for: a segment takes minutes to fill at the highest rate.
const retireEvery = time.Minute

// retire deletes the spool's old segments until ctx ends. Without it, the spool
// would fill up to its limit and then refuse calls.
func (s *server) retire(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := s.spool.Retire(nil); err != nil {
			s.log.Warn("old segments of the spool can't be deleted", "err", err)
		}
		sleep(ctx, retireEvery)
	}
	return nil
}
