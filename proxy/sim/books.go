package sim

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"manti/domain"
)

// Outcome is how a call ended, as the simulator knows it.
type Outcome string

// The outcomes.
const (
	Open      Outcome = "open"      // it has not ended yet
	Completed Outcome = "completed" // a whole 2xx answer was written
	Failed    Outcome = "failed"    // it was answered with an error, in a body or a stream
	Cut       Outcome = "cut"       // its answer broke off, never came, or found nobody to read it
)

// Tokens is usage with its JSON form: an object of the meters that aren't
// zero, by name.
type Tokens domain.Usage

// MarshalJSON writes the meters that aren't zero, by name.
func (t Tokens) MarshalJSON() ([]byte, error) {
	m := map[string]int64{}
	for i, n := range t {
		if n != 0 {
			m[domain.Meter(i).String()] = n
		}
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON writes; unknown meters are ignored.
func (t *Tokens) UnmarshalJSON(b []byte) error {
	var m map[string]int64
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for name, n := range m {
		if meter, ok := domain.ParseMeter(name); ok {
			t[meter] = n
		}
	}
	return nil
}

// Report is a sum of the books.
type Report struct {
	// Begun calls were read whole and accepted. Begun is Completed + Failed +
	// Cut + those still open.
	Begun     int64 `json:"begun"`
	Completed int64 `json:"completed"`
	Failed    int64 `json:"failed"`
	Cut       int64 `json:"cut"`
	// Refused calls weren't accepted (no JSON, unknown model, wrong key …):
	// they are in no other number.
	Refused int64 `json:"refused"`
	// Reported is the usage that answers stated to the end. Unreported was
	// generated, but no final usage was stated: broken or unread answers, and
	// those of FaultNoUsage.
	Reported   Tokens `json:"reported"`
	Unreported Tokens `json:"unreported"`
}

// Call is one call in the books.
type Call struct {
	// Number counts calls from 1, in the order they were accepted.
	Number uint64 `json:"number"`
	// RequestID is the x-request-id or request-id header of the answer,
	// AnswerID the id in its body.
	RequestID string `json:"request_id"`
	AnswerID  string `json:"answer_id,omitempty"`
	// ClientID is what the caller sent as x-client-request-id.
	ClientID string    `json:"client_id,omitempty"`
	Endpoint string    `json:"endpoint"`
	Model    string    `json:"model"`
	Stream   bool      `json:"stream"`
	Fault    Fault     `json:"fault,omitempty"`
	BegunAt  time.Time `json:"begun_at"`
	Outcome  Outcome   `json:"outcome"`
	// Usage is what was generated; Reported says that the answer stated it.
	Usage    Tokens `json:"usage"`
	Reported bool   `json:"reported"`
}

// bookShards spreads counters over cache lines; a call's number chooses.
const bookShards = 16

type books struct {
	keep   bool
	shards [bookShards]shard
	// refused calls have no number.
	refused atomic.Int64
}

type shard struct {
	mu sync.Mutex
	// report and calls are guarded by mu; calls only with Config.KeepCalls.
	report Report
	calls  map[uint64]*Call
	_      [64]byte // keeps shards on cache lines of their own
}

func (b *books) shard(number uint64) *shard { return &b.shards[number%bookShards] }

// begin enters a call.
func (b *books) begin(c *call) {
	s := b.shard(c.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Begun++
	if !b.keep {
		return
	}
	if s.calls == nil {
		s.calls = map[uint64]*Call{}
	}
	s.calls[c.number] = &Call{
		Number: c.number, RequestID: c.requestID(), AnswerID: c.answerID(), ClientID: c.in.clientID,
		Endpoint: string(c.endpoint), Model: c.req.model, Stream: c.req.stream, Fault: c.fault,
		BegunAt: c.begunAt, Outcome: Open,
	}
}

// end closes a call, or closes it otherwise than before: an end is entered
// before the last byte is written, and writing it may fail.
func (b *books) end(c *call, now verdict) {
	s := b.shard(c.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.enter(c.verdict, -1)
	s.report.enter(now, +1)
	c.verdict = now
	if kept := s.calls[c.number]; kept != nil {
		kept.Outcome, kept.Usage, kept.Reported = now.outcome, Tokens(now.usage), now.reported
	}
}

// verdict is what the books say of one call's end. The zero verdict is that of
// an open call.
type verdict struct {
	outcome  Outcome
	usage    domain.Usage
	reported bool
}

func (r *Report) enter(v verdict, sign int64) {
	switch v.outcome {
	case Completed:
		r.Completed += sign
	case Failed:
		r.Failed += sign
	case Cut:
		r.Cut += sign
	default:
		return
	}
	into := &r.Unreported
	if v.reported {
		into = &r.Reported
	}
	for m, n := range v.usage {
		into[m] += sign * n
	}
}

func (r *Report) add(o *Report) {
	r.Begun += o.Begun
	r.Completed += o.Completed
	r.Failed += o.Failed
	r.Cut += o.Cut
	for m := range r.Reported {
		r.Reported[m] += o.Reported[m]
		r.Unreported[m] += o.Unreported[m]
	}
}

// Books sums up all calls so far.
func (p *Provider) Books() Report {
	total := Report{Refused: p.books.refused.Load()}
	for i := range p.books.shards {
		s := &p.books.shards[i]
		s.mu.Lock()
		total.add(&s.report)
		s.mu.Unlock()
	}
	return total
}

// Calls are the calls so far, by number; nil without Config.KeepCalls.
func (p *Provider) Calls() []Call {
	var all []Call
	for i := range p.books.shards {
		s := &p.books.shards[i]
		s.mu.Lock()
		for _, c := range s.calls {
			all = append(all, *c)
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Call) int { return cmp.Compare(a.Number, b.Number) })
	return all
}
