package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
	"manti/ledger/spool"
)

// callLog keeps what is written, or fails.
type callLog struct {
	err     error
	started [][]byte
	ended   [][]byte
	reserve int
}

func (c *callLog) Start(_ [16]byte, payload []byte, reserve int) (spool.Position, error) {
	c.started, c.reserve = append(c.started, payload), reserve
	return 7, c.err
}
func (c *callLog) Kick(spool.Position)                        {}
func (c *callLog) Sync(context.Context, spool.Position) error { return c.err }
func (c *callLog) End(_ [16]byte, payload []byte) error {
	c.ended = append(c.ended, bytes.Clone(payload))
	return c.err
}

func newRecorder(t *testing.T, to ledger.CallLog) (*ledger.Recorder, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	r, err := ledger.NewRecorder(ledger.RecorderConfig{Spool: to, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return r, &log
}

func newStarted() domain.Started {
	return domain.Started{
		ID: newID[domain.EventID](), At: now(), Org: newID[domain.OrgID](), Project: newID[domain.ProjectID](), Dialect: "openai", Endpoint: "chat.completions",
		AskedModel: "gpt-4o", Model: "gpt-4o", Provider: "openai", Host: "api.openai.com", Held: dec("0.25"), Currency: domain.USD, Version: newID[domain.EventID](),
		Spool: newID[domain.SpoolID](), Epoch: 1, Erasable: domain.RequestErasable{EndUser: "u"},
	}
}

// recorded ends a call and returns the event that was written.
func recorded(t *testing.T, call *domain.RequestCompleted) (*domain.RequestCompleted, *bytes.Buffer) {
	t.Helper()
	to := new(callLog)
	r, log := newRecorder(t, to)
	e := domain.Event{ID: newID[domain.EventID](), At: time.Now(), Body: call}
	if err := r.End(e); err != nil {
		t.Fatal(err)
	}
	if n := len(to.ended[0]); n > domain.MaxRecordBytes {
		t.Errorf("record of %d bytes", n)
	}
	enc, err := domain.ParseRecord(to.ended[0])
	if err != nil {
		t.Fatal(err)
	}
	got, err := domain.Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != e.ID || !got.At.Equal(e.At.Truncate(time.Microsecond)) {
		t.Errorf("got %s at %v", got.ID, got.At)
	}
	return got.Body.(*domain.RequestCompleted), log
}

func TestEndRecordsTheEventAsItIs(t *testing.T) {
	t.Parallel()
	call := newCall()
	want := *call
	got, log := recorded(t, call)
	if diff := cmp.Diff(&want, got, decimals); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", log)
	}
}

func TestSaltsAreFresh(t *testing.T) {
	t.Parallel()
	to := new(callLog)
	r, _ := newRecorder(t, to)
	seen := make(map[domain.Salt]bool)
	for range 10 {
		if err := r.End(domain.Event{ID: newID[domain.EventID](), At: now(), Body: newCall()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, record := range to.ended {
		enc, err := domain.ParseRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		seen[enc.PrivateSalt], seen[enc.ErasableSalt] = true, true
	}
	if len(seen) != 20 || seen[domain.Salt{}] {
		t.Errorf("%d different salts in 20 parts", len(seen))
	}
}

// TestNoCallIsLostForAField gives End what no event should hold.
func TestNoCallIsLostForAField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\"x", 5000)
	tests := []struct {
		name   string
		edit   func(*domain.RequestCompleted)
		flag   string // of the event
		logged bool
	}{
		{"local times of nanoseconds", func(c *domain.RequestCompleted) {
			c.Ended, c.Private.Attempts[0].Started = time.Now(), time.Now().In(time.FixedZone("x", 3600))
		}, "", false},
		{"a time beyond RFC 3339", func(c *domain.RequestCompleted) { c.FirstByte = time.Unix(1<<40, 0) }, domain.FlagRepaired, false},
		{"negative usage", func(c *domain.RequestCompleted) { c.Usage[0], c.Private.Attempts[0].Usage[1] = -1, -5 }, domain.FlagRepaired, false},
		{"a status of six digits", func(c *domain.RequestCompleted) { c.Status = 200_000 }, domain.FlagRepaired, false},
		{"20 attempts", func(c *domain.RequestCompleted) {
			for range 19 {
				c.Private.Attempts = append(c.Private.Attempts, c.Private.Attempts[0])
			}
		}, domain.FlagRepaired, false},
		{"texts too long and unclean", func(c *domain.RequestCompleted) {
			c.AskedModel, c.Erasable.EndUser, c.Erasable.ErrorText = "\xff\x00"+long, long, long
		}, "", false},
		{"raw usage that isn't JSON", func(c *domain.RequestCompleted) { c.Private.RawUsage = []byte(`{"a"`) }, domain.FlagRawDropped, false},
		{"leases without end", func(c *domain.RequestCompleted) {
			c.Private.PaidFrom = make([]domain.Lease, 1000)
		}, domain.FlagRepaired, true},
		{"large in every part", func(c *domain.RequestCompleted) {
			c.Private.RawUsage = []byte(`"` + strings.Repeat("x", 4000) + `"`)
			c.Private.PaidFrom = make([]domain.Lease, 195)
		}, domain.FlagRawDropped, false},
		{"a negative charge", func(c *domain.RequestCompleted) { c.Charge.Amount = dec("-1") }, domain.FlagRepaired, true},
		{"a cost of too many decimals", func(c *domain.RequestCompleted) { c.Private.Cost.Amount = decimal.New(1, -19) }, domain.FlagRepaired, true},
		{"a charge of 10^9 digits", func(c *domain.RequestCompleted) { c.Charge.Amount = decimal.New(1, 1_000_000_000) }, domain.FlagRepaired, true},
		{"an attempt's cost of 10^9 digits", func(c *domain.RequestCompleted) { c.Private.Attempts[0].Cost = decimal.New(1, 1_000_000_000) }, domain.FlagRepaired, false},
		{"no currency", func(c *domain.RequestCompleted) { c.Charge.Currency, c.Private.Cost.Currency = "", "usd" }, domain.FlagRepaired, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			call := newCall()
			test.edit(call)
			org, usage, outcome := call.Org, call.Usage[domain.OutputTokens], call.Outcome
			got, log := recorded(t, call)
			if got.Org != org || got.Usage[domain.OutputTokens] != usage || got.Outcome != outcome || got.Model == "" {
				t.Errorf("got %+v", got)
			}
			if flags := strings.Join(got.Private.Flags, " "); !strings.Contains(flags, test.flag) || test.flag == "" && flags != "" {
				t.Errorf("flags %q, want %q", flags, test.flag)
			}
			if logged := log.Len() > 0; logged != test.logged {
				t.Errorf("log: %q", log)
			}
		})
	}
}

func TestBareMinimumKeepsTheGoodAmounts(t *testing.T) {
	t.Parallel()
	call := newCall()
	call.Private.Cost.Amount = dec("-1")
	got, _ := recorded(t, call)
	if !got.Charge.Amount.Equal(call.Charge.Amount) || got.Charge.Currency != domain.USD || !got.Private.Cost.Amount.IsZero() {
		t.Errorf("charge %+v, cost %+v", got.Charge, got.Private.Cost)
	}
}

func TestStartCanBecomeUnknown(t *testing.T) {
	t.Parallel()
	to := new(callLog)
	r, _ := newRecorder(t, to)
	s := newStarted()
	s.At = time.Now()
	s.AskedModel = strings.Repeat("x", 10_000)
	s.Erasable.Tags = map[string]string{"a\x00": strings.Repeat("y", 10_000)}
	ticket, err := r.Start(s)
	if err != nil || ticket != 7 || to.reserve != domain.MaxRecordBytes {
		t.Fatalf("ticket %d, reserve %d, %v", ticket, to.reserve, err)
	}
	back, err := domain.DecodeStarted(to.started[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := domain.Encode(back.Unknown(), domain.Salt{}, domain.Salt{}); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*domain.Started){
		"no id":             func(s *domain.Started) { s.ID = domain.EventID{} },
		"no time":           func(s *domain.Started) { s.At = time.Time{} },
		"no currency":       func(s *domain.Started) { s.Currency = "" },
		"a negative hold":   func(s *domain.Started) { s.Held = dec("-1") },
		"too many decimals": func(s *domain.Started) { s.Held = decimal.New(1, -20) },
	} {
		s := newStarted()
		edit(&s)
		if _, err := r.Start(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRecorderSaysWhatTheSpoolSays(t *testing.T) {
	t.Parallel()
	to := &callLog{err: spool.ErrFull}
	r, _ := newRecorder(t, to)
	if r.Full() {
		t.Error("full before any call")
	}
	_, err := r.Start(newStarted())
	if e, ok := errors.AsType[*domain.Error](err); !ok || e.Code != domain.CodeUnavailable || e.RetryAfter == 0 {
		t.Errorf("got %v", err)
	}
	if !r.Full() {
		t.Error("not full after a refusal")
	}
	to.err = spool.ErrFailed
	_, err = r.Start(newStarted())
	wantIs(t, err, spool.ErrFailed)
	wantIs(t, r.End(domain.Event{ID: newID[domain.EventID](), At: now(), Body: newCall()}), spool.ErrFailed)
	wantIs(t, r.Sync(t.Context(), 1), spool.ErrFailed)
	if err := r.End(domain.Event{Body: &domain.OrgCreated{}}); err == nil {
		t.Error("an event that is no call was taken")
	}
}

func BenchmarkRecord(b *testing.B) {
	r, err := ledger.NewRecorder(ledger.RecorderConfig{Spool: discard{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	call, started := newCall(), newStarted()
	b.Run("start", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Start(started); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("end", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r.End(domain.Event{ID: started.ID, At: started.At, Body: call}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type discard struct{}

func (discard) Start([16]byte, []byte, int) (spool.Position, error) { return 0, nil }
func (discard) End([16]byte, []byte) error                          { return nil }
func (discard) Kick(spool.Position)                                 {}
func (discard) Sync(context.Context, spool.Position) error          { return nil }
