package direct

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/domain"
	"manti/ledger"
)

// Connect gives the log its database. Run must follow.
func (l *Log) Connect(ctx context.Context, pool *pgxpool.Pool, book *ledger.Ledger) error {
	b := &base{pool: pool, ledger: book}
	if err := l.enter(ctx, b); err != nil {
		return err
	}
	l.base.Store(b)
	return nil
}

// Run works until ctx ends; then calls that are open have drainTimeout to end.
// It is to be called once, after Connect.
func (l *Log) Run(ctx context.Context) error {
	b := l.base.Load()
	if b == nil {
		return ErrNotConnected
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { l.keepSeen(working, b) })
	wg.Go(func() { l.writeStarts(working, b) })
	wg.Go(func() { l.writeEnds(working, b) })
	<-ctx.Done()
	l.base.Store(nil) // no further starts
	l.drain()
	stop()
	wg.Wait()
	l.leave(b)
	return nil
}

// drainTimeout is how long the last events may take: what is left then is
// recorded as unknown by who lives on.
const drainTimeout = 10 * time.Second

func (l *Log) drain() {
	deadline := time.NewTimer(drainTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for l.busy() {
		select {
		case <-tick.C:
		case <-deadline.C:
			l.cfg.Log.Error("stopped before all calls were recorded; they will be, as unknown", "events", l.Waiting())
			return
		}
	}
}

func (l *Log) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) > 0 || l.Waiting() > 0
}

// enter makes the session's row.
func (l *Log) enter(ctx context.Context, b *base) error {
	const query = `INSERT INTO manti.sessions (id, replica, last_seen) VALUES ($1, $2, clock_timestamp())
		ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen`
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if _, err := b.pool.Exec(ctx, query, [16]byte(l.cfg.Session), l.cfg.Replica); err != nil {
		return fmt.Errorf("enter session: %w", err)
	}
	l.seen.Store(time.Now().UnixNano())
	return nil
}

// keepSeen shows that the session lives.
func (l *Log) keepSeen(ctx context.Context, b *base) {
	ticker := time.NewTicker(seenEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			err := l.enter(ctx, b)
			if ctx.Err() != nil {
				return
			}
			note(&l.trouble.reach, err)
			if err != nil {
				l.cfg.Log.Debug("the session can't be kept alive", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// leave ends the session: what it left open can be swept at once.
func (l *Log) leave(b *base) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	l.tidy(ctx, b)
	if _, err := b.pool.Exec(ctx, `DELETE FROM manti.sessions WHERE id = $1`, [16]byte(l.cfg.Session)); err != nil {
		l.cfg.Log.Debug("the session can't be ended; it ends by itself", "err", err)
	}
}

// tidy deletes the rows of calls that are in the ledger.
func (l *Log) tidy(ctx context.Context, b *base) {
	ids := l.done.take(1 << 20)
	if len(ids) == 0 {
		return
	}
	if _, err := b.pool.Exec(ctx, `DELETE FROM manti.open_calls WHERE id = ANY($1)`, uuids(ids)); err != nil {
		for _, id := range ids {
			l.done.put(id)
		}
	}
}

// writeStarts commits starts in batches. With each goes the end of what isn't
// open any more.
func (l *Log) writeStarts(ctx context.Context, b *base) {
	for {
		batch := l.starts.wait(ctx, batchCalls)
		if len(batch) == 0 {
			return
		}
		err := l.commitStarts(ctx, b, batch)
		note(&l.trouble.reach, err)
		for _, s := range batch {
			s.answered <- err
		}
	}
}

func (l *Log) commitStarts(ctx context.Context, b *base, batch []start) error {
	const durable = `SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')`
	const forget = `DELETE FROM manti.open_calls WHERE id = ANY($1)`
	const insert = `INSERT INTO manti.open_calls (id, session, record) SELECT id, $1, record FROM unnest($2::uuid[], $3::bytea[]) AS s (id, record)`
	done := l.done.take(1 << 20)
	ids, records := make([][16]byte, len(batch)), make([][]byte, len(batch))
	for i, s := range batch {
		ids[i], records[i] = s.id, s.record
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := db.InTx(ctx, b.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		var work pgx.Batch
		work.Queue(durable)
		if len(done) > 0 {
			work.Queue(forget, uuids(done))
		}
		work.Queue(insert, [16]byte(l.cfg.Session), ids, records)
		return tx.SendBatch(ctx, &work).Close()
	})
	if err == nil {
		return nil
	}
	for _, id := range done {
		l.done.put(id)
	}
	return fmt.Errorf("%w: record starts: %w", ledger.ErrOutage, err)
}

func uuids(ids []domain.EventID) [][16]byte {
	list := make([][16]byte, len(ids))
	for i, id := range ids {
		list[i] = id
	}
	return list
}

// writeEnds appends events in batches. What the database doesn't take now is
// tried until it does.
func (l *Log) writeEnds(ctx context.Context, b *base) {
	away := false
	for {
		batch := l.ends.wait(ctx, batchCalls)
		if len(batch) == 0 {
			return
		}
		for {
			err := l.commitEnds(ctx, b, batch)
			note(&l.trouble.append, err)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			if !away {
				away = true
				l.cfg.Log.Warn("calls wait for the ledger", "err", err)
			}
			pause(ctx, retryEvery)
		}
		if away {
			away = false
			l.cfg.Log.Info("calls are recorded again")
		}
		for _, e := range batch {
			l.done.put(e.id)
			l.waiting.Add(-1)
			e.answered <- nil
		}
		if l.starts.len() == 0 {
			l.tidy(ctx, b)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// commitEnds appends the events. If this process was silent for so long that
// another may have taken it for dead, it looks first whether its calls are in
// the ledger as unknown.
func (l *Log) commitEnds(ctx context.Context, b *base, batch []end) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	events := make([]domain.Encoded, len(batch))
	for i, e := range batch {
		events[i] = e.enc
	}
	if time.Since(time.Unix(0, l.seen.Load())) > doubtAfter {
		if err := l.enter(ctx, b); err != nil {
			return err
		}
		if err := l.supersede(ctx, b, events); err != nil {
			return err
		}
	}
	res, err := b.ledger.Append(ctx, events)
	if err != nil {
		return err
	}
	for _, r := range res.Rejected {
		l.cfg.Log.Error("a record can't be in the ledger; it is kept in ledger.rejected", "event", r.ID, "reason", r.Reason, "sqlstate", r.SQLState)
	}
	return nil
}

// supersede makes, of each event whose id is in the ledger with another content,
// one that supersedes it.
func (l *Log) supersede(ctx context.Context, b *base, events []domain.Encoded) error {
	for i, enc := range events {
		there, err := ledger.Get(ctx, b.pool, enc.ID)
		if errors.Is(err, ledger.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if string(there.Canonical) == string(enc.AppendCanonical(nil)) {
			continue // appended by an attempt that wasn't answered
		}
		if events[i], err = ledger.Superseding(enc); err != nil {
			return err
		}
	}
	return nil
}
