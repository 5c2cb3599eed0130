package spool

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

const (
	frameHeader = 48      // bytes before the payload
	frameAlign  = 8       // frames begin at multiples of this
	maxPayload  = 1 << 20 // bytes; no frame is longer, whatever its length field says

	flagCarried = 1 << 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A frame is the decoded form of what stands on disk; FORMAT.md has the bytes.
type frame struct {
	kind    Kind
	flags   uint8
	synced  uint32 // the file was synced up to here when the frame was written
	epoch   uint64
	at      int64 // µs since 1970
	id      [16]byte
	payload []byte
}

// frameSize is the room that a payload of n bytes takes in a segment.
func frameSize(n int) int64 {
	return int64(frameHeader+n+frameAlign-1) &^ (frameAlign - 1)
}

// seedFor is the checksum state that all frames of one segment start from.
func seedFor(id [16]byte, segment uint64) uint32 {
	var b [24]byte
	copy(b[:], id[:])
	binary.LittleEndian.PutUint64(b[16:], segment)
	return crc32.Update(0, castagnoli, b[:])
}

// appendFrame encodes f, which will stand at offset off of its segment, behind b.
func appendFrame(b []byte, seed uint32, off int64, f *frame) []byte {
	begin := len(b)
	b = append(b, make([]byte, frameHeader)...)
	b = append(b, f.payload...)
	b = append(b, make([]byte, frameSize(len(f.payload))-int64(len(b)-begin))...)
	h := b[begin:]
	binary.LittleEndian.PutUint32(h[0:], uint32(len(f.payload)))
	h[8], h[9] = byte(f.kind), f.flags
	binary.LittleEndian.PutUint32(h[12:], f.synced)
	binary.LittleEndian.PutUint64(h[16:], f.epoch)
	binary.LittleEndian.PutUint64(h[24:], uint64(f.at))
	copy(h[32:48], f.id[:])
	// While the checksum is taken its own place holds the offset: so a frame is only valid where it was written.
	binary.LittleEndian.PutUint32(h[4:], uint32(off))
	binary.LittleEndian.PutUint32(h[4:], crc32.Update(seed, castagnoli, h))
	return b
}

// peekSize reads the length of the frame that b begins with and returns its size in the segment.
// It is false if no frame can begin like this. b holds at least frameHeader bytes.
func peekSize(b []byte, off int64) (int64, bool) {
	n := binary.LittleEndian.Uint32(b)
	mark := binary.LittleEndian.Uint32(b[12:])
	if n > maxPayload || b[8] == 0 || b[10] != 0 || b[11] != 0 || int64(mark) > off {
		return 0, false
	}
	return frameSize(int(n)), true
}

// decodeFrame reads the frame that fills b, which stands at offset off. The payload is b's own memory.
// b is written to, but left as it was.
func decodeFrame(b []byte, seed uint32, off int64) (frame, bool) {
	sum := binary.LittleEndian.Uint32(b[4:])
	binary.LittleEndian.PutUint32(b[4:], uint32(off))
	got := crc32.Update(seed, castagnoli, b)
	binary.LittleEndian.PutUint32(b[4:], sum)
	if got != sum {
		return frame{}, false
	}
	n := binary.LittleEndian.Uint32(b)
	f := frame{
		kind:    Kind(b[8]),
		flags:   b[9],
		synced:  binary.LittleEndian.Uint32(b[12:]),
		epoch:   binary.LittleEndian.Uint64(b[16:]),
		at:      int64(binary.LittleEndian.Uint64(b[24:])),
		payload: b[frameHeader : frameHeader+int(n) : frameHeader+int(n)],
	}
	copy(f.id[:], b[32:48])
	return f, true
}

// record shows the frame as its reader sees it; the payload is shared.
func (f *frame) record(pos Position) Record {
	return Record{
		Kind: f.kind, Carried: f.flags&flagCarried != 0, ID: f.id, Epoch: f.epoch,
		At: time.UnixMicro(f.at).UTC(), Pos: pos, Payload: f.payload,
	}
}
