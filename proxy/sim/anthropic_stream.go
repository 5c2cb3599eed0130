package sim

import (
	"strconv"

	"manti/domain"
)

// messages streams a message: message_start with the usage of the prompt, the
// content's blocks, message_delta with the usage as it ended, message_stop.
func (s *stream) messages() {
	s.messageStart()
	n := 0
	if s.reply.thought.tokens() > 0 {
		s.thinking(n)
		n++
	}
	for i := range s.reply.tools {
		s.toolUse(n, i)
		n++
	}
	if len(s.reply.tools) == 0 {
		s.textBlock(n)
	}
	s.messageEnd()
}

func (s *stream) messageStart() {
	b := append(s.frame[:0], "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"...)
	b = s.appendMessageHead(b)
	b = append(b, `],"stop_reason":null,"stop_sequence":null,"stop_details":null`...)
	if s.fault != FaultNoUsage {
		begun := s.reply.usage
		begun[domain.OutputTokens], begun[domain.ReasoningTokens] = 1, 0
		b = append(b, `,"usage":`...)
		b = appendMessageUsage(b, begun, true)
	}
	s.put(append(b, "}}\n\n"...))
	s.put(append(s.frame[:0], "event: ping\ndata: {\"type\":\"ping\"}\n\n"...))
}

func (s *stream) thinking(index int) {
	s.put(append(s.blockStart(index), "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n"...))
	s.chunks(s.reply.thought, func(from, to int) {
		b := append(s.blockDelta(index), `{"type":"thinking_delta","thinking":"`...)
		b = appendText(b, s.reply.thought.span(from, to), true)
		s.say(append(b, "\"}}\n\n"...), to-from)
	})
	b := append(s.blockDelta(index), `{"type":"signature_delta","signature":"`...)
	b = s.appendSignature(b)
	s.put(append(b, "\"}}\n\n"...))
	s.blockStop(index)
}

func (s *stream) textBlock(index int) {
	s.put(append(s.blockStart(index), "{\"type\":\"text\",\"text\":\"\"}}\n\n"...))
	s.chunks(s.reply.said, func(from, to int) {
		b := append(s.blockDelta(index), `{"type":"text_delta","text":"`...)
		b = s.appendPiece(b, s.reply.said, from, to)
		s.say(append(b, "\"}}\n\n"...), to-from)
	})
	s.blockStop(index)
}

// toolUse streams the nth tool use. Its input begins as {} and comes in pieces
// of JSON, of which the first is empty.
func (s *stream) toolUse(index, n int) {
	s.pace()
	b := s.appendToolUse(s.blockStart(index), n)
	s.say(append(b, "{}}}\n\n"...), toolOverhead)
	s.put(append(s.blockDelta(index), "{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n"...))
	args := s.reply.tools[n].args
	s.chunks(args, func(from, to int) {
		b := append(s.blockDelta(index), `{"type":"input_json_delta","partial_json":"`...)
		b = appendEscaped(b, args.span(from, to))
		s.say(append(b, "\"}}\n\n"...), to-from)
	})
	s.blockStop(index)
}

func (s *stream) messageEnd() {
	b := append(s.frame[:0], "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"...)
	b = s.appendStop(b)
	b = append(b, '}')
	if s.fault != FaultNoUsage {
		b = append(b, `,"usage":`...)
		b = appendMessageUsage(b, s.reply.usage, false)
	}
	b = append(b, "}\n\n"...)
	if s.fault != FaultNoDone {
		b = append(b, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
	}
	s.finish(b, true)
}

// blockStart begins the frame that begins a block, up to the block.
func (s *stream) blockStart(index int) []byte {
	b := append(s.frame[:0], "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":"...)
	b = strconv.AppendInt(b, int64(index), 10)
	return append(b, `,"content_block":`...)
}

// blockDelta begins the frame of a piece of a block, up to the delta.
func (s *stream) blockDelta(index int) []byte {
	b := append(s.frame[:0], "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	b = strconv.AppendInt(b, int64(index), 10)
	return append(b, `,"delta":`...)
}

func (s *stream) blockStop(index int) {
	b := append(s.frame[:0], "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"...)
	b = strconv.AppendInt(b, int64(index), 10)
	s.put(append(b, "}\n\n"...))
}
