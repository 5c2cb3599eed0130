package anthropic

import (
	"strings"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// RenderAnswer writes a whole answer for a caller. What Anthropic's API has no
// place for is left out: log probabilities, and blocks that only another
// dialect knows. A refusal becomes text with stop_reason refusal. Nothing of the
// request changes how.
func (Dialect) RenderAnswer(answer *llm.Answer, _ *llm.Request) ([]byte, error) {
	var w writer
	refused := false
	w.open('{')
	messageHead(&w, answer.ID, answer.Model)
	w.key("content")
	w.open('[')
	for i := range answer.Parts {
		refused = refused || answer.Parts[i].Kind == llm.Refusal
		answerBlock(&w, &answer.Parts[i])
	}
	w.close(']')
	w.nullableField("stop_reason", nativeStop(answer.Stop, refused))
	w.nullableField("stop_sequence", answer.Stop.Sequence)
	w.key("usage")
	appendUsage(&w, &answer.Usage)
	w.close('}')
	return w, nil
}

// messageHead writes the first fields of a message object.
func messageHead(w *writer, id, model string) {
	w.strField("id", messageID(id))
	w.strField("type", "message")
	w.strField("role", "assistant")
	w.strField("model", model)
}

// messageID is id in Anthropic's form: another provider's keeps what makes it
// unique.
func messageID(id string) string {
	if strings.HasPrefix(id, "msg_") {
		return id
	}
	if _, unique, found := strings.Cut(id, "-"); found { // chatcmpl-…, gen-…
		id = unique
	}
	return "msg_" + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, id)
}

// answerBlock writes one part of an answer.
func answerBlock(w *writer, p *llm.Part) {
	switch p.Kind {
	case llm.Text, llm.Refusal:
		if p.Text == "" {
			return
		}
		w.open('{')
		w.strField("type", "text")
		w.strField("text", p.Text)
	case llm.Thinking:
		w.open('{')
		w.strField("type", "thinking")
		w.strField("thinking", p.Text)
		w.strField("signature", p.Signature)
	case llm.RedactedThinking:
		w.open('{')
		w.strField("type", "redacted_thinking")
		w.strField("data", p.Data)
	case llm.ToolUse:
		w.open('{')
		w.strField("type", "tool_use")
		w.strField("id", p.ToolID)
		w.strField("name", p.ToolName)
		w.key("input")
		appendInput(w, p.Args)
	default:
		return
	}
	w.close('}')
}

// appendInput writes a tool's arguments as an object. A model may write what is none,
// above all when its output was cut: then the text is kept under the name that
// Anthropic advises for that.
func appendInput(w *writer, args string) {
	if strings.TrimSpace(args) == "" {
		args = "{}"
	}
	if _, err := scan.Object([]byte(args), nil); err == nil {
		w.raw([]byte(args))
		return
	}
	w.open('{')
	w.strField("INVALID_JSON", args)
	w.close('}')
}

// appendUsage writes a usage object. Prompt tokens of all kinds that no cache
// had a part in are input_tokens.
func appendUsage(w *writer, r *llm.Reading) {
	u := &r.Usage
	w.open('{')
	w.intField("input_tokens", u[domain.InputTokens]+u[domain.InputAudioTokens]+u[domain.InputImageTokens])
	w.intField("cache_creation_input_tokens", u[domain.CacheWrite5mTokens]+u[domain.CacheWrite1hTokens])
	w.intField("cache_read_input_tokens", u[domain.CacheReadTokens])
	w.key("cache_creation")
	w.open('{')
	w.intField("ephemeral_5m_input_tokens", u[domain.CacheWrite5mTokens])
	w.intField("ephemeral_1h_input_tokens", u[domain.CacheWrite1hTokens])
	w.close('}')
	w.intField("output_tokens", u.CompletionTokens())
	if n := u[domain.ReasoningTokens]; n > 0 {
		w.key("output_tokens_details")
		w.open('{')
		w.intField("thinking_tokens", n)
		w.close('}')
	}
	if n := u[domain.WebSearches]; n > 0 {
		w.key("server_tool_use")
		w.open('{')
		w.intField("web_search_requests", n)
		w.close('}')
	}
	w.close('}')
}
