package spool_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"manti/ledger/spool"
)

// A model knows what the spool has promised, call by call, over crashes.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	calls map[[16]byte]*promised
	order [][16]byte
	next  uint64
	cut   bool // the power was cut since the last time that recovered looked
}

// promised is what is known of a call.
type promised struct {
	payload  []byte
	written  bool // Start returned nil
	synced   bool // and a sync after it too
	pos      spool.Position
	attempts [][]byte
	tried    [][]byte // payloads of Ends that were called
	ended    bool     // one of them returned nil
	acked    bool     // its completion was shipped and an Ack returned nil
	seen     int      // how often it was shipped
}

func newModel(t *testing.T, seed uint64) *model {
	return &model{t: t, rng: rand.New(rand.NewPCG(seed, 2)), calls: map[[16]byte]*promised{}}
}

func (m *model) payload(most int) []byte {
	b := make([]byte, m.rng.IntN(most+1))
	for i := range b {
		b[i] = byte(m.rng.UintN(16)) // many zeros
	}
	return b
}

func (m *model) id() [16]byte {
	m.next++
	var id [16]byte
	binary.BigEndian.PutUint64(id[8:], m.next)
	return id
}

// openCall picks a call that no End was tried for; false if there is none.
func (m *model) openCall() ([16]byte, *promised, bool) {
	for range 8 {
		if len(m.order) == 0 {
			break
		}
		id := m.order[len(m.order)-1-m.rng.IntN(min(len(m.order), 20))]
		if c := m.calls[id]; c.written && len(c.tried) == 0 {
			return id, c, true
		}
	}
	return [16]byte{}, nil, false
}

// step does something to the spool. It returns the error that ends this life of it.
func (m *model) step(s *spool.Spool) error {
	switch n := m.rng.IntN(100); {
	case n < 38:
		return m.start(s)
	case n < 45:
		return m.attempt(s)
	case n < 85:
		return m.end(s)
	case n < 95:
		return m.ship(s)
	case n < 98:
		_, err := s.Retire(nil)
		return err
	default:
		_, err := s.Stats()
		return err
	}
}

func (m *model) start(s *spool.Spool) error {
	id := m.id()
	c := &promised{payload: m.payload(300)}
	m.calls[id] = c
	m.order = append(m.order, id)
	pos, err := s.Start(id, c.payload, m.rng.IntN(600))
	if errors.Is(err, spool.ErrFull) {
		delete(m.calls, id)
		m.order = m.order[:len(m.order)-1]
		return nil
	}
	if err != nil {
		return err
	}
	c.written, c.pos = true, pos
	if m.rng.IntN(3) > 0 {
		return nil
	}
	if err := s.Sync(context.Background(), pos); err != nil {
		return err
	}
	m.syncedUpTo(pos)
	return nil
}

// syncedUpTo notes which starts a sync has covered.
func (m *model) syncedUpTo(pos spool.Position) {
	for _, c := range m.calls {
		c.synced = c.synced || c.written && c.pos <= pos
	}
}

func (m *model) attempt(s *spool.Spool) error {
	id, c, ok := m.openCall()
	if !ok {
		return nil
	}
	p := m.payload(100)
	c.attempts = append(c.attempts, p)
	_, err := s.Attempt(id, p)
	if errors.Is(err, spool.ErrFull) {
		c.attempts = c.attempts[:len(c.attempts)-1]
		return nil
	}
	return err
}

func (m *model) end(s *spool.Spool) error {
	id, c, ok := m.openCall()
	if !ok {
		return nil
	}
	return m.endCall(s, id, c)
}

func (m *model) endCall(s *spool.Spool, id [16]byte, c *promised) error {
	p := m.payload(500)
	c.tried = append(c.tried, p)
	err := s.End(id, p)
	if errors.Is(err, spool.ErrFull) {
		c.tried = c.tried[:len(c.tried)-1] // larger than its reserve
		return nil
	}
	if err != nil {
		return err
	}
	c.ended = true
	m.syncedUpTo(c.pos)
	return nil
}

// ship reads what is there, and acknowledges it, or not.
func (m *model) ship(s *spool.Spool) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b, err := s.Next(ctx, 1+m.rng.IntN(20))
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return m.shipBatch(s, b, err)
}

func (m *model) shipBatch(s *spool.Spool, b spool.Batch, err error) error {
	if err != nil {
		return err
	}
	for _, r := range b.Records {
		m.checkEnd(r)
		if m.calls[r.ID] != nil {
			m.calls[r.ID].seen++
		}
	}
	if m.rng.IntN(4) == 0 {
		return nil
	}
	if err := s.Ack(b); err != nil {
		return err
	}
	for _, r := range b.Records {
		m.calls[r.ID].acked = true
	}
	return nil
}

// checkEnd checks that a completion is one that somebody wrote.
func (m *model) checkEnd(r spool.Record) {
	m.t.Helper()
	c := m.calls[r.ID]
	if c == nil || r.Kind != spool.End {
		m.t.Fatalf("record %v %x at %s was never written", r.Kind, r.ID, r.Pos)
	}
	for _, p := range c.tried {
		if string(p) == string(r.Payload) {
			return
		}
	}
	m.t.Fatalf("completion of %x at %s is %x, written were %x", r.ID, r.Pos, r.Payload, c.tried)
}

// recovered checks what a newly opened spool says against the promises, and settles what was open.
func (m *model) recovered(s *spool.Spool) error {
	m.t.Helper()
	ends, starts, err := m.replayed(s)
	if err != nil {
		return err
	}
	open := map[[16]byte]spool.Call{}
	for _, c := range s.Unfinished() {
		open[c.ID] = c
		m.checkOpen(c)
	}
	for id, c := range m.calls {
		_, isOpen := open[id]
		switch {
		case ends[id] > 1:
			m.t.Fatalf("call %x has %d completions", id, ends[id])
		case isOpen && (c.ended || ends[id] > 0):
			m.t.Fatalf("call %x is open, and has a completion (acked by End: %v)", id, c.ended)
		case c.ended && ends[id] == 0 && !c.acked:
			m.t.Fatalf("call %x: End returned nil, the completion is gone", id)
		case (c.synced || !m.cut && c.written) && !isOpen && ends[id] == 0 && !c.acked:
			m.t.Fatalf("call %x was started durably and is gone: %+v cut %v", id, c, m.cut)
		case isOpen && !starts[id]:
			m.t.Fatalf("call %x is open, but no retained record says so", id)
		}
	}
	m.cut = false
	m.forgetLost(open, ends)
	for id := range open {
		if m.rng.IntN(5) == 0 {
			continue // stays open over the next crash
		}
		if err := m.endCall(s, id, m.calls[id]); err != nil {
			return err
		}
	}
	return nil
}

// forgetLost takes calls off whose start is gone, as it may.
func (m *model) forgetLost(open map[[16]byte]spool.Call, ends map[[16]byte]int) {
	for id, c := range m.calls {
		if _, isOpen := open[id]; !isOpen && ends[id] == 0 && !c.acked {
			c.written = false
		} else if ends[id] > 0 {
			c.ended = true // it is there now, so it stays
		}
		if _, isOpen := open[id]; isOpen {
			c.written, c.synced, c.pos = true, true, 0
		}
	}
}

// replayed reads all retained records.
func (m *model) replayed(s *spool.Spool) (ends map[[16]byte]int, starts map[[16]byte]bool, err error) {
	m.t.Helper()
	ends, starts = map[[16]byte]int{}, map[[16]byte]bool{}
	for r, err := range s.Replay(0) {
		if err != nil {
			return nil, nil, err
		}
		switch c := m.calls[r.ID]; {
		case r.Kind == spool.End:
			m.checkEnd(r)
			ends[r.ID]++
		case c == nil:
			m.t.Fatalf("%v of unknown call %x", r.Kind, r.ID)
		case r.Kind == spool.Start:
			starts[r.ID] = true
		}
	}
	return ends, starts, nil
}

func (m *model) checkOpen(c spool.Call) {
	m.t.Helper()
	want := m.calls[c.ID]
	if want == nil || string(want.payload) != string(c.Start.Payload) || c.Start.Kind != spool.Start {
		m.t.Fatalf("open call %x has a start that was never written: %x", c.ID, c.Start.Payload)
	}
	if len(c.Attempts) > len(want.attempts) {
		m.t.Fatalf("open call %x has %d attempts, written were %d", c.ID, len(c.Attempts), len(want.attempts))
	}
	for i, a := range c.Attempts {
		if string(a.Payload) != string(want.attempts[i]) {
			m.t.Fatalf("open call %x: attempt %d is %x, want %x", c.ID, i, a.Payload, want.attempts[i])
		}
	}
	want.attempts = want.attempts[:len(c.Attempts)]
}

// drain ships all and checks that no completion was left out.
func (m *model) drain(s *spool.Spool) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		st, err := s.Stats()
		if err != nil {
			m.t.Fatal(err)
		}
		if st.Unshipped == 0 {
			break
		}
		b, err := s.Next(ctx, 500)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, r := range b.Records {
			m.checkEnd(r)
			m.calls[r.ID].seen++
		}
		if err := s.Ack(b); err != nil {
			m.t.Fatal(err)
		}
	}
	for id, c := range m.calls {
		if c.ended && c.seen == 0 {
			m.t.Fatalf("completion of %x was never shipped", id)
		}
	}
}
