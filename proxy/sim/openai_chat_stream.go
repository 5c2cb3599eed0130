package sim

import (
	"strconv"

	"manti/proxy/llm"
)

// chat streams a chat completion: per choice a chunk with the role, the
// content's, one with the finish reason; then, if asked for, one with the
// usage; then [DONE].
func (s *stream) chat() {
	s.prefix = append(s.prefix[:0], "data: "...)
	s.prefix = s.appendChatHead(s.prefix, "chat.completion.chunk")
	s.prefix = append(s.prefix, `,"service_tier":"default","system_fingerprint":"fp_sim","choices":[`...)
	for choice := range s.reply.choices {
		s.chatChoice(choice)
	}
	s.openAIEnd()
}

// openAIEnd ends a stream of chat or completions, with usage if asked for.
func (s *stream) openAIEnd() {
	b := s.frame[:0]
	states := s.req.includeUsage && s.fault != FaultNoUsage
	if states {
		b = append(b, s.prefix...)
		b = append(b, `],"usage":`...)
		b = appendChatUsage(b, s.reply.usage)
		b = append(b, "}\n\n"...)
	}
	if s.fault != FaultNoDone {
		b = append(b, "data: [DONE]\n\n"...)
	}
	s.finish(b, states)
}

func (s *stream) chatChoice(choice int) {
	role := `"role":"assistant","content":"","refusal":null`
	if len(s.reply.tools) > 0 {
		role = `"role":"assistant","content":null,"refusal":null`
	}
	s.put(s.chatTail(append(s.chatDelta(choice), role...), 0, 0))
	field := `"content":"`
	if s.reply.stop == llm.StopRefusal {
		field = `"refusal":"`
	}
	s.chunks(s.reply.said, func(from, to int) {
		b := append(s.chatDelta(choice), field...)
		b = s.appendPiece(b, s.reply.said, from, to)
		s.say(s.chatTail(append(b, '"'), from, to), to-from)
	})
	for n := range s.reply.tools {
		s.chatTool(choice, n)
	}
	b := append(s.chatDelta(choice), `},"logprobs":null,"finish_reason":"`...)
	b = append(b, finishReason(s.reply.stop)...)
	s.put(s.chatEnd(append(b, `"}]`...)))
}

// chatTool streams the nth tool call: its name, then its arguments in pieces.
func (s *stream) chatTool(choice, n int) {
	s.pace()
	b := append(s.chatDelta(choice), `"tool_calls":[{"index":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, ',')
	b = append(b, s.appendChatTool(nil, choice, n)[1:]...)
	s.say(s.chatTail(append(b, `"}}]`...), 0, 0), toolOverhead)
	args := s.reply.tools[n].args
	s.chunks(args, func(from, to int) {
		b := append(s.chatDelta(choice), `"tool_calls":[{"index":`...)
		b = strconv.AppendInt(b, int64(n), 10)
		b = append(b, `,"function":{"arguments":"`...)
		b = appendEscaped(b, args.span(from, to))
		s.say(s.chatTail(append(b, `"}}]`...), 0, 0), to-from)
	})
}

// chatDelta begins a chunk up to the inside of its delta.
func (s *stream) chatDelta(choice int) []byte {
	b := append(s.frame[:0], s.prefix...)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(choice), 10)
	return append(b, `,"delta":{`...)
}

// chatTail closes a chunk behind the inside of its delta, with the logprobs of
// its tokens.
func (s *stream) chatTail(b []byte, from, to int) []byte {
	b = append(b, `},"logprobs":`...)
	if to > from {
		b = s.appendLogProbs(b, from, to)
	} else {
		b = append(b, "null"...)
	}
	return s.chatEnd(append(b, `,"finish_reason":null}]`...))
}

// chatEnd closes a chunk behind its choices. If usage was asked for, each
// chunk but the last says null.
func (s *stream) chatEnd(b []byte) []byte {
	if s.req.includeUsage {
		b = append(b, `,"usage":null`...)
	}
	return append(b, "}\n\n"...)
}
