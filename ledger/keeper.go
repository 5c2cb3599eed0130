package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"manti/domain"
	"manti/ledger/spool"
)

const (
	// keepEvery is how stale ledger.spools may be.
	keepEvery = 10 * time.Second
	// keepTimeout bounds one update of it.
	keepTimeout = 2 * time.Second
)

// keep does what shipping doesn't depend on: it ends calls that were left open,
// and reports the spool's state, now, every keepEvery, and once more at the end.
func (s *Shipper) keep(ctx context.Context) {
	open := s.cfg.Spool.Unfinished()
	if len(open) > 0 {
		s.cfg.Log.Info("calls that were cut off are recorded as unknown", "calls", len(open))
	}
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		open = s.endUnknown(open)
		s.report(ctx, len(open) == 0, false)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s.report(context.WithoutCancel(ctx), len(open) == 0, true)
			return
		}
	}
}

// endUnknown writes the completion of each call, and returns those for which
// the spool has no room yet.
func (s *Shipper) endUnknown(open []spool.Call) (left []spool.Call) {
	for _, call := range open {
		err := s.cfg.Spool.End(call.ID, s.unknownRecord(call))
		switch {
		case err == nil, errors.Is(err, spool.ErrNotOpen):
		case errors.Is(err, spool.ErrFull):
			left = append(left, call)
		default:
			// The spool has failed, and whoever runs it is told so. The next Open
			// finds the call again.
			s.cfg.Log.Error("a call that was cut off is not recorded yet", "request", domain.EventID(call.ID), "err", err)
		}
	}
	return left
}

// unknownRecord is the completion of a call of which only starts are known. If
// not even those can be read, their bytes go into the record: the ledger will
// reject and keep them, which is an alarm.
func (s *Shipper) unknownRecord(call spool.Call) []byte {
	event, err := unknownEvent(call)
	if err == nil {
		var enc domain.Encoded
		if enc, err = encodeCall(event.ID, event.At, event.Body.(*domain.RequestCompleted)); err == nil {
			return enc.AppendRecord(nil)
		}
	}
	s.cfg.Log.Error("the start of a call that was cut off can't be read", "request", domain.EventID(call.ID), "err", err)
	record := append([]byte("start "), call.Start.Payload...)
	return record[:min(len(record), domain.MaxRecordBytes)]
}

// unknownEvent has the call's identity from its start, the target from the last
// attempt, and all attempts that can be read.
func unknownEvent(call spool.Call) (domain.Event, error) {
	started, err := domain.DecodeStarted(call.Start.Payload)
	if err != nil {
		return domain.Event{}, err
	}
	if started.ID != domain.EventID(call.ID) {
		return domain.Event{}, fmt.Errorf("the start is that of %s", started.ID)
	}
	event := started.Unknown()
	body := event.Body.(*domain.RequestCompleted)
	attempts := body.Private.Attempts
	for _, record := range call.Attempts {
		next, err := domain.DecodeStarted(record.Payload)
		if err != nil || next.ID != started.ID {
			continue // the call is known without it
		}
		last := next.Unknown().Body.(*domain.RequestCompleted)
		attempts = append(attempts, last.Private.Attempts...)
		body.Model, body.Private.Provider = last.Model, last.Private.Provider
		body.Private.Host, body.Private.Credential = last.Private.Host, last.Private.Credential
	}
	body.Private.Attempts = attempts
	return event, nil
}

// report updates the spool's row; ended says that no call of an earlier process
// is without its completion, last that there will be no other report. That it
// fails while the database is away is no news.
func (s *Shipper) report(ctx context.Context, ended, last bool) {
	stats, err := s.cfg.Spool.Stats()
	if err != nil {
		s.cfg.Log.Warn("the spool's state can't be read", "err", err)
		return
	}
	const query = `INSERT INTO ledger.spools AS s (id, epoch, replica, last_seen, drained_index, unshipped, oldest_unshipped, at_rest)
		VALUES ($1, $2, $3, clock_timestamp(), CASE WHEN $4 THEN (SELECT size FROM ledger.head WHERE shard = 0) END, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET epoch = GREATEST(s.epoch, excluded.epoch), replica = excluded.replica, last_seen = excluded.last_seen,
			drained_index = COALESCE(excluded.drained_index, s.drained_index), unshipped = excluded.unshipped, oldest_unshipped = excluded.oldest_unshipped,
			at_rest = excluded.at_rest
		RETURNING lost`
	var oldest *time.Time
	if !stats.OldestAt.IsZero() {
		oldest = &stats.OldestAt
	}
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	lost := false
	err = s.cfg.Ledger.pool.QueryRow(ctx, query, uuid(s.id), int64(s.cfg.Spool.Epoch()), s.cfg.Replica, ended && stats.Unshipped == 0, int64(stats.Unshipped), oldest,
		last && ended && stats.Unshipped == 0 && stats.OpenCalls == 0).Scan(&lost)
	switch {
	case err != nil:
		s.cfg.Log.Debug("the spool's state can't be reported", "err", err)
	case lost:
		s.cfg.Log.Warn("this spool was declared lost; what it held is shipped nevertheless", "spool", s.id)
	}
}
