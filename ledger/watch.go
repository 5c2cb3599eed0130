package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"manti/db"
	"manti/domain"
	"manti/ledger/spool"
)

const (
	// lookEvery is how often the ledger is held against what was seen, besides in
	// each append, and how stale the memory of what others appended may be.
	lookEvery = 2 * time.Second
	// lookTimeout bounds one look.
	lookTimeout = 5 * time.Second
	// saveEvery is how often the memory is written at most.
	saveEvery = time.Second
)

// WatchConfig says where to remember what was seen.
type WatchConfig struct {
	// Dir is the spool's directory, in which the highest head is remembered. "" is
	// for a process without a disk, which remembers for as long as it lives.
	Dir string
	// Highest is what the spool's places say, besides.
	Highest spool.Head
	Log     *slog.Logger // must be set
	// Registerer gets the metrics, nil for none.
	Registerer prometheus.Registerer
}

// Watch knows the highest head of the ledger that this process, or one before it
// on the same spool, has seen: its size, its time and the hash of its last entry.
// A ledger that is shorter, or has another entry there, isn't appended to: every
// append of the process compares under the head's lock, so that there is no moment
// at which a ledger that was restored from a backup could grow into another one.
// Run freezes the head of such a ledger, for all others too.
//
// What was seen is kept in a file, written at most once a second; with the places
// in the spool it is never less than what the process itself appended. A crash
// leaves the file as it was before or after. Without a file nothing is compared.
type Watch struct {
	cfg   WatchConfig
	gauge prometheus.Gauge
	look  chan struct{} // wakes Run

	mu     sync.Mutex
	ledger *Ledger    // guarded by mu: nil before Guard
	seen   spool.Seen // guarded by mu
	dirty  bool       // guarded by mu: not as in the file
	state  string     // guarded by mu: why the ledger isn't appended to, "" while it is
	known  bool       // guarded by mu: the ledger has been looked at
}

// NewWatch loads what was seen.
func NewWatch(cfg WatchConfig) (*Watch, error) {
	if cfg.Log == nil {
		return nil, errors.New("new watch: Log must be set")
	}
	var seen spool.Seen
	if cfg.Dir != "" {
		var err error
		if seen, _, err = spool.LoadSeen(cfg.Dir); err != nil {
			return nil, err
		}
	}
	if cfg.Highest.Size > seen.Size {
		seen.Head = cfg.Highest
	}
	w := &Watch{cfg: cfg, seen: seen, look: make(chan struct{}, 1)}
	w.gauge = prometheus.NewGauge(prometheus.GaugeOpts{Name: "manti_ledger_behind",
		Help: "1 while the ledger lacks entries that it had, or has others in their places: nothing is appended until `manti recover`."})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(w.gauge); err != nil {
			return nil, fmt.Errorf("new watch: %w", err)
		}
	}
	return w, nil
}

// Guard makes all appends of l, from now on, compare with what was seen. Run keeps
// it up to date; a command that runs for a moment does without.
func (w *Watch) Guard(l *Ledger) {
	w.mu.Lock()
	w.ledger = l
	w.mu.Unlock()
	l.watch.Store(w)
}

func (w *Watch) guarded() *Ledger {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ledger
}

// Seen is the highest head so far.
func (w *Watch) Seen() spool.Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Behind reports that the ledger lacks entries that it had, or has others in their
// places, and why that is said. Calls go on into the spool meanwhile.
func (w *Watch) Behind() (reason string, behind bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, strings.HasPrefix(w.state, behindPrefix)
}

// Frozen says why nothing is appended to the ledger, be it behind or not; "" while
// it is.
func (w *Watch) Frozen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Whole reports whether the ledger has been looked at and is what it was.
func (w *Watch) Whole() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known && w.state == ""
}

// see notes a head that has been committed.
func (w *Watch) see(head spool.Head) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if head.Size > w.seen.Size {
		w.seen.Head, w.dirty = head, true
	}
}

// mirrored notes that the spool has what came from no spool, below an index.
func (w *Watch) mirrored(index int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Mirrored, w.dirty = index, true
}

func (w *Watch) wake() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// Run looks at the ledger every few seconds, and at once when an append found it
// behind, until ctx ends. That the memory can't be written is logged and no more:
// the spool's disk says so by itself.
func (w *Watch) Run(ctx context.Context) error {
	looks, saves := time.NewTicker(lookEvery), time.NewTicker(saveEvery)
	defer looks.Stop()
	defer saves.Stop()
	w.try(ctx)
	for {
		select {
		case <-ctx.Done():
			w.save()
			return nil
		case <-saves.C:
			w.save()
			continue
		case <-looks.C:
		case <-w.look:
		}
		w.try(ctx)
	}
}

func (w *Watch) save() {
	w.mu.Lock()
	seen, dirty := w.seen, w.dirty
	w.dirty = false
	w.mu.Unlock()
	if !dirty || w.cfg.Dir == "" {
		return
	}
	if err := spool.SaveSeen(w.cfg.Dir, seen); err != nil {
		w.cfg.Log.Warn("the ledger's size can't be remembered", "err", err)
		w.mu.Lock()
		w.dirty = true
		w.mu.Unlock()
	}
}

// try is a look of Run's. That the database is away is for others to say.
func (w *Watch) try(ctx context.Context) {
	if err := w.Look(ctx); err != nil {
		w.cfg.Log.Debug("the ledger can't be looked at", "err", err)
	}
}

// Look holds the guarded ledger against what was seen, now. It freezes one that is
// behind; that is no error.
func (w *Watch) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	state, err := w.compare(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	before := w.state
	w.state, w.known = state, true
	w.mu.Unlock()
	switch {
	case (state == "") == (before == "") && strings.HasPrefix(state, behindPrefix) == strings.HasPrefix(before, behindPrefix):
	case state == "":
		w.gauge.Set(0)
		w.cfg.Log.Info("the ledger is whole again")
	case strings.HasPrefix(state, behindPrefix):
		w.gauge.Set(1)
		w.cfg.Log.Error("ledger behind: nothing is appended to it, calls go on into the spool", "reason", state)
	default:
		w.cfg.Log.Error("the ledger is frozen; calls go on into the spool", "reason", state)
	}
	return nil
}

// compare holds the ledger against what was seen, and freezes it if it is another
// one. It returns why nothing can be appended.
func (w *Watch) compare(ctx context.Context) (state string, err error) {
	now, m, whole, err := w.read(ctx, w.guarded().pool)
	if err != nil {
		return "", err
	}
	if !whole {
		return w.freeze(ctx, m)
	}
	if now.frozen {
		return now.reason, nil
	}
	w.adopt(now.Seen)
	return "", nil
}

// A sight is the ledger as it is now.
type sight struct {
	spool.Seen
	frozen bool
	reason string
}

// read looks at the ledger and compares.
func (w *Watch) read(ctx context.Context, q Querier) (now sight, m mismatch, whole bool, err error) {
	const query = `SELECT h.size, h.recorded_at, h.frozen, COALESCE(h.reason, ''),
			(SELECT leaf FROM ledger.events WHERE index = h.size - 1), (SELECT leaf FROM ledger.events WHERE index = 0),
			(SELECT leaf FROM ledger.events WHERE index = $1)
		FROM ledger.head h WHERE shard = 0`
	seen := w.Seen()
	var last, first, then []byte
	if err := q.QueryRow(ctx, query, seen.Size-1).Scan(&now.Size, &now.At, &now.frozen, &now.reason, &last, &first, &then); err != nil {
		return now, m, false, wrap("look at the ledger", err)
	}
	now.At = now.At.UTC()
	copy(now.Leaf[:], last)
	copy(now.First[:], first)
	m, whole, err = compare(ctx, q, seen, Head{Size: now.Size}, then)
	return now, m, whole, err
}

// adopt takes the ledger as it is for the highest that was seen: it is what was
// seen, and grown; or an operator has accepted that it isn't.
func (w *Watch) adopt(now spool.Seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	anew := now.Size <= w.seen.Size && now.Head != w.seen.Head && now.At.After(w.seen.At)
	if now.Size > w.seen.Size || anew || w.seen.First == [domain.HashSize]byte{} && now.Size > 0 {
		if anew {
			w.seen.Mirrored = min(w.seen.Mirrored, now.Size)
		}
		if now.Size > w.seen.Size || anew {
			w.seen.Head = now.Head
		}
		w.seen.First, w.dirty = now.First, true
	}
}

// freeze stops all appends of everybody. Another ledger is none of this
// process's business: it doesn't append to it, but leaves it alone.
func (w *Watch) freeze(ctx context.Context, m mismatch) (state string, err error) {
	if m.other {
		return m.reason(), nil
	}
	err = db.InTx(ctx, w.guarded().pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM ledger.head WHERE shard = 0 FOR UPDATE`); err != nil {
			return err
		}
		now, m, whole, err := w.read(ctx, tx)
		if err != nil || whole {
			return err
		}
		if state = m.reason(); now.frozen {
			return nil
		}
		return freezeHead(ctx, tx, state)
	})
	if err != nil {
		return "", wrap("freeze the head", err)
	}
	return state, nil
}

func freezeHead(ctx context.Context, tx pgx.Tx, reason string) error {
	const query = `UPDATE ledger.head SET frozen = true, reason = $1 WHERE shard = 0 AND NOT frozen`
	_, err := tx.Exec(ctx, query, reason)
	return err
}
