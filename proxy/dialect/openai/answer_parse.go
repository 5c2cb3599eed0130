package openai

import (
	"bytes"
	"encoding/json"
	"strconv"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// ParseAnswer reads a whole chat completion: its first choice. An error in the body
// of a 200 is a CodeUpstream error with the provider's message.
func (Dialect) ParseAnswer(body []byte) (*llm.Answer, error) {
	var m chatMeter
	if m.Body(body); m.err != nil {
		return nil, &domain.Error{Code: domain.CodeUpstream, Message: m.err.Message}
	}
	choices := walk(get(body, "choices"))
	choice, ok := choices.element()
	if !ok {
		return nil, brokenAnswer("it has no choices")
	}
	a := &llm.Answer{ID: m.reading.AnswerID, Model: m.reading.Model, Created: count(get(body, "created")), Usage: m.reading}
	message := get(choice, "message")
	if !isKind(message, '{') {
		return nil, brokenAnswer("its choice has no message")
	}
	a.Parts = answerParts(message, a.ID)
	a.LogProbs = json.RawMessage(bytes.Clone(get(choice, "logprobs")))
	tools, refused := false, false
	for _, p := range a.Parts {
		tools = tools || p.Kind == llm.ToolUse
		refused = refused || p.Kind == llm.Refusal
	}
	a.Stop = stopOf(getString(choice, "finish_reason"), tools, refused)
	stopSequence(&a.Stop, choice)
	return a, nil
}

// stopSequence reads the stop sequence that matched: vLLM says it as
// stop_reason, manti as stop_sequence.
func stopSequence(stop *llm.Stop, choice []byte) {
	stop.Sequence = firstOf(getString(choice, "stop_sequence"), getString(choice, "stop_reason"))
	if stop.Sequence != "" && stop.Reason == llm.StopEnd {
		stop.Reason = llm.StopSequence
	}
}

// answerParts reads a message: thinking, then content, then calls.
func answerParts(message []byte, answerID string) []llm.Part {
	parts := answerThinking(message)
	content := get(message, "content")
	if text, ok := scan.String(content); ok && text != "" {
		part := llm.Part{Kind: llm.Text, Text: text}
		if notes := get(message, "annotations"); len(notes) > len("[]") {
			part.Extra = map[string]json.RawMessage{"annotations": bytes.Clone(notes)}
		}
		parts = append(parts, part)
	}
	if isKind(content, '[') {
		parts = append(parts, contentParts(content)...)
	}
	if refusal := getString(message, "refusal"); refusal != "" {
		parts = append(parts, llm.Part{Kind: llm.Refusal, Text: refusal})
	}
	n := 0
	calls := walk(get(message, "tool_calls"))
	for call, ok := calls.element(); ok; call, ok = calls.element() {
		parts = append(parts, answerCall(call, answerID, n))
		n++
	}
	if call := get(message, "function_call"); n == 0 && getString(call, "name") != "" {
		parts = append(parts, llm.Part{
			Kind: llm.ToolUse, ToolID: callID(answerID, 0),
			ToolName: getString(call, "name"), Args: arguments(get(call, "arguments")),
		})
	}
	return parts
}

// answerThinking reads the model's thinking under any of its names.
func answerThinking(message []byte) []llm.Part {
	var parts []llm.Part
	blocks := walk(get(message, "thinking_blocks"))
	for block, ok := blocks.element(); ok; block, ok = blocks.element() {
		switch string(typeOf(block)) {
		case "thinking":
			parts = append(parts, llm.Part{
				Kind: llm.Thinking, Text: getString(block, "thinking"), Signature: getString(block, "signature"),
			})
		case "redacted_thinking":
			parts = append(parts, llm.Part{Kind: llm.RedactedThinking, Data: getString(block, "data")})
		}
	}
	if parts != nil {
		return parts
	}
	if text := firstOf(getString(message, "reasoning_content"), getString(message, "reasoning")); text != "" {
		return []llm.Part{{Kind: llm.Thinking, Text: text}}
	}
	return nil
}

// contentParts reads content that is a list, as Mistral's thinking models have.
func contentParts(raw []byte) []llm.Part {
	var parts []llm.Part
	w := walk(raw)
	for part, ok := w.element(); ok; part, ok = w.element() {
		switch string(typeOf(part)) {
		case "text":
			parts = append(parts, llm.Part{Kind: llm.Text, Text: getString(part, "text")})
		case "refusal":
			parts = append(parts, llm.Part{Kind: llm.Refusal, Text: getString(part, "refusal")})
		case "thinking":
			parts = append(parts, llm.Part{Kind: llm.Thinking, Text: listText(get(part, "thinking"))})
		default:
			parts = append(parts, llm.Part{Kind: llm.Opaque, Raw: bytes.Clone(part)})
		}
	}
	return parts
}

// listText is a string, or the text of a list of {type, text} put together.
func listText(raw []byte) string {
	if text, ok := scan.String(raw); ok {
		return text
	}
	var all []byte
	w := walk(raw)
	for part, ok := w.element(); ok; part, ok = w.element() {
		all, _ = appendText(all, get(part, "text"))
	}
	return string(all)
}

// appendText appends the string raw, nothing if it is none.
func appendText(dst, raw []byte) ([]byte, bool) {
	if !isKind(raw, '"') {
		return dst, false
	}
	return scan.AppendDecoded(dst, raw)
}

func answerCall(call []byte, answerID string, n int) llm.Part {
	f := get(call, "function")
	if f == nil {
		return llm.Part{Kind: llm.Opaque, Raw: bytes.Clone(call)}
	}
	return llm.Part{
		Kind:     llm.ToolUse,
		ToolID:   firstOf(getString(call, "id"), callID(answerID, n)),
		ToolName: getString(f, "name"),
		Args:     arguments(get(f, "arguments")),
	}
}

// callID makes an id for the nth call of an answer, for providers that give
// none. It follows from the answer's id, so each answer's are its own.
func callID(answerID string, n int) string {
	return "call_" + answerID + "_" + strconv.Itoa(n)
}

// arguments are a JSON object in a string, or from some providers the object
// itself.
func arguments(raw []byte) string {
	if text, ok := scan.String(raw); ok {
		return text
	}
	return string(raw)
}
