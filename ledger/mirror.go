package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger/spool"
)

const (
	// mirrorEvery is how long an entry of a command or a job may stand in the
	// database alone.
	mirrorEvery = time.Second
	// mirrorBatch entries are read at once; a correction of many calls is as many
	// entries.
	mirrorBatch = 200
)

// MirrorConfig says what to copy where. All but Log may not be zero.
type MirrorConfig struct {
	Ledger *Ledger
	Watch  *Watch
	Spool  Notes
	// Keep is the age from which on entries aren't worth a copy, for one on a new
	// spool: how long the spool keeps them.
	Keep time.Duration
	Log  *slog.Logger
}

// Notes takes records that aren't shipped: *spool.Spool, whose methods say what
// they promise.
type Notes interface {
	Append(kind spool.Kind, id [16]byte, payload []byte) (spool.Position, error)
	Sync(ctx context.Context, pos spool.Position) error
}

var _ Notes = (*spool.Spool)(nil)

// Mirror copies entries that came from no spool, those of commands and jobs, into
// this process's: then all that the ledger has stands outside of its database too.
// It follows the ledger, so that it sees what other processes and the command line
// wrote. How far it is stands in the Watch's file; if that is lost, or not as new
// as the spool, entries are copied twice, which does no harm.
type Mirror struct {
	cfg  MirrorConfig
	slow bool // the spool has had no room
}

// NewMirror returns a mirror; Run makes it work.
func NewMirror(cfg MirrorConfig) (*Mirror, error) {
	if cfg.Ledger == nil || cfg.Watch == nil || cfg.Spool == nil || cfg.Log == nil {
		return nil, errors.New("new mirror: Ledger, Watch, Spool and Log must be set")
	}
	return &Mirror{cfg: cfg}, nil
}

// Run copies until ctx ends. Nothing is copied from a ledger that isn't what was
// seen. An error is the spool's and final.
func (m *Mirror) Run(ctx context.Context) error {
	ticker := time.NewTicker(mirrorEvery)
	defer ticker.Stop()
	for {
		for {
			more, err := m.copy(ctx)
			if err != nil {
				return fmt.Errorf("mirror entries: %w", err)
			}
			if !more {
				break
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// copy takes one batch, and reports whether there may be more at once. That the
// database is away is for others to say.
func (m *Mirror) copy(ctx context.Context) (more bool, err error) {
	if ctx.Err() != nil || !m.cfg.Watch.Whole() {
		return false, nil
	}
	from := m.cfg.Watch.Seen().Mirrored
	entries, size, err := m.read(ctx, from)
	if err != nil {
		m.cfg.Log.Debug("entries can't be mirrored", "err", err)
		return false, nil
	}
	next := size
	if len(entries) == mirrorBatch {
		next = entries[len(entries)-1].Index + 1
	}
	if next <= from {
		return false, nil
	}
	done, err := m.write(ctx, entries)
	if err != nil || !done {
		return false, err
	}
	m.cfg.Watch.mirrored(next)
	return len(entries) == mirrorBatch, nil
}

// mirrored is an entry with the id that its record gets.
type mirrored struct {
	spool.Committed
	id domain.EventID
}

// selectSpoolless has the condition of the index events_spoolless. The head comes
// first: what is committed below it is seen.
const selectSpoolless = `SELECT e.index, e.recorded_at, e.id, e.kind, e.canonical, e.private_salt, e.private, x.salt, x.data
	FROM ledger.events e LEFT JOIN ledger.erasable x ON x.index = e.index
	WHERE (e.spool_id IS NULL OR e.kind <> 'RequestCompleted' OR e.supersedes IS NOT NULL)
		AND e.index >= $1 AND e.index < $2 AND e.recorded_at >= $3 ORDER BY e.index LIMIT $4`

// read returns the next entries, and how long the ledger is.
func (m *Mirror) read(ctx context.Context, from int64) (entries []mirrored, size int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	head, err := ReadHead(ctx, m.cfg.Ledger.pool)
	if err != nil {
		return nil, 0, err
	}
	since := time.Unix(0, 0)
	if from == 0 && m.cfg.Keep > 0 {
		since = time.Now().Add(-m.cfg.Keep)
	}
	rows, err := m.cfg.Ledger.pool.Query(ctx, selectSpoolless, from, head.Size, since, mirrorBatch)
	if err != nil {
		return nil, 0, err
	}
	entries, err = pgx.CollectRows(rows, scanMirrored)
	return entries, head.Size, err
}

func scanMirrored(row pgx.CollectableRow) (mirrored, error) {
	var e mirrored
	var id [16]byte
	var privateSalt, erasableSalt []byte
	err := row.Scan(&e.Index, &e.At, &id, &e.Kind, &e.Canonical, &privateSalt, &e.Private, &erasableSalt, &e.Erasable)
	e.id, e.At = id, e.At.UTC()
	copy(e.PrivateSalt[:], privateSalt)
	copy(e.ErasableSalt[:], erasableSalt)
	return e, err
}

// write puts the entries into the spool, durably; false if it has no room now.
func (m *Mirror) write(ctx context.Context, entries []mirrored) (done bool, err error) {
	last := spool.Position(0)
	for _, e := range entries {
		pos, err := m.cfg.Spool.Append(spool.Entry, e.id, e.Append(nil))
		switch {
		case errors.Is(err, spool.ErrTooLarge):
			m.cfg.Log.Error("an entry is too large for the spool: only the database has it", "index", e.Index, "kind", e.Kind, "err", err)
			continue
		case errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrSlow):
			if !m.slow {
				m.cfg.Log.Warn("the spool can't take what commands and jobs wrote; only the database has it until it can", "err", err)
			}
			m.slow = true
			return false, nil
		case err != nil:
			return false, err
		}
		last = pos
	}
	m.slow = false
	err = m.cfg.Spool.Sync(ctx, last)
	if ctx.Err() != nil || errors.Is(err, spool.ErrSlow) {
		return false, nil
	}
	return err == nil, err
}
