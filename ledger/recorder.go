package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"manti/domain"
	"manti/ledger/spool"
)

// RecorderConfig of a Recorder. Both must be set.
type RecorderConfig struct {
	Spool *spool.Spool
	Log   *slog.Logger
}

// A Recorder writes calls to the spool: what the data plane records through.
// Its tickets are positions of the spool.
type Recorder struct {
	spool *spool.Spool
	log   *slog.Logger
}

// NewRecorder completes the calls that an earlier process left open, as
// unknown, and is then ready for new ones.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Spool == nil || cfg.Log == nil {
		return nil, errors.New("ledger: RecorderConfig needs Spool and Log")
	}
	r := &Recorder{spool: cfg.Spool, log: cfg.Log}
	return r, r.sweep()
}

// sweep gives each call without an end the one that says so. A start that
// can't be read is completed with its own bytes: the shipper sets them aside in
// ledger.rejected, where somebody must look at them.
func (r *Recorder) sweep() error {
	open := r.spool.Unfinished()
	for _, call := range open {
		payload := call.Start.Payload
		if n := len(call.Attempts); n > 0 {
			payload = call.Attempts[n-1].Payload
		}
		record := payload
		started, err := domain.DecodeStarted(payload)
		if err == nil {
			record, err = r.encode(started.Unknown())
		}
		if err != nil {
			r.log.Error("a call that was cut off can't be read; it goes to ledger.rejected", "call", domain.EventID(call.ID), "err", err)
			record = payload
		}
		if err := r.spool.End(call.ID, record); err != nil {
			return fmt.Errorf("complete call %s of epoch %d: %w", domain.EventID(call.ID), call.Epoch, err)
		}
	}
	if len(open) > 0 {
		r.log.Warn("calls that the last process didn't finish are recorded as unknown", "calls", len(open))
	}
	return nil
}

// Start writes the start of a call. It returns when the start is written, though
// not durable. Errors are a *domain.Error if the spool is full.
func (r *Recorder) Start(s domain.Started) (uint64, error) {
	payload, err := domain.EncodeStarted(s)
	if err != nil {
		return 0, err
	}
	at, err := r.spool.Start(s.ID, payload, domain.MaxRecordBytes)
	if errors.Is(err, spool.ErrFull) {
		return 0, &domain.Error{Code: domain.CodeUnavailable, RetryAfter: fullRetry, Cause: err,
			Message: "manti can't record more calls until its ledger takes them again."}
	}
	if err != nil {
		return 0, fmt.Errorf("record start of %s: %w", s.ID, err)
	}
	return uint64(at), nil
}

// fullRetry is when a full spool may have room again.
const fullRetry = 5 * time.Second

// Kick begins to make a start durable, without waiting.
func (r *Recorder) Kick(ticket uint64) { r.spool.Kick(spool.Position(ticket)) }

// Sync waits until a start is durable.
func (r *Recorder) Sync(ctx context.Context, ticket uint64) error {
	return r.spool.Sync(ctx, spool.Position(ticket))
}

// End writes a call's completion and returns once it is durable.
func (r *Recorder) End(e domain.Event) error {
	record, err := r.encode(e)
	if err != nil {
		r.log.Error("a completion can't be encoded; what can be kept of it is recorded", "call", e.ID, "err", err)
		if record, err = r.encode(rescue(e)); err != nil {
			return fmt.Errorf("record end of %s: %w", e.ID, err)
		}
	}
	if err := r.spool.End(e.ID, record); err != nil {
		return fmt.Errorf("record end of %s: %w", e.ID, err)
	}
	return nil
}

// encode makes the record of an event, no larger than the spool has reserved
// room for: what is large is what others made, and that is left out first.
func (r *Recorder) encode(e domain.Event) ([]byte, error) {
	var salts [2]domain.Salt
	for i := range salts {
		_, _ = rand.Read(salts[i][:]) // never fails, see crypto/rand
	}
	enc, err := domain.Encode(e, salts[0], salts[1])
	if err != nil {
		return nil, err
	}
	record := enc.AppendRecord(make([]byte, 0, 2048))
	if len(record) > domain.MaxRecordBytes {
		return nil, fmt.Errorf("%w: %d bytes", domain.ErrTooLarge, len(record))
	}
	return record, nil
}

// rescue is what can be kept of a completion that can't be encoded: who, what,
// how much was used. Amounts that no ledger can hold are left at 0; both are
// flagged, and can be computed anew from usage and price version.
func rescue(e domain.Event) domain.Event {
	body, ok := e.Body.(*domain.RequestCompleted)
	if !ok {
		return e
	}
	kept := &domain.RequestCompleted{RequestPublic: body.RequestPublic}
	p := body.Private
	kept.Private = domain.RequestPrivate{
		Provider: p.Provider, Host: p.Host, Credential: p.Credential, Cost: p.Cost,
		RouteVersion: p.RouteVersion, ConfigVersion: p.ConfigVersion, Replica: p.Replica, Spool: p.Spool, Epoch: p.Epoch, PaidFrom: p.PaidFrom,
		Flags: append(append([]string{}, p.Flags...), domain.FlagRescued),
	}
	for _, price := range []*domain.Price{&kept.Charge, &kept.Private.Cost} {
		if domain.CheckScale(price.Amount, domain.MaxScale) != nil || price.Amount.IsNegative() {
			price.Amount = price.Amount.Sub(price.Amount)
		}
		if _, err := domain.ParseCurrency(string(price.Currency)); err != nil {
			price.Currency = domain.XTS
		}
	}
	kept.Clean()
	at := e.At.UTC().Truncate(time.Microsecond)
	return domain.Event{ID: e.ID, At: at, Body: kept}
}

// Full reports whether the spool has no room for another call. It is for health
// checks; Start knows by itself.
func (r *Recorder) Full() bool {
	s, err := r.spool.Stats()
	return err != nil || s.Room-s.Reserved < domain.MaxRecordBytes
}
