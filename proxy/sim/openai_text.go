package sim

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
)

// completionBody renders a plain answer of the legacy completions.
func (c *call) completionBody(b []byte) []byte {
	b = c.appendChatHead(b, "text_completion")
	b = append(b, `,"choices":[`...)
	for i := range c.reply.choices {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"text":"`...)
		b = c.appendWhole(b)
		b = append(b, `","index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"logprobs":null,"finish_reason":"`...)
		b = append(b, finishReason(c.reply.stop)...)
		b = append(b, `"}`...)
	}
	b = append(b, ']')
	if c.fault != FaultNoUsage {
		b = append(b, `,"usage":`...)
		b = appendChatUsage(b, c.reply.usage)
	}
	return append(b, '}')
}

// completions streams them.
func (s *stream) completions() {
	s.prefix = append(s.prefix[:0], "data: "...)
	s.prefix = s.appendChatHead(s.prefix, "text_completion")
	s.prefix = append(s.prefix, `,"choices":[`...)
	for choice := range s.reply.choices {
		index := strconv.Itoa(choice)
		s.chunks(s.reply.said, func(from, to int) {
			b := append(s.frame[:0], s.prefix...)
			b = append(b, `{"text":"`...)
			b = s.appendPiece(b, s.reply.said, from, to)
			b = append(b, `","index":`...)
			b = append(b, index...)
			s.say(s.chatEnd(append(b, `,"logprobs":null,"finish_reason":null}]`...)), to-from)
		})
		b := append(s.frame[:0], s.prefix...)
		b = append(b, `{"text":"","index":`...)
		b = append(b, index...)
		b = append(b, `,"logprobs":null,"finish_reason":"`...)
		b = append(b, finishReason(s.reply.stop)...)
		s.put(s.chatEnd(append(b, `"}]`...)))
	}
	s.openAIEnd()
}

// Dimensions of embeddings: real ones have more, which only costs time.
const (
	defaultDimensions = 64
	maxDimensions     = 4096
)

// embeddingBody renders an embedding for each input.
func (c *call) embeddingBody(b []byte) []byte {
	dimensions := defaultDimensions
	if c.req.dimensions > 0 {
		dimensions = min(c.req.dimensions, maxDimensions)
	}
	b = append(b, `{"object":"list","data":[`...)
	for i := range inputs(c.req.messages) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"embedding":`...)
		b = c.appendVector(b, dimensions)
		b = append(b, '}')
	}
	b = append(b, `],"model":`...)
	b = appendString(b, c.req.model)
	if c.fault == FaultNoUsage {
		return append(b, '}')
	}
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, c.reply.usage.PromptTokens(), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, c.reply.usage.PromptTokens(), 10)
	return append(b, "}}"...)
}

// inputs is how many texts an embeddings request has: a string or an array of
// token numbers is one, an array of strings or arrays has many.
func inputs(input json.RawMessage) int {
	var many []json.RawMessage
	if json.Unmarshal(input, &many) != nil || len(many) == 0 || number(many[0]) != 0 {
		return 1
	}
	return len(many)
}

// appendVector appends a vector of multiples of 1/1024 in [−1, 1), as numbers
// or as the base64 of little-endian float32.
func (c *call) appendVector(b []byte, dimensions int) []byte {
	if !c.req.base64 {
		b = append(b, '[')
		for i := range dimensions {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendFloat(b, c.coordinate(), 'f', -1, 32)
		}
		return append(b, ']')
	}
	var packed []byte
	for range dimensions {
		packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(float32(c.coordinate())))
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, packed)
	return append(b, '"')
}

func (c *call) coordinate() float64 { return float64(c.draw.below(2048)-1024) / 1024 }
