package sim

import (
	"strconv"

	"manti/domain"
	"manti/proxy/llm"
)

// stopReason is Anthropic's word for why the model stopped.
func stopReason(stop llm.StopReason) string {
	switch stop {
	case llm.StopSequence:
		return "stop_sequence"
	case llm.StopLength:
		return "max_tokens"
	case llm.StopToolUse:
		return "tool_use"
	case llm.StopFiltered, llm.StopRefusal:
		return "refusal"
	default:
		return "end_turn"
	}
}

// messageBody renders a plain message.
func (c *call) messageBody(b []byte) []byte {
	b = c.appendMessageHead(b)
	n := 0
	if c.reply.thought.tokens() > 0 {
		b = append(b, `{"type":"thinking","thinking":"`...)
		b = appendText(b, c.reply.thought.whole(), true)
		b = append(b, `","signature":"`...)
		b = c.appendSignature(b)
		b = append(b, `"}`...)
		n++
	}
	if len(c.reply.tools) == 0 {
		b = comma(b, n)
		b = append(b, `{"type":"text","text":"`...)
		b = c.appendWhole(b)
		b = append(b, `"}`...)
	}
	for i, t := range c.reply.tools {
		b = comma(b, n+i)
		b = c.appendToolUse(b, i)
		b = append(b, t.args.whole()...)
		b = append(b, '}')
	}
	b = append(b, `],`...)
	b = c.appendStop(b)
	if c.fault != FaultNoUsage {
		b = append(b, `,"usage":`...)
		b = appendMessageUsage(b, c.reply.usage, true)
	}
	return append(b, '}')
}

func comma(b []byte, n int) []byte {
	if n > 0 {
		b = append(b, ',')
	}
	return b
}

// appendMessageHead begins a message, up to the inside of its content.
func (c *call) appendMessageHead(b []byte) []byte {
	b = append(b, `{"id":"`...)
	b = appendID(b, "msg_", c.id)
	b = append(b, `","type":"message","role":"assistant","model":`...)
	b = appendString(b, c.req.model)
	return append(b, `,"content":[`...)
}

// appendToolUse begins the nth tool use, up to its input.
func (c *call) appendToolUse(b []byte, n int) []byte {
	b = append(b, `{"type":"tool_use","id":"`...)
	b = appendID(b, "toolu_", c.partID(n))
	b = append(b, `","name":`...)
	b = appendString(b, c.reply.tools[n].name)
	return append(b, `,"input":`...)
}

// appendSignature appends what stands for a thinking block's signature.
func (c *call) appendSignature(b []byte) []byte {
	return appendID(append(b, "c2lt"...), "", c.partID(99))
}

// appendStop appends why the message ended.
func (c *call) appendStop(b []byte) []byte {
	b = append(b, `"stop_reason":"`...)
	b = append(b, stopReason(c.reply.stop)...)
	b = append(b, `","stop_sequence":`...)
	b = appendNullable(b, c.reply.sequence)
	if stopReason(c.reply.stop) == "refusal" {
		return append(b, `,"stop_details":{"type":"refusal","category":null,"explanation":"simulated"}`...)
	}
	return append(b, `,"stop_details":null`...)
}

// appendMessageUsage appends a usage object. Cached tokens stand beside
// input_tokens, not inside; thinking is inside output_tokens. Only a whole
// message and message_start say how long cache writes live.
func appendMessageUsage(b []byte, u domain.Usage, whole bool) []byte {
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, u[domain.InputTokens], 10)
	b = append(b, `,"cache_creation_input_tokens":`...)
	b = strconv.AppendInt(b, u[domain.CacheWrite5mTokens]+u[domain.CacheWrite1hTokens], 10)
	b = append(b, `,"cache_read_input_tokens":`...)
	b = strconv.AppendInt(b, u[domain.CacheReadTokens], 10)
	if whole {
		b = append(b, `,"cache_creation":{"ephemeral_5m_input_tokens":`...)
		b = strconv.AppendInt(b, u[domain.CacheWrite5mTokens], 10)
		b = append(b, `,"ephemeral_1h_input_tokens":`...)
		b = strconv.AppendInt(b, u[domain.CacheWrite1hTokens], 10)
		b = append(b, '}')
	}
	b = append(b, `,"output_tokens":`...)
	b = strconv.AppendInt(b, u.CompletionTokens(), 10)
	if u[domain.ReasoningTokens] > 0 {
		b = append(b, `,"output_tokens_details":{"thinking_tokens":`...)
		b = strconv.AppendInt(b, u[domain.ReasoningTokens], 10)
		b = append(b, '}')
	}
	if whole {
		b = append(b, `,"service_tier":"standard"`...)
	}
	return append(b, '}')
}
