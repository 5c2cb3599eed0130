package sim

import (
	"bytes"
	"time"

	"manti/domain"
)

// stream sends the frames of a streamed answer at their times and breaks it
// where a fault says so. After the break, or the first failed write, it does
// nothing more, so that the dialects needn't ask after each frame.
type stream struct {
	*call
	done    bool
	sent    int64 // tokens generated so far, reasoning included
	breakAt int64 // tokens after which a fault strikes; -1 for never
	started bool
	due     time.Time // of the latest chunk
	frame   []byte    // scratch: frames are built here
	prefix  []byte    // scratch: what all frames of the call begin with
}

// stream begins the streamed answer.
func (c *call) stream() *stream {
	s := &stream{call: c, frame: c.out[:0], prefix: c.prefix[:0], breakAt: -1}
	s.sent = c.reply.usage[domain.ReasoningTokens] - int64(c.reply.thought.tokens())
	if c.fault.breaks() {
		s.breakAt = s.sent + max((c.reply.usage.CompletionTokens()-s.sent)/2, 1)
	}
	c.w.begin(200, c.header("text/event-stream; charset=utf-8"), -1)
	return s
}

// release gives the scratch buffers back to the call.
func (s *stream) release() { s.out, s.call.prefix = s.frame[:0], s.prefix[:0] }

// put sends a frame at once.
func (s *stream) put(frame []byte) {
	s.frame = frame[:0]
	if s.done {
		return
	}
	if s.fault == FaultOddFraming {
		frame = append([]byte(": keep-alive\r\n\r\n"), bytes.ReplaceAll(frame, []byte("\n"), []byte("\r\n"))...)
	}
	if s.w.write(frame) != nil {
		s.done = true
		s.cut(s.sent)
	}
}

// pace waits until the next chunk is due. The first is at once; each later one
// a gap behind the time at which the one before was due, so that delays don't
// add up.
func (s *stream) pace() {
	if s.done || s.model.Gap == 0 {
		return
	}
	if !s.started {
		s.started, s.due = true, time.Now()
		return
	}
	gap := s.model.Gap
	if s.model.Chunks == 0 {
		gap = s.draw.aroundDuration(gap)
	}
	s.due = s.due.Add(gap)
	if s.w.wait(time.Until(s.due)) != nil {
		s.done = true
		s.abandon(s.sent)
	}
}

// say sends a frame with so many generated tokens.
func (s *stream) say(frame []byte, tokens int) {
	s.put(frame)
	if s.done {
		return
	}
	s.sent += int64(tokens)
	if s.breakAt >= 0 && s.sent >= s.breakAt {
		s.strike()
	}
}

// finish sends the last frame. The books are closed before it leaves; reported
// says that the usage has been stated by then.
func (s *stream) finish(frame []byte, reported bool) {
	s.frame = frame[:0]
	if !s.done && s.breakAt >= 0 {
		s.strike()
	}
	if s.done {
		return
	}
	outcome := Completed
	if s.fault == FaultNoDone {
		outcome = Cut
	}
	s.end(verdict{outcome, s.reply.usage, reported && s.fault != FaultNoUsage})
	s.put(frame)
	if s.done {
		return
	}
	s.done = true
	if s.fault == FaultOddFraming {
		_ = s.w.write([]byte("data: trailing\r\n\r\n")) // behind the end mark nobody needs to read
	}
	if s.w.end() != nil {
		s.cut(s.sent)
	}
}

// chunks calls send for each chunk of a speech, with the span of its tokens.
func (s *stream) chunks(said speech, send func(from, to int)) {
	step := max(s.model.ChunkTokens, 1)
	for i := 0; i < said.tokens() && !s.done; i += step {
		s.pace()
		send(i, min(i+step, said.tokens()))
	}
}

// appendPiece appends a chunk's text as the inside of a JSON string: a stamp
// if the model stamps.
func (s *stream) appendPiece(b []byte, said speech, from, to int) []byte {
	if s.model.Stamped {
		return appendStamp(b, time.Now())
	}
	return appendText(b, said.span(from, to), said.safe)
}
