package openai

import (
	"maps"
	"slices"
	"strconv"

	"manti/proxy/llm"
)

// messages writes the messages.
//
// Tool results become messages of their own, before what else their message
// holds, as OpenAI wants them right after the calls.
func (r *renderer) messages() {
	r.w.key("messages")
	r.w.open('[')
	for i := range r.req.Messages {
		r.message(&r.req.Messages[i], r.path(i)+".content")
	}
	r.flush()
	r.w.close(']')
	if last := len(r.req.Messages) - 1; last >= 0 && r.req.Messages[last].Role == llm.Assistant {
		r.meaning(r.path(last), "OpenAI's models don't go on with an answer that was begun for them.")
	}
}

// path is where a message stood in the caller's request.
func (r *renderer) path(i int) string {
	return firstOf(r.req.Messages[i].Path, "messages["+strconv.Itoa(i)+"]")
}

// located is a part with its path in the caller's terms.
type located struct {
	path string
	part *llm.Part
}

// locate is the i-th of the parts that path names.
func locate(path string, parts []llm.Part, i int) located {
	return located{firstOf(parts[i].Path, path+"["+strconv.Itoa(i)+"]"), &parts[i]}
}

func (r *renderer) message(m *llm.Message, path string) {
	if m.Role == llm.Assistant {
		r.flush()
		r.assistant(m, path)
		return
	}
	var results, others []located
	for i := range m.Parts {
		p := locate(path, m.Parts, i)
		if p.part.CacheTTL != "" {
			r.cacheHint()
		}
		if p.part.Kind == llm.ToolResult {
			results = append(results, p)
			continue
		}
		others = append(others, p)
	}
	for _, p := range results {
		r.toolResult(p)
	}
	if m.Role == llm.Tool {
		return // what followed waits for the other results of the turn
	}
	if m.Role != llm.User {
		r.flush()
	}
	if others = append(r.followUp, others...); len(others) == 0 && len(results) > 0 {
		return
	}
	r.followUp = nil
	r.open(m.Role, m.Name)
	r.content(others)
	r.w.close('}')
}

// flush writes what tool messages couldn't carry as a message of the user's.
func (r *renderer) flush() {
	if len(r.followUp) == 0 {
		return
	}
	r.open(llm.User, "")
	r.content(r.followUp)
	r.w.close('}')
	r.followUp = nil
}

func (r *renderer) open(role llm.Role, name string) {
	r.w.open('{')
	r.w.text("role", string(role))
	r.w.said("name", name)
}

// content writes text alone as a string, anything else as a list of parts.
func (r *renderer) content(parts []located) {
	if len(parts) == 0 {
		r.w.text("content", "")
		return
	}
	if text, ok := documentText(parts[0].part); ok && len(parts) == 1 {
		r.extras(parts[0])
		r.w.text("content", text)
		return
	}
	r.w.key("content")
	r.w.open('[')
	for _, p := range parts {
		r.part(p)
	}
	r.w.close(']')
}

// extras names what a part has besides what the hub knows, such as citations.
func (r *renderer) extras(p located) {
	for _, name := range slices.Sorted(maps.Keys(p.part.Extra)) {
		r.hint(p.path+"."+name, "OpenAI's API has no such field.")
	}
}

// assistant writes an answer of before: its text, then its calls. Thinking stays
// behind, since OpenAI takes none back.
func (r *renderer) assistant(m *llm.Message, path string) {
	var content []located
	var calls []*llm.Part
	refusal, audio := "", ""
	for i := range m.Parts {
		p := locate(path, m.Parts, i)
		if p.part.CacheTTL != "" {
			r.cacheHint()
		}
		switch p.part.Kind {
		case llm.Thinking, llm.RedactedThinking:
			r.hint("messages[].content[].thinking", "OpenAI's API takes no thinking back.")
		case llm.ToolUse:
			calls = append(calls, p.part)
		case llm.Opaque:
			if get(p.part.Raw, getString(p.part.Raw, "type")) != nil && getString(p.part.Raw, "id") != "" {
				calls = append(calls, p.part) // a call of a tool of OpenAI's own kind
				continue
			}
			r.opaque(p)
		case llm.Refusal:
			refusal += p.part.Text
		case llm.Audio:
			audio = p.part.Media.FileID
		default:
			content = append(content, p)
		}
	}
	r.open(llm.Assistant, m.Name)
	if len(content) > 0 || len(calls) == 0 && refusal == "" && audio == "" {
		r.content(content)
	} else {
		r.w.optional("content", "") // some servers want it said
	}
	r.w.said("refusal", refusal)
	if audio != "" {
		r.w.key("audio")
		r.w.open('{')
		r.w.text("id", audio)
		r.w.close('}')
	}
	r.calls(calls)
	r.w.close('}')
}

func (r *renderer) calls(calls []*llm.Part) {
	if len(calls) == 0 {
		return
	}
	r.w.key("tool_calls")
	r.w.open('[')
	for _, p := range calls {
		if p.Kind == llm.Opaque {
			r.w.raw(p.Raw)
			continue
		}
		writeCall(&r.w, -1, p.ToolID, p.ToolName, firstOf(p.Args, "{}"))
	}
	r.w.close(']')
}

// writeCall writes a tool call; index only if it isn't negative.
func writeCall(w *writer, index int, id, name, args string) {
	w.open('{')
	if index >= 0 {
		w.number("index", int64(index))
	}
	w.text("id", id)
	w.text("type", "function")
	w.key("function")
	w.open('{')
	w.text("name", name)
	w.text("arguments", args)
	w.close('}')
	w.close('}')
}

func (r *renderer) opaque(p located) {
	kind := firstOf(getString(p.part.Raw, "type"), "unknown")
	r.meaning(p.path, "OpenAI's API has no content of the type "+kind+".")
}
