package spool

import (
	"encoding/binary"
	"time"
)

// A call that is open: what the next segment must carry of it, and the room promised to its completion.
type call struct {
	epoch    uint64
	reserve  int64  // frame bytes
	live     int64  // frame bytes of its records
	frames   int    // number of its records
	recorded []byte // its records, packed: kind, at, length, payload
}

const packedHeader = 1 + 8 + 4

func (c *call) add(f *frame) {
	c.recorded = append(c.recorded, byte(f.kind))
	c.recorded = binary.LittleEndian.AppendUint64(c.recorded, uint64(f.at))
	c.recorded = binary.LittleEndian.AppendUint32(c.recorded, uint32(len(f.payload)))
	c.recorded = append(c.recorded, f.payload...)
	c.live += frameSize(len(f.payload))
	c.frames++
}

// each calls fn with the call's records as frames to be carried; payloads are shared.
func (c *call) each(id [16]byte, fn func(*frame)) {
	for b := c.recorded; len(b) > 0; {
		n := packedHeader + int(binary.LittleEndian.Uint32(b[9:]))
		fn(&frame{
			kind: Kind(b[0]), flags: flagCarried, epoch: c.epoch, at: int64(binary.LittleEndian.Uint64(b[1:])),
			id: id, payload: b[packedHeader:n],
		})
		b = b[n:]
	}
}

// calls are the open ones with the sums that admission needs.
type calls struct {
	open     map[[16]byte]*call
	carried  int64 // Σ live
	reserved int64 // Σ reserve
	frames   int   // Σ frames
	free     []*call
}

const maxFreeCalls = 1024 // ended calls whose memory is kept for the next ones

func newCalls() *calls { return &calls{open: make(map[[16]byte]*call)} }

// start opens a call with its first record.
func (cs *calls) start(f *frame, reserve int64) {
	var c *call
	if n := len(cs.free); n > 0 {
		c, cs.free = cs.free[n-1], cs.free[:n-1]
	} else {
		c = new(call)
	}
	*c = call{epoch: f.epoch, reserve: reserve, recorded: c.recorded[:0]}
	cs.open[f.id] = c
	cs.reserved += reserve
	cs.more(c, f)
}

// more adds a record to an open call.
func (cs *calls) more(c *call, f *frame) {
	c.add(f)
	cs.carried += frameSize(len(f.payload))
	cs.frames++
}

// end forgets a call.
func (cs *calls) end(id [16]byte, c *call) {
	delete(cs.open, id)
	cs.reserved -= c.reserve
	cs.carried -= c.live
	cs.frames -= c.frames
	if len(cs.free) < maxFreeCalls && cap(c.recorded) <= 4<<10 {
		cs.free = append(cs.free, c)
	}
}

// apply folds a frame that was read. reserve is what a call found open is given.
func (cs *calls) apply(f *frame, reserve int64) {
	c := cs.open[f.id]
	switch f.kind {
	case Start:
		if c == nil {
			cs.start(f, reserve)
		}
	case Attempt:
		if c != nil {
			cs.more(c, f)
		}
	case End:
		if c != nil {
			cs.end(f.id, c)
		}
	}
}

// export is the call as its owner sees it, in memory of its own.
func (c *call) export(id [16]byte) Call {
	out := Call{ID: id, Epoch: c.epoch}
	c.each(id, func(f *frame) {
		r := Record{
			Kind: f.kind, ID: id, Epoch: c.epoch, At: time.UnixMicro(f.at).UTC(),
			Payload: append([]byte(nil), f.payload...),
		}
		if f.kind == Start {
			out.Start = r
		} else {
			out.Attempts = append(out.Attempts, r)
		}
	})
	return out
}
