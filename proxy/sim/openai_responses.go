package sim

import (
	"strconv"

	"manti/domain"
	"manti/proxy/llm"
)

// responseBody renders a response object: a plain answer, or what events of a
// stream carry. Status is "in_progress" before there is output; otherwise
// "completed", which an answer that was cut short turns into "incomplete".
func (c *call) responseBody(b []byte, status string) []byte {
	begun := status == "in_progress"
	reason := ""
	switch {
	case begun:
	case c.reply.stop == llm.StopLength:
		status, reason = "incomplete", "max_output_tokens"
	case c.reply.stop == llm.StopFiltered:
		status, reason = "incomplete", "content_filter"
	}
	b = append(b, `{"id":"`...)
	b = appendID(b, "resp_", c.id)
	b = append(b, `","object":"response","created_at":`...)
	b = strconv.AppendInt(b, c.begunAt.Unix(), 10)
	b = append(b, `,"status":"`...)
	b = append(b, status...)
	b = append(b, `","background":false,"error":null,"incomplete_details":`...)
	if reason == "" {
		b = append(b, "null"...)
	} else {
		b = append(b, `{"reason":"`+reason+`"}`...)
	}
	b = append(b, `,"instructions":null,"max_output_tokens":null,"model":`...)
	b = appendString(b, c.req.model)
	b = append(b, `,"output":[`...)
	if !begun {
		b = c.appendOutput(b)
	}
	b = append(b, `],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},`+
		`"service_tier":"default","store":true,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto",`+
		`"tools":[],"top_p":1.0,"truncation":"disabled","usage":`...)
	if begun || c.fault == FaultNoUsage {
		b = append(b, "null"...)
	} else {
		b = appendResponseUsage(b, c.reply.usage)
	}
	return append(b, `,"user":null,"metadata":{}}`...)
}

func appendResponseUsage(b []byte, u domain.Usage) []byte {
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, u.PromptTokens(), 10)
	b = append(b, `,"input_tokens_details":`...)
	b = appendCacheDetails(b, u, "")
	b = append(b, `,"output_tokens":`...)
	b = strconv.AppendInt(b, u.CompletionTokens(), 10)
	b = append(b, `,"output_tokens_details":{"reasoning_tokens":`...)
	b = strconv.AppendInt(b, u[domain.ReasoningTokens], 10)
	b = append(b, `},"total_tokens":`...)
	b = strconv.AppendInt(b, u.PromptTokens()+u.CompletionTokens(), 10)
	return append(b, '}')
}

// An item of a response's output: hidden reasoning, then a message or tool
// calls.
type item struct {
	kind itemKind
	tool int // of toolItem: which one
	n    int // its place in the output
}

type itemKind uint8

const (
	reasoningItem itemKind = iota
	messageItem
	toolItem
)

func (c *call) items() []item {
	var items []item
	if c.reply.usage[domain.ReasoningTokens] > 0 {
		items = append(items, item{kind: reasoningItem})
	}
	for i := range c.reply.tools {
		items = append(items, item{kind: toolItem, tool: i, n: len(items)})
	}
	if len(c.reply.tools) == 0 {
		items = append(items, item{kind: messageItem, n: len(items)})
	}
	return items
}

func (c *call) appendOutput(b []byte) []byte {
	for i, it := range c.items() {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.appendItem(b, it, true)
	}
	return b
}

// appendItem appends an item, as it begins or as it is when it's done.
func (c *call) appendItem(b []byte, it item, done bool) []byte {
	b = append(b, `{"id":"`...)
	b = appendID(b, it.prefix(), c.partID(it.n))
	b = append(b, `","type":"`...)
	status := "in_progress"
	if done {
		status = "completed"
	}
	switch it.kind {
	case reasoningItem:
		return append(b, `reasoning","summary":[]}`...)
	case toolItem:
		b = append(b, `function_call","status":"`+status+`","call_id":"`...)
		b = appendID(b, "call_", c.partID(it.n))
		b = append(b, `","name":`...)
		b = appendString(b, c.reply.tools[it.tool].name)
		b = append(b, `,"arguments":"`...)
		if done {
			b = appendEscaped(b, c.reply.tools[it.tool].args.whole())
		}
		return append(b, `"}`...)
	default:
		b = append(b, `message","status":"`+status+`","role":"assistant","content":[`...)
		if done {
			b = c.appendContent(b, true)
		}
		return append(b, "]}"...)
	}
}

// prefix is how ids of such items begin.
func (it item) prefix() string {
	switch it.kind {
	case reasoningItem:
		return "rs_"
	case toolItem:
		return "fc_"
	default:
		return "msg_"
	}
}

// appendContent appends the one content part of a message.
func (c *call) appendContent(b []byte, done bool) []byte {
	if c.reply.stop == llm.StopRefusal {
		b = append(b, `{"type":"refusal","refusal":"`...)
		if done {
			b = c.appendWhole(b)
		}
		return append(b, `"}`...)
	}
	b = append(b, `{"type":"output_text","text":"`...)
	if done {
		b = c.appendWhole(b)
	}
	return append(b, `","annotations":[],"logprobs":[]}`...)
}
