package ledger

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The pauses between tries: from firstPause, doubling, to longestPause, each
// with a random part so that replicas don't come back at the same moment.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 5 * time.Second
)

func backOff(attempt int) time.Duration {
	pause := min(firstPause<<min(attempt, 10), longestPause)
	return pause/2 + rand.N(pause/2)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// trouble logs the changes of a state that may last: when it begins, when it
// becomes another, and when it is over. It is owned by one goroutine.
type trouble struct {
	log     *slog.Logger
	failing prometheus.Gauge

	kind  string // "" while all is well
	since time.Time
}

func (t *trouble) is(err error) {
	kind := "other"
	for _, known := range []error{ErrOutage, ErrFrozen, ErrBehind} {
		if errors.Is(err, known) {
			kind = known.Error()
		}
	}
	if kind == t.kind {
		return
	}
	if t.kind == "" {
		t.since = time.Now()
	}
	t.kind = kind
	t.failing.Set(1)
	level := slog.LevelError
	if errors.Is(err, ErrOutage) || errors.Is(err, ErrBehind) { // the Watch raises the alarm of the latter
		level = slog.LevelWarn
	}
	t.log.Log(context.Background(), level, "the ledger takes no events; they wait in the spool", "err", err)
}

func (t *trouble) over() {
	if t.kind == "" {
		return
	}
	t.kind = ""
	t.failing.Set(0)
	t.log.Info("the ledger takes events again", "after", time.Since(t.since).Round(time.Millisecond))
}
