// Package direct records calls in Postgres alone, for hosts that have no disk
// to keep a spool on (MANTI_DURABILITY=postgres).
//
// It promises what the spool promises, at the price of the database's latency
// and of its absence:
//   - Start returns when the call's start is committed; without the database it
//     refuses, and no call is admitted;
//   - End returns when the call's event is committed in the ledger. Calls that
//     end at the same time share a transaction;
//   - an event that can't be committed within SlowCommit isn't dropped: its
//     caller is told that it isn't known, and the event goes in when the
//     database is back.
//
// After a crash, each call with a start and without an event is recorded as
// unknown by Sweep, which any process runs, once the dead one hasn't been seen
// for a minute. A process that was only stopped for so long records its calls
// nevertheless: as what supersedes the unknown ones.
//
// One gap is left, and needs two faults at once: if the database goes away while
// it commits a start, the caller is refused; should this process then die before
// the database is back, a call that never was is recorded as unknown.
package direct

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/domain"
	"manti/ledger"
	"manti/ledger/spool"
)

const (
	// SlowCommit is how long a call waits for its event's commit before its
	// connection is aborted: as with the spool.
	SlowCommit = 5 * time.Second
	// startTimeout is how long a start may take before the call is refused.
	startTimeout = 2 * time.Second
	// commitTimeout bounds one attempt at a transaction.
	commitTimeout = 10 * time.Second
	// seenEvery is how often a session shows that it lives, and deadAfter how
	// long it may be silent. A session that couldn't show it for doubtAfter looks
	// whether its calls were taken for dead ones.
	seenEvery  = 5 * time.Second
	deadAfter  = time.Minute
	doubtAfter = 30 * time.Second
	// batchCalls bounds a transaction.
	batchCalls = 500
	// maxWaiting bounds the events that wait for the database, each of some KB.
	maxWaiting = 4096
	// retryEvery is the pause between attempts while the database is away.
	retryEvery = 250 * time.Millisecond
)

// ErrNotConnected refuses a call while the database has not been reached yet.
var ErrNotConnected = fmt.Errorf("%w: not connected yet", ledger.ErrOutage)

// Config of a Log. Log must be set.
type Config struct {
	// Session identifies this process among those that record in Postgres: a
	// fresh id for each start.
	Session domain.SpoolID
	// Replica is its name for people.
	Replica string
	Log     *slog.Logger
}

// Log records calls. It is a ledger.CallLog.
type Log struct {
	cfg    Config
	base   atomic.Pointer[base]
	starts *queue[start]
	ends   *queue[end]
	done   *queue[domain.EventID] // calls whose open_calls row can go
	// waiting counts the events that aren't committed yet.
	waiting atomic.Int64
	seen    atomic.Int64 // when the session was last seen to be alive, in ns since 1970
	trouble trouble

	mu   sync.Mutex
	open map[domain.EventID]bool // guarded by mu: started and not ended
}

var _ ledger.CallLog = (*Log)(nil)

// base is the database, once it is there.
type base struct {
	pool   *pgxpool.Pool
	ledger *ledger.Ledger
}

type start struct {
	id       domain.EventID
	record   []byte
	answered chan error
}

type end struct {
	id       domain.EventID
	enc      domain.Encoded
	answered chan error
}

// New returns a log that refuses calls until it is connected.
func New(cfg Config) (*Log, error) {
	if cfg.Log == nil || cfg.Session.IsZero() {
		return nil, errors.New("new direct log: Session and Log must be set")
	}
	return &Log{cfg: cfg, starts: newQueue[start](), ends: newQueue[end](), done: newQueue[domain.EventID](), open: make(map[domain.EventID]bool)}, nil
}

// Start commits a call's start. Its errors are ErrNotConnected, ledger.ErrOutage,
// spool.ErrFull while too many events wait for the database, and
// spool.ErrDuplicate.
func (l *Log) Start(id [16]byte, payload []byte, _ int) (spool.Position, error) {
	if l.base.Load() == nil {
		return 0, ErrNotConnected
	}
	if l.waiting.Load() >= maxWaiting {
		return 0, fmt.Errorf("%w: events wait for the database", spool.ErrFull)
	}
	if !l.begin(id) {
		return 0, spool.ErrDuplicate
	}
	s := start{id, append([]byte(nil), payload...), make(chan error, 1)}
	l.starts.put(s)
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	var err error
	select {
	case err = <-s.answered:
	case <-timer.C:
		err = fmt.Errorf("%w: a start was not committed in %v", ledger.ErrOutage, startTimeout)
	}
	if err != nil {
		// It may be there, or come to be: either way its row goes.
		l.forget(id)
		l.done.put(id)
	}
	return 0, err
}

// Kick has nothing to do: Start has committed.
func (l *Log) Kick(spool.Position) {}

// Sync has nothing to wait for.
func (l *Log) Sync(context.Context, spool.Position) error { return nil }

// End commits a call's event. With spool.ErrSlow it isn't known yet whether it
// will be: it is tried on. spool.ErrNotOpen is for a call that was never begun
// or has ended.
func (l *Log) End(id [16]byte, payload []byte) error {
	enc, err := domain.ParseRecord(append([]byte(nil), payload...))
	if err != nil {
		return fmt.Errorf("end call: %w", err)
	}
	if !l.forget(id) {
		return spool.ErrNotOpen
	}
	e := end{id, enc, make(chan error, 1)}
	l.waiting.Add(1)
	l.ends.put(e)
	timer := time.NewTimer(SlowCommit)
	defer timer.Stop()
	select {
	case err := <-e.answered:
		return err
	case <-timer.C:
		return spool.ErrSlow
	}
}

func (l *Log) begin(id domain.EventID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[id] {
		return false
	}
	l.open[id] = true
	return true
}

func (l *Log) forget(id domain.EventID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.open[id]
	delete(l.open, id)
	return was
}

// Waiting is the number of events that wait for the database.
func (l *Log) Waiting() int { return int(l.waiting.Load()) }
