package sim

import (
	"strconv"

	"manti/domain"
	"manti/proxy/llm"
)

// finishReason is OpenAI's word for why the model stopped. A refusal is a
// plain stop there.
func finishReason(stop llm.StopReason) string {
	switch stop {
	case llm.StopLength:
		return "length"
	case llm.StopToolUse:
		return "tool_calls"
	case llm.StopFiltered:
		return "content_filter"
	default:
		return "stop"
	}
}

// appendChatUsage appends the usage object of chat and completions.
func appendChatUsage(b []byte, u domain.Usage) []byte {
	b = append(b, `{"prompt_tokens":`...)
	b = strconv.AppendInt(b, u.PromptTokens(), 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, u.CompletionTokens(), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, u.PromptTokens()+u.CompletionTokens(), 10)
	b = append(b, `,"prompt_tokens_details":`...)
	b = appendCacheDetails(b, u, `,"audio_tokens":0`)
	b = append(b, `,"completion_tokens_details":{"reasoning_tokens":`...)
	b = strconv.AppendInt(b, u[domain.ReasoningTokens], 10)
	return append(b, `,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

func appendCacheDetails(b []byte, u domain.Usage, rest string) []byte {
	b = append(b, `{"cached_tokens":`...)
	b = strconv.AppendInt(b, u[domain.CacheReadTokens], 10)
	b = append(b, `,"cache_write_tokens":`...)
	b = strconv.AppendInt(b, u[domain.CacheWrite5mTokens]+u[domain.CacheWrite1hTokens], 10)
	b = append(b, rest...)
	return append(b, '}')
}

// appendChatHead appends what every answer and chunk of chat and completions
// begins with, up to and without the choices.
func (c *call) appendChatHead(b []byte, object string) []byte {
	b = append(b, `{"id":"`...)
	b = appendID(b, c.answerPrefix(), c.id)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, c.begunAt.Unix(), 10)
	b = append(b, `,"model":`...)
	return appendString(b, c.req.model)
}

// chatBody renders a plain chat completion.
func (c *call) chatBody(b []byte) []byte {
	b = c.appendChatHead(b, "chat.completion")
	b = append(b, `,"choices":[`...)
	for i := range c.reply.choices {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"message":`...)
		b = c.appendChatMessage(b, i)
		b = append(b, `,"logprobs":`...)
		b = c.appendLogProbs(b, 0, c.reply.said.tokens())
		b = append(b, `,"finish_reason":"`...)
		b = append(b, finishReason(c.reply.stop)...)
		b = append(b, `"}`...)
	}
	b = append(b, ']')
	if c.fault != FaultNoUsage {
		b = append(b, `,"usage":`...)
		b = appendChatUsage(b, c.reply.usage)
	}
	return append(b, `,"service_tier":"default","system_fingerprint":"fp_sim"}`...)
}

func (c *call) appendChatMessage(b []byte, choice int) []byte {
	b = append(b, `{"role":"assistant","content":`...)
	switch {
	case c.reply.stop == llm.StopRefusal:
		b = append(b, `null,"refusal":"`...)
		b = c.appendWhole(b)
		return append(b, `","annotations":[]}`...)
	case len(c.reply.tools) == 0:
		b = append(b, '"')
		b = c.appendWhole(b)
		return append(b, `","refusal":null,"annotations":[]}`...)
	}
	b = append(b, `null,"refusal":null,"annotations":[],"tool_calls":[`...)
	for i, t := range c.reply.tools {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.appendChatTool(b, choice, i)
		b = appendEscaped(b, t.args.whole())
		b = append(b, `"}}`...)
	}
	return append(b, "]}"...)
}

// appendChatTool begins a tool call, up to the quote before its arguments.
func (c *call) appendChatTool(b []byte, choice, n int) []byte {
	b = append(b, `{"id":"`...)
	b = appendID(b, "call_", c.partID(choice*8+n))
	b = append(b, `","type":"function","function":{"name":`...)
	b = appendString(b, c.reply.tools[n].name)
	return append(b, `,"arguments":"`...)
}

// appendWhole appends the whole text of a plain answer as the inside of a JSON
// string; of a load model, two stamps first.
func (c *call) appendWhole(b []byte) []byte {
	if !c.model.Stamped || c.reply.said.tokens() < 2 {
		return appendText(b, c.reply.said.whole(), c.reply.said.safe)
	}
	return append(c.appendStamps(b), c.reply.said.span(2, c.reply.said.tokens())...)
}

// appendLogProbs appends the logprobs object of the tokens from to to, or null.
func (c *call) appendLogProbs(b []byte, from, to int) []byte {
	if !c.req.logProbs || len(c.reply.tools) > 0 {
		return append(b, "null"...)
	}
	b = append(b, `{"content":[`...)
	for i := from; i < to; i++ {
		if i > from {
			b = append(b, ',')
		}
		b = appendLogProb(b, c.reply.said.span(i, i+1))
		b = append(b, `,"top_logprobs":[`...)
		for k := range min(c.req.topLogProbs, 20) {
			if k > 0 {
				b = append(b, ',')
			}
			b = appendLogProb(b, c.reply.said.span(i, i+1))
			b = append(b, '}')
		}
		b = append(b, "]}"...)
	}
	return append(b, `],"refusal":null}`...)
}

// appendLogProb begins one token's object; every token is as likely.
func appendLogProb(b []byte, token string) []byte {
	b = append(b, `{"token":`...)
	b = appendString(b, token)
	b = append(b, `,"logprob":-0.25,"bytes":[`...)
	for i := range len(token) {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(token[i]), 10)
	}
	return append(b, ']')
}
