package sim

import (
	"manti/proxy/dialect"
)

// requestID is the provider's id of the call, in its header.
func (c *call) requestID() string {
	if c.askedID == "" {
		c.askedID = string(appendID(make([]byte, 0, 20), "req_", c.id))
	}
	return c.askedID
}

// answerPrefix is how ids of answers begin.
func (c *call) answerPrefix() string {
	switch c.endpoint {
	case dialect.ChatCompletions:
		return "chatcmpl-"
	case dialect.Responses:
		return "resp_"
	case dialect.Completions:
		return "cmpl-"
	case dialect.Messages:
		return "msg_"
	default:
		return ""
	}
}

// answerID is the id in the answer's body; embeddings and token counts have
// none.
func (c *call) answerID() string {
	prefix := c.answerPrefix()
	if prefix == "" {
		return ""
	}
	return string(appendID(nil, prefix, c.id))
}

// appendID appends a prefix and 16 hexadecimal digits.
func appendID(b []byte, prefix string, id uint64) []byte {
	const hex = "0123456789abcdef"
	b = append(b, prefix...)
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hex[id>>shift&15])
	}
	return b
}

// partID is the id of a call's nth part: a tool call, an output item.
func (c *call) partID(n int) uint64 { return mix(c.id + uint64(n+1)) }
