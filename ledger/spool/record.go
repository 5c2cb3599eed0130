package spool

import (
	"fmt"
	"time"
)

// A Kind says what a record is. Kinds 6 to 127 have no meaning to the spool yet; it keeps and ships them.
// Kinds from 128 are the spool's own and never leave it.
type Kind uint8

// The kinds that the spool knows.
const (
	Start   Kind = 1 // a call was admitted
	Attempt Kind = 2 // a further attempt of an open call
	End     Kind = 3 // a call's one completion
	Placed  Kind = 4 // where the ledger has a batch that was shipped: Places
	Entry   Kind = 5 // an entry of the ledger that came from no spool: Committed

	kindMark Kind = 128 // nothing but a synced mark
	kindSeal Kind = 129 // last frame of a segment
	kindHead Kind = 130 // first frame of a segment: how many carried records follow
)

// Shipped says whether records of the kind go to the ledger: completions and every kind that the spool
// doesn't know.
func (k Kind) Shipped() bool { return k == End || k > Entry && k < kindMark }

// String names the kind for people.
func (k Kind) String() string {
	switch k {
	case Start:
		return "start"
	case Attempt:
		return "attempt"
	case End:
		return "end"
	case Placed:
		return "placed"
	case Entry:
		return "entry"
	case kindMark:
		return "mark"
	case kindSeal:
		return "seal"
	case kindHead:
		return "head"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Position is a place between two frames: segment number in the upper, file offset in the lower 32 bits.
// Positions of one spool are ordered as its frames are, over all segments; 0 is before everything.
type Position uint64

func at(segment uint64, offset int64) Position { return Position(segment<<32 | uint64(offset)) }

// Segment is the number of the segment.
func (p Position) Segment() uint64 { return uint64(p >> 32) }

// Offset is the byte offset in the segment's file.
func (p Position) Offset() int64 { return int64(p & 0xffffffff) }

// String is "segment:offset".
func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Segment(), p.Offset()) }

// A Record is one frame as its reader sees it.
type Record struct {
	Kind    Kind
	Carried bool      // a copy of an open call's record, made when a segment was begun
	ID      [16]byte  // of the call
	Epoch   uint64    // of the process that first wrote it
	At      time.Time // when it was first written, in µs
	Pos     Position  // where it begins
	Payload []byte    // the owner's bytes
}

// A Call is one that has a Start and no End.
type Call struct {
	ID       [16]byte
	Epoch    uint64   // of the process that started it
	Start    Record   // Pos is not set
	Attempts []Record // in order; Pos is not set
}
