package openai

import (
	"encoding/json"
	"strings"

	"manti/proxy/llm"
)

// RenderAnswer writes a whole chat completion of one choice. Created is written
// as it is: whoever has a clock sets it. Usage is left out if none was
// reported. Parts that only their own dialect knows are left out: they are
// steps of the provider's, not the answer.
func (Dialect) RenderAnswer(answer *llm.Answer) ([]byte, error) {
	var w writer
	w.open('{')
	w.text("id", answer.ID)
	w.text("object", "chat.completion")
	w.number("created", answer.Created)
	w.text("model", answer.Model)
	w.key("choices")
	w.open('[')
	w.open('{')
	w.number("index", 0)
	tools, refused := writeMessage(&w, answer.Parts)
	w.key("logprobs")
	w.out = append(w.out, orNull(answer.LogProbs)...)
	writeFinish(&w, answer.Stop, tools, refused)
	w.close('}')
	w.close(']')
	if answer.Usage.Found {
		writeUsage(&w, answer.Usage.Usage)
	}
	w.close('}')
	return w.out, nil
}

// writeMessage reports whether the message calls tools, and whether it refuses.
func writeMessage(w *writer, parts []llm.Part) (tools, refused bool) {
	var text, refusal, thinking strings.Builder
	var annotations json.RawMessage
	for _, p := range parts {
		switch p.Kind {
		case llm.Text:
			text.WriteString(p.Text)
			annotations = p.Extra["annotations"]
		case llm.Refusal:
			refusal.WriteString(p.Text)
		case llm.Thinking:
			thinking.WriteString(p.Text)
		}
	}
	w.key("message")
	w.open('{')
	w.text("role", string(llm.Assistant))
	w.optional("content", text.String())
	w.optional("refusal", refusal.String())
	w.json("annotations", annotations)
	w.said("reasoning_content", thinking.String())
	writeBlocks(w, parts)
	tools = writeCalls(w, parts)
	w.close('}')
	return tools, refusal.Len() > 0
}

// writeBlocks writes the thinking that must come back unchanged: what is signed
// or redacted.
func writeBlocks(w *writer, parts []llm.Part) {
	some := false
	for i := range parts {
		p := &parts[i]
		if p.Kind != llm.RedactedThinking && (p.Kind != llm.Thinking || p.Signature == "") {
			continue
		}
		if !some {
			w.key("thinking_blocks")
			w.open('[')
			some = true
		}
		writeBlock(w, p)
	}
	if some {
		w.close(']')
	}
}

func writeBlock(w *writer, p *llm.Part) {
	w.open('{')
	if p.Kind == llm.RedactedThinking {
		w.text("type", "redacted_thinking")
		w.text("data", p.Data)
	} else {
		w.text("type", "thinking")
		w.text("thinking", p.Text)
		w.text("signature", p.Signature)
	}
	w.close('}')
}

func writeCalls(w *writer, parts []llm.Part) (some bool) {
	for i := range parts {
		p := &parts[i]
		if p.Kind != llm.ToolUse {
			continue
		}
		if !some {
			w.key("tool_calls")
			w.open('[')
			some = true
		}
		writeCall(w, -1, p.ToolID, p.ToolName, firstOf(p.Args, "{}"))
	}
	if some {
		w.close(']')
	}
	return some
}

func orNull(raw []byte) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}
