package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"manti/proxy/llm"
)

// RenderAnswer writes a whole chat completion of one choice. Created is written
// as it is: whoever has a clock sets it. Usage is left out if none was
// reported. Parts that only their own dialect knows are left out: they are
// steps of the provider's, not the answer.
//
// A caller that speaks of functions gets its call as function_call. There is
// room for one: of a provider that makes several although it was told not to,
// the first stands, and the model makes the others when it has the result.
func (Dialect) RenderAnswer(answer *llm.Answer, req *llm.Request) ([]byte, error) {
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
	tools, refused := writeMessage(&w, answer.Parts, req.LegacyFunctions)
	w.key("logprobs")
	w.out = append(w.out, orNull(answer.LogProbs)...)
	writeFinish(&w, answer.Stop, said{tools: tools, refused: refused, legacy: req.LegacyFunctions})
	w.close('}')
	w.close(']')
	if answer.Usage.Found {
		writeUsage(&w, answer.Usage.Usage)
	}
	w.close('}')
	return w.out, nil
}

// writeMessage reports whether the message calls tools, and whether it refuses.
func writeMessage(w *writer, parts []llm.Part, legacy bool) (tools, refused bool) {
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
	if legacy {
		tools = writeFunctionCall(w, parts)
	} else {
		tools = writeCalls(w, parts)
	}
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

// writeFunctionCall writes the first call in the form of before.
func writeFunctionCall(w *writer, parts []llm.Part) (some bool) {
	i := slices.IndexFunc(parts, func(p llm.Part) bool { return p.Kind == llm.ToolUse })
	if i < 0 {
		return false
	}
	w.key("function_call")
	w.open('{')
	w.text("name", parts[i].ToolName)
	w.text("arguments", firstOf(parts[i].Args, "{}"))
	w.close('}')
	return true
}

func orNull(raw []byte) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}
