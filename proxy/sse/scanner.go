package sse

import (
	"bytes"
	"fmt"
)

// DefaultMaxFrameBytes bounds a frame when a Scanner names no other limit. A
// frame can carry a whole image in base64.
const DefaultMaxFrameBytes = 16 << 20

// Frame is one event, or comments, or an empty line. Its slices are valid until the
// Scanner's next call.
type Frame struct {
	// Raw is the frame as it came, the empty line that ends it included.
	Raw []byte
	// Event is the event's name, nil if the frame has none.
	Event []byte
	// Data is the value of its data line, or of several joined by LF; nil if
	// there is none, as in a comment.
	Data []byte
}

// TooLongError says that a frame is longer than the limit. The Scanner that
// met it is at its end.
type TooLongError struct {
	LimitBytes int
}

// Error names the limit.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("sse: frame longer than %d bytes", e.LimitBytes)
}

// Scanner cuts a byte stream into frames. Feed it a read, then take frames until
// Next says false; at the end of the input Close gives what is left.
//
// Frames that lie whole within one read are slices of it: nothing is copied.
// Only the beginning of an unfinished frame is kept, in a pooled buffer that
// goes back when the frame is complete.
//
// The zero value is ready. A Scanner is not safe for concurrent use.
type Scanner struct {
	// MaxFrameBytes bounds a frame; 0 means DefaultMaxFrameBytes.
	MaxFrameBytes int

	in    []byte // the input at hand: the caller's read, or *own
	own   *[]byte
	pos   int  // in[pos:] is not given out yet
	line  int  // where the current line begins
	seen  int  // in[line:seen] holds no line end
	cr    bool // the line before ended with a CR alone
	begun bool // a frame was given out before
	err   error
	join  []byte // the data of the last frame with several data lines
}

// Feed hands over the next bytes of the stream. The Scanner reads p until Next
// returns false and keeps no reference to it after that.
func (s *Scanner) Feed(p []byte) {
	if s.err != nil || len(p) == 0 {
		return
	}
	s.keep()
	if s.own == nil {
		s.in = p
		return
	}
	s.own = grow(s.own, len(p))
	*s.own = append(*s.own, p...)
	s.in = *s.own
}

// Next is the next whole frame; false means that more input is needed, or that
// Err is not nil.
func (s *Scanner) Next() (Frame, bool) {
	if s.err != nil {
		return Frame{}, false
	}
	end := s.frameEnd()
	length := end - s.pos
	if end < 0 {
		length = len(s.in) - s.pos
	}
	if length > s.limit() {
		s.err = &TooLongError{LimitBytes: s.limit()}
		s.release()
		return Frame{}, false
	}
	if end < 0 {
		s.keep()
		return Frame{}, false
	}
	raw := s.in[s.pos:end]
	s.pos, s.line, s.seen, s.cr = end, end, end, false
	return s.parse(raw), true
}

// Close ends the input: what is left without an empty line after it is the last
// frame, if anything is. Call it until it says false, also when giving up on a
// stream: that gives back the buffer.
func (s *Scanner) Close() (Frame, bool) {
	if s.err != nil || s.pos == len(s.in) {
		s.release()
		return Frame{}, false
	}
	raw := s.in[s.pos:]
	s.pos, s.line, s.seen = len(s.in), len(s.in), len(s.in)
	return s.parse(raw), true
}

// Err is nil, or a *TooLongError.
func (s *Scanner) Err() error { return s.err }

// Buffered is the number of bytes of an unfinished frame that the Scanner
// holds.
func (s *Scanner) Buffered() int { return len(s.in) - s.pos }

func (s *Scanner) limit() int {
	if s.MaxFrameBytes > 0 {
		return s.MaxFrameBytes
	}
	return DefaultMaxFrameBytes
}

// frameEnd finds the end of the frame at pos, -1 if it isn't there yet.
//
// A frame ends with an empty line. A CR at the very end of the input may be half of
// a CRLF, so it is waited for, unless the line before ended with a CR alone: then
// the stream's line end is CR, and waiting would delay each frame until the next.
func (s *Scanner) frameEnd() int {
	for {
		at := lineEnd(s.in, s.seen)
		if at < 0 {
			s.seen = len(s.in)
			return -1
		}
		blank := s.blank(at)
		next := at + 1
		if s.in[at] == '\r' {
			switch {
			case blank && s.cr: // the end, whatever follows
			case next == len(s.in):
				s.seen = at
				return -1
			case s.in[next] == '\n':
				next++
			}
		}
		if blank {
			return next
		}
		s.cr = s.in[at] == '\r' && next == at+1
		s.line, s.seen = next, next
	}
}

// blank reports whether the line that ends at at is empty, but for a byte order
// mark at the stream's begin.
func (s *Scanner) blank(at int) bool {
	return at == s.line || !s.begun && s.line == s.pos && string(s.in[s.line:at]) == bom
}

const bom = "\ufeff"

// lineEnd is the index of the first CR or LF in b[from:], -1 if there is none. It looks
// in windows, so that a stream of bare CRs isn't searched to its end for an LF
// again for each line.
func lineEnd(b []byte, from int) int {
	const window = 1024
	for from < len(b) {
		w := b[from:min(from+window, len(b))]
		if lf := bytes.IndexByte(w, '\n'); lf >= 0 {
			w = w[:lf+1]
		}
		if cr := bytes.IndexByte(w, '\r'); cr >= 0 {
			return from + cr
		}
		if w[len(w)-1] == '\n' {
			return from + len(w) - 1
		}
		from += len(w)
	}
	return -1
}

// keep makes the unfinished frame the Scanner's own and gives back a buffer
// that holds nothing.
func (s *Scanner) keep() {
	rest := s.in[s.pos:]
	switch {
	case len(rest) == 0:
		s.release()
		return
	case s.own == nil:
		s.own = grow(nil, len(rest))
		*s.own = append(*s.own, rest...)
	case s.pos > 0:
		*s.own = append((*s.own)[:0], rest...)
	}
	s.in = *s.own
	s.line, s.seen, s.pos = s.line-s.pos, s.seen-s.pos, 0
}

func (s *Scanner) release() {
	put(s.own)
	s.own, s.in, s.join = nil, nil, nil
	s.pos, s.line, s.seen = 0, 0, 0
}
