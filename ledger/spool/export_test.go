package spool

import "os"

// Hooks for the external tests.

const (
	HeaderSize  = headerSize
	FrameHeader = frameHeader
	CursorSlot  = cursorSlot
)

// FrameSize is the room that a payload of n bytes takes.
func FrameSize(n int) int64 { return frameSize(n) }

// AppendAny records a kind that the spool doesn't know, as a later version would.
func (s *Spool) AppendAny(k Kind, id [16]byte, payload []byte) error {
	s.mu.Lock()
	f := s.frame(k, id, payload)
	s.put(&f)
	g := s.join()
	s.mu.Unlock()
	signal(s.kick)
	<-g.done
	return g.err
}

// InspectFS is Inspect on another disk.
func InspectFS(disk FS, dir string) (Info, error) { return inspect(disk, dir) }

// AppendFrame encodes a frame of segment n at offset off.
func AppendFrame(b []byte, id [16]byte, n uint64, off int64, r Record, mark uint32) []byte {
	f := frame{kind: r.Kind, synced: mark, epoch: r.Epoch, at: r.At.UnixMicro(), id: r.ID, payload: r.Payload}
	if r.Carried {
		f.flags = flagCarried
	}
	return appendFrame(b, seedFor(id, n), off, &f)
}

// EncodeHeader is a segment's first 4096 bytes.
func EncodeHeader(id [16]byte, n uint64, size int64, epoch uint64) []byte {
	return header{id: id, number: n, size: size, epoch: epoch}.encode()
}

// EncodeMeta is a meta file.
func EncodeMeta(id [16]byte, epoch uint64) []byte { return meta{id: id, epoch: epoch}.encode() }

// EncodeCursor is a slot of the cursor file.
func EncodeCursor(id [16]byte, seq uint64, acked, synced Position) []byte {
	return cursor{seq: seq, acked: acked, synced: synced}.encode(id)
}

// At makes a position.
func At(segment uint64, offset int64) Position { return at(segment, offset) }

// OpenFile gives the real disk's file.
func OpenFile(f *os.File) File { return &osFile{File: f} }

// OpenArchiveFS is OpenArchive on another disk.
func OpenArchiveFS(disk FS, dir string) (*Archive, error) { return openArchive(disk, dir) }
