// Package openai is the wire shape of OpenAI's API
// (https://platform.openai.com/docs/api-reference): chat completions in full,
// both ways; of responses, completions and embeddings what a relay must know.
//
// It also reads what the many providers of the same shape do differently:
// usage in another place, reasoning under another name, missing indexes and
// ids, errors in any form. What it writes is OpenAI's own, with these extensions,
// which clients that don't know them ignore:
//
//   - reasoning_content and thinking_blocks of an assistant's message or delta:
//     the model's thinking as text, and as the blocks with the signatures that must come
//     back unchanged ({"type":"thinking","thinking":…,"signature":…} or
//     {"type":"redacted_thinking","data":…}); a delta's blocks are whole;
//   - native_finish_reason and stop_sequence of a choice: the provider's own word, where
//     OpenAI's says less;
//   - cache_control of a content part or tool in requests, as Anthropic defines
//     it; top_k and thinking of a request.
//
// Numbers stay text from one side to the other. Nothing here does I/O, reads a clock or
// keeps state between calls, so there is nothing to recover after a crash.
package openai

import (
	"bytes"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// Dialect is the OpenAI shape. The zero value is ready.
type Dialect struct{}

var _ dialect.Dialect = Dialect{}

// Name is dialect.OpenAI.
func (Dialect) Name() dialect.Name { return dialect.OpenAI }

// Meter reads the usage of an answer to endpoint.
func (Dialect) Meter(endpoint dialect.Endpoint) dialect.Meter {
	if endpoint == dialect.Responses {
		return &responsesMeter{}
	}
	return &chatMeter{}
}

// Parser reads a chat stream.
func (Dialect) Parser() dialect.Parser { return &parser{} }

// Printer writes a chat stream for the caller of req.
func (Dialect) Printer(req *llm.Request) dialect.Printer {
	return &printer{usage: req.IncludeUsage, model: req.Model, legacy: req.LegacyFunctions, thinkPart: -1}
}

// FieldName is field: the hub names its fields as OpenAI does. Reasoning that
// was asked for in Anthropic's way, an extension, is thinking.
func (Dialect) FieldName(req *llm.Request, field string) string {
	if re := req.Reasoning; field == "reasoning_effort" && re != nil && re.Effort == "" {
		return "thinking"
	}
	return field
}

// doneMark is the data of the frame that ends a stream of chat chunks.
const doneMark = "[DONE]"

func isDone(data []byte) bool {
	const most = len(doneMark) + 8 // some servers pad it
	return len(data) <= most && string(bytes.TrimSpace(data)) == doneMark
}

// brokenAnswer is the error for an answer that isn't of this shape.
func brokenAnswer(what string) *domain.Error {
	return &domain.Error{Code: domain.CodeUpstream, Message: "The provider's answer can't be read: " + what + "."}
}
