package anthropic

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// blocks writes content blocks.
func (r *renderer) blocks(parts []placed) {
	r.w.open('[')
	for _, p := range parts {
		r.w.open('{')
		r.block(p)
		if p.CacheTTL != "" {
			r.cacheControl(p.CacheTTL)
		}
		r.w.close('}')
	}
	r.w.close(']')
}

// block writes the fields of one block.
func (r *renderer) block(p placed) {
	w := &r.w
	switch p.Kind {
	case llm.Image:
		w.strField("type", "image")
		r.source(p)
	case llm.File:
		w.strField("type", "document")
		r.source(p)
		if p.Media.Name != "" {
			w.strField("title", p.Media.Name)
		}
	case llm.ToolUse:
		w.strField("type", "tool_use")
		w.strField("id", p.ToolID)
		w.strField("name", p.ToolName)
		w.key("input")
		w.raw(r.input(p))
	case llm.ToolResult:
		w.strField("type", "tool_result")
		w.strField("tool_use_id", p.ToolID)
		r.result(p)
		if p.IsError {
			w.boolField("is_error", true)
		}
	case llm.Thinking:
		w.strField("type", "thinking")
		w.strField("thinking", p.Text)
		w.strField("signature", p.Signature)
	case llm.RedactedThinking:
		w.strField("type", "redacted_thinking")
		w.strField("data", p.Data)
	default: // Text, Refusal
		w.strField("type", "text")
		w.strField("text", p.Text)
	}
}

// input is a tool's arguments, which must be an object.
func (r *renderer) input(p placed) json.RawMessage {
	args := []byte(p.Args)
	if strings.TrimSpace(p.Args) == "" {
		return json.RawMessage("{}")
	}
	if _, err := scan.Object(args, nil); err != nil {
		r.fail(p.path, "The arguments of the call of tool "+p.ToolName+" are no JSON object: "+err.Error()+".")
		return json.RawMessage("{}")
	}
	return args
}

// result writes the content of a tool result, left out if there is none.
func (r *renderer) result(p placed) {
	m := llm.Message{Role: llm.Tool, Parts: p.Result}
	if parts := r.writable(&m, strings.TrimSuffix(p.path, ".content")); len(parts) > 0 {
		r.w.key("content")
		r.blocks(parts)
	}
}

// cacheControl writes a cache breakpoint. Anthropic knows 5 minutes, its
// default, and an hour.
func (r *renderer) cacheControl(ttl string) {
	r.w.key("cache_control")
	r.w.open('{')
	r.w.strField("type", "ephemeral")
	if ttl == "1h" {
		r.w.strField("ttl", ttl)
	}
	r.w.close('}')
}

// source writes where an image or document is.
func (r *renderer) source(p placed) {
	m := inlined(p.Media)
	w := &r.w
	w.key("source")
	w.open('{')
	switch {
	case m.FileID != "":
		w.strField("type", "file")
		w.strField("file_id", m.FileID)
	case m.URL != "":
		w.strField("type", "url")
		w.strField("url", m.URL)
	case m.Text != "" || strings.HasPrefix(m.MIME, "text/"):
		w.strField("type", "text")
		w.strField("media_type", "text/plain")
		w.strField("data", r.plainText(p, m))
	default:
		w.strField("type", "base64")
		w.strField("media_type", m.MIME)
		w.strField("data", m.Base64)
	}
	w.close('}')
}

// plainText is a text document's content.
func (r *renderer) plainText(p placed, m *llm.Media) string {
	if m.Text != "" {
		return m.Text
	}
	text, err := base64.StdEncoding.DecodeString(m.Base64)
	if err != nil {
		r.fail(p.path, "The document's data is no base64.")
	}
	return string(text)
}

// inlined takes a data URL apart.
func inlined(m *llm.Media) *llm.Media {
	head, data, found := strings.Cut(m.URL, ",")
	mime, isData := strings.CutPrefix(head, "data:")
	mime, is64 := strings.CutSuffix(mime, ";base64")
	if !found || !isData || !is64 {
		return m
	}
	return &llm.Media{MIME: mime, Base64: data, Name: m.Name}
}

// sortedNames are a map's keys in order.
func sortedNames(m map[string]json.RawMessage) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
