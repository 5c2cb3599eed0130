package spool

import (
	"bytes"
	"errors"
	"io"
)

// errNoFrame says that no valid frame stands where the decoder is: the log's end, or damage.
var errNoFrame = errors.New("no valid frame")

const readChunk = 256 << 10 // bytes that a decoder reads at once; it grows for a longer frame

// A decoder walks over the frames of one segment. Recovery, shipping, replay and inspection all read with it.
type decoder struct {
	r     io.ReaderAt
	seed  uint32
	off   int64 // where the next frame begins
	limit int64 // nothing at or behind it is read
	chunk int64 // bytes that are read at once

	buf    []byte // bytes of the file from bufOff
	bufOff int64
}

func newDecoder(r io.ReaderAt, seed uint32, off, limit int64) *decoder {
	return &decoder{r: r, seed: seed, off: off, limit: limit, chunk: readChunk}
}

// next returns the frame at d.off and moves behind it. It is io.EOF at the limit and errNoFrame where the
// bytes are no frame; then d.off stays. The payload is valid until the next call.
func (d *decoder) next() (frame, error) {
	if d.off == d.limit {
		return frame{}, io.EOF
	}
	if d.limit-d.off < frameHeader {
		return frame{}, errNoFrame
	}
	b, err := d.bytes(frameHeader)
	if err != nil {
		return frame{}, err
	}
	size, ok := peekSize(b, d.off)
	if !ok || size > d.limit-d.off {
		return frame{}, errNoFrame
	}
	if b, err = d.bytes(size); err != nil {
		return frame{}, err
	}
	f, ok := decodeFrame(b, d.seed, d.off)
	if !ok {
		return frame{}, errNoFrame
	}
	d.off += size
	return f, nil
}

// resync reads again from a place without a valid frame on, and moves to the first that has one, or to the limit. A checksum holds
// for one place of one spool only, so that nothing but a frame is taken for one.
func (d *decoder) resync() error {
	d.buf = d.buf[:0]
	for ; d.off < d.limit; d.off += frameAlign {
		off := d.off
		_, err := d.next()
		if d.off = off; err == nil {
			return nil
		}
		if !errors.Is(err, errNoFrame) {
			return err
		}
	}
	d.off = d.limit
	return nil
}

// bytes returns the n bytes at d.off, which don't pass the limit.
func (d *decoder) bytes(n int64) ([]byte, error) {
	from := d.off - d.bufOff
	if from >= 0 && from+n <= int64(len(d.buf)) {
		return d.buf[from : from+n], nil
	}
	want := min(max(n, d.chunk), d.limit-d.off)
	if int64(cap(d.buf)) < want {
		d.buf = make([]byte, want)
	}
	d.buf, d.bufOff = d.buf[:want], d.off
	if err := readFull(d.r, d.buf, d.off); err != nil {
		d.buf = d.buf[:0]
		return nil, err
	}
	return d.buf[:n], nil
}

// lastNonZero returns the offset behind the last byte in [from, limit) that isn't zero; from if all are.
func lastNonZero(r io.ReaderAt, from, limit int64) (int64, error) {
	b := make([]byte, min(readChunk, limit-from))
	for end := limit; end > from; {
		begin := max(from, end-readChunk)
		part := b[:end-begin]
		if err := readFull(r, part, begin); err != nil {
			return 0, err
		}
		if rest := bytes.TrimRight(part, "\x00"); len(rest) > 0 {
			return begin + int64(len(rest)), nil
		}
		end = begin
	}
	return from, nil
}

// highestMark looks at each place in [from, limit) where a frame could begin and returns the highest synced
// mark of those that are valid: 0 if there is none.
func highestMark(r io.ReaderAt, seed uint32, from, limit int64) (int64, error) {
	tail := make([]byte, limit-from)
	if err := readFull(r, tail, from); err != nil {
		return 0, err
	}
	var mark int64
	for off := from; limit-off >= frameHeader; off += frameAlign {
		b := tail[off-from:]
		size, ok := peekSize(b, off)
		if !ok || size > int64(len(b)) {
			continue
		}
		if f, ok := decodeFrame(b[:size], seed, off); ok {
			mark = max(mark, int64(f.synced))
		}
	}
	return mark, nil
}
