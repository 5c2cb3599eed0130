package local

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// firstDelay and maxDelay bound the wait between two attempts to start a server
	// that ends again and again. The first attempt is made at once; a server that
	// has served for maxDelay is taken for well.
	firstDelay = time.Second
	maxDelay   = 30 * time.Second
	// recoveryTimeout bounds a start after a crash. Nobody waits for it as for the
	// first one: better a long recovery than one that begins anew each minute.
	recoveryTimeout = 10 * time.Minute
)

// Run starts the server again whenever it has ended without Stop: somebody
// killed it, or the system did for want of memory. The new one recovers and
// listens where the old one did, so that connections to URL work again; until
// then Find finds none. Run returns nil when ctx ends or Stop begins. It is to be
// called once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := s.untilStop(ctx)
	defer cancel()
	delay := time.Duration(0) // before the next attempt
	for {
		up := time.Now()
		last := s.now.Load()
		if last.await(ctx) != nil || s.isStopping() {
			return nil
		}
		s.folder.removeState()
		s.cfg.Log.WarnContext(ctx, "the private Postgres has ended; it is started again", "pid", last.pid, "status", last.status(), "its_log", s.folder.logFile())
		if time.Since(up) >= maxDelay {
			delay = 0
		}
		if delay = s.insist(ctx, delay); ctx.Err() != nil {
			return nil
		}
		s.cfg.Log.InfoContext(ctx, "the private Postgres is back", "pid", s.PID())
	}
}

// untilStop returns a context that ends with Stop, too.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the context
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// insist attempts to bring the server back until it is, or ctx ends. It waits
// before each attempt, the first time as long as delay, and returns how long to
// wait before the next one.
func (s *Server) insist(ctx context.Context, delay time.Duration) time.Duration {
	for pause(ctx, delay) == nil {
		delay = nextDelay(delay)
		err := s.bringBack(ctx)
		if err == nil || ctx.Err() != nil {
			break
		}
		s.cfg.Log.WarnContext(ctx, "the private Postgres can't be started", "err", err, "next_attempt_in", delay)
	}
	return delay
}

// nextDelay doubles the wait, within bounds.
func nextDelay(delay time.Duration) time.Duration { return min(max(2*delay, firstDelay), maxDelay) }

// bringBack makes one attempt to have an instance at the site again.
func (s *Server) bringBack(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.isStopping() {
		return errors.New("it is being stopped")
	}
	running, err := s.folder.adopt(ctx) // or put aside what the last one has left
	switch {
	case err != nil:
		return err
	case running == nil:
		if running, err = s.folder.relaunch(ctx, s.cfg, s.site); err != nil {
			return err
		}
	case running.site.address != s.site.address:
		return fmt.Errorf("another server (pid %d) was started on the cluster: end it", running.pid)
	}
	if err := running.announce(); err != nil {
		return errors.Join(err, running.shutDown(context.WithoutCancel(ctx)))
	}
	s.now.Store(running)
	return nil
}
