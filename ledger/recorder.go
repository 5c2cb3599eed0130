package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"manti/domain"
	"manti/ledger/spool"
)

// CallLog is where a Recorder writes: *spool.Spool, whose methods say what
// they promise.
type CallLog interface {
	Start(id [16]byte, payload []byte, reserve int) (spool.Position, error)
	Kick(spool.Position)
	Sync(context.Context, spool.Position) error
	End(id [16]byte, payload []byte) error
}

var _ CallLog = (*spool.Spool)(nil)

// RecorderConfig says where to record. Both must be set.
type RecorderConfig struct {
	Spool CallLog
	// Log gets an Error for each event that couldn't be recorded as it was.
	Log *slog.Logger
}

// Recorder writes calls into the spool, in the encoding that the ledger keeps
// for ever. It is for concurrent use.
type Recorder struct {
	cfg      RecorderConfig
	buffers  sync.Pool    // of *[]byte
	refused  atomic.Int64 // when the spool last had no room, in ns since 1970
	repaired atomic.Uint64
}

// NewRecorder returns a recorder on an open spool.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Spool == nil || cfg.Log == nil {
		return nil, errors.New("new recorder: Spool and Log must be set")
	}
	return &Recorder{cfg: cfg}, nil
}

// fullFor is for how long the spool counts as full after it refused a call.
// After that the next one finds out.
const fullFor = time.Second

// Start writes a call's start. When it returns nil the start survives the end
// of this process, so that there will be an event; Sync says when it also
// survives a power cut. The ticket is what to give to Sync.
//
// It refuses a start from which no event could be made later. A spool without
// room, or on a disk that stalls, gives a *domain.Error with CodeUnavailable.
func (r *Recorder) Start(s domain.Started) (ticket uint64, err error) {
	if err := checkStarted(&s); err != nil {
		return 0, fmt.Errorf("record start: %w", err)
	}
	payload, err := domain.EncodeStarted(s)
	if err != nil {
		return 0, fmt.Errorf("record start: %w", err)
	}
	pos, err := r.cfg.Spool.Start(s.ID, payload, domain.MaxRecordBytes)
	switch {
	case errors.Is(err, spool.ErrFull):
		r.refused.Store(time.Now().UnixNano())
		return 0, unavailable("manti has no room to record calls until its ledger takes some. Try again.", 5*time.Second, err)
	case errors.Is(err, ErrOutage):
		return 0, unavailable("manti can't reach its ledger and has nowhere else to record calls. Try again.", time.Second, err)
	case errors.Is(err, spool.ErrSlow):
		return 0, unavailable("manti's disk is too slow to record calls now. Try again.", time.Second, err)
	case err != nil:
		return 0, fmt.Errorf("record start: %w", err)
	}
	return uint64(pos), nil
}

func unavailable(message string, retry time.Duration, cause error) error {
	return &domain.Error{Code: domain.CodeUnavailable, Message: message, RetryAfter: retry, Cause: cause}
}

// Kick begins to make the start durable, without waiting.
func (r *Recorder) Kick(ticket uint64) { r.cfg.Spool.Kick(spool.Position(ticket)) }

// Sync returns nil once the start is durable.
func (r *Recorder) Sync(ctx context.Context, ticket uint64) error {
	if err := r.cfg.Spool.Sync(ctx, spool.Position(ticket)); err != nil {
		return fmt.Errorf("record start durably: %w", err)
	}
	return nil
}

// End writes the event of a call and returns nil once it is durable. It may
// change the event's body, to make it fit: see mend. What still can't be encoded
// is replaced by its bare minimum, flagged FlagRepaired, and logged: a call is
// never without its event for the sake of one field.
//
// An error means that nobody may be told that the call ended well.
func (r *Recorder) End(e domain.Event) error {
	enc, err := r.encode(e)
	if err != nil {
		return fmt.Errorf("record end: %w", err)
	}
	buf, ok := r.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	*buf = enc.AppendRecord((*buf)[:0])
	err = r.cfg.Spool.End(e.ID, *buf)
	r.buffers.Put(buf)
	if err != nil {
		return fmt.Errorf("record end: %w", err)
	}
	return nil
}

// Full reports whether the spool refused a call for lack of room within the
// last second.
func (r *Recorder) Full() bool {
	return time.Since(time.Unix(0, r.refused.Load())) < fullFor
}

// Repaired counts the events that were recorded by their bare minimum.
func (r *Recorder) Repaired() uint64 { return r.repaired.Load() }

func (r *Recorder) encode(e domain.Event) (domain.Encoded, error) {
	call, ok := e.Body.(*domain.RequestCompleted)
	if !ok {
		return domain.Encoded{}, fmt.Errorf("%T is not the end of a call", e.Body)
	}
	enc, err := encodeCall(e.ID, e.At, call)
	if err == nil {
		return enc, nil
	}
	r.repaired.Add(1)
	r.cfg.Log.Error("an event can't be recorded as it is; its bare minimum is", "request", e.ID, "err", err)
	return encodeCall(e.ID, e.At, bareMinimum(call))
}

// encodeCall encodes a call's event within domain.MaxRecordBytes.
func encodeCall(id domain.EventID, at time.Time, call *domain.RequestCompleted) (domain.Encoded, error) {
	mend(call)
	if err := checkAmounts(call); err != nil {
		return domain.Encoded{}, err
	}
	e := domain.Event{ID: id, At: at.UTC().Truncate(time.Microsecond), Body: call}
	var enc domain.Encoded
	var err error
	for _, try := range []func(*domain.RequestCompleted) bool{asItIs, cleaned, withoutRawUsage, withoutTexts} {
		if !try(call) {
			continue
		}
		enc, err = encodeFresh(e)
		if err == nil && recordSize(enc) > domain.MaxRecordBytes {
			err = domain.ErrTooLarge
		}
		if err == nil {
			return enc, nil
		}
	}
	return domain.Encoded{}, err
}

// encodeFresh encodes with fresh salts.
func encodeFresh(e domain.Event) (domain.Encoded, error) {
	var random [2 * len(domain.Salt{})]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never returns an error
	return domain.Encode(e, domain.Salt(random[:len(domain.Salt{})]), domain.Salt(random[len(domain.Salt{}):]))
}

// recordSize is at least the length of the record.
func recordSize(e domain.Encoded) int {
	const frame = 1 + 1 + 16 + 3*10 + 2*16
	return frame + len(e.Kind) + len(e.Public) + len(e.Private) + len(e.Erasable)
}
