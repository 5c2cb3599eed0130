package anthropic

import (
	"encoding/json"
	"strings"

	"manti/proxy/llm"
)

// content reads a content field: a string or an array of blocks.
func (r *reader) content(path string, raw json.RawMessage) []llm.Part {
	if len(raw) == 0 {
		return nil
	}
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			r.fail(path, "a string or an array of blocks")
		}
		return []llm.Part{{Kind: llm.Text, Text: s, Path: path}}
	}
	if raw[0] != '[' {
		r.fail(path, "a string or an array of blocks")
		return nil
	}
	var parts []llm.Part
	for i, block := range r.array(path, raw) {
		parts = append(parts, r.block(at(path, i), block))
	}
	return parts
}

// block reads one content block. A kind that isn't known, or that only
// Anthropic has, is kept whole.
func (r *reader) block(path string, raw json.RawMessage) llm.Part {
	o := r.object(path, raw)
	part := llm.Part{Path: path}
	switch o.need("type") {
	case "text":
		part.Kind, part.Text = llm.Text, o.need("text")
	case "image":
		part.Kind, part.Media = llm.Image, o.source()
	case "document":
		part.Kind, part.Media = llm.File, o.source()
		if part.Media != nil {
			part.Media.Name = o.str("title")
		}
	case "tool_use":
		part.Kind, part.ToolID, part.ToolName = llm.ToolUse, o.need("id"), o.need("name")
		part.Args = string(o.take("input"))
	case "tool_result":
		part.Kind, part.ToolID = llm.ToolResult, o.need("tool_use_id")
		part.Result = r.content(o.name("content"), o.take("content"))
		if failed := o.boolean("is_error"); failed != nil {
			part.IsError = *failed
		}
	case "thinking":
		part.Kind, part.Text, part.Signature = llm.Thinking, o.str("thinking"), o.str("signature")
	case "redacted_thinking":
		part.Kind, part.Data = llm.RedactedThinking, o.str("data")
	default:
		return llm.Part{Kind: llm.Opaque, Raw: raw, Path: path}
	}
	if part.Media == nil && (part.Kind == llm.Image || part.Kind == llm.File) {
		return llm.Part{Kind: llm.Opaque, Raw: raw, Path: path}
	}
	part.CacheTTL = o.cacheTTL()
	part.Extra = o.rest()
	return part
}

// cacheTTL takes cache_control; it stays if it isn't of the known kind.
func (o object) cacheTTL() string {
	var control struct {
		Type string `json:"type"`
		TTL  string `json:"ttl"`
	}
	raw := o.m["cache_control"]
	if raw == nil || json.Unmarshal(raw, &control) != nil || control.Type != "ephemeral" {
		return ""
	}
	delete(o.m, "cache_control")
	if control.TTL == "" {
		return "5m"
	}
	return control.TTL
}

// source takes the source of an image or document; nil if the hub has no form
// for it.
func (o object) source() *llm.Media {
	s, ok := o.child("source")
	if !ok {
		if o.r.err == nil {
			o.r.err = missing(o.name("source"), nil, "")
		}
		return nil
	}
	switch s.need("type") {
	case "base64":
		return &llm.Media{MIME: s.need("media_type"), Base64: s.need("data")}
	case "url":
		return &llm.Media{URL: s.need("url")}
	case "file":
		return &llm.Media{FileID: s.need("file_id")}
	case "text":
		return &llm.Media{MIME: "text/plain", Text: s.need("data")}
	case "content":
		return plainDocument(o.r.content(s.name("content"), s.take("content")))
	}
	return nil
}

// plainDocument is a document given as blocks, if all of them are text. Its
// blocks become paragraphs.
func plainDocument(parts []llm.Part) *llm.Media {
	texts := make([]string, len(parts))
	for i, p := range parts {
		if p.Kind != llm.Text {
			return nil
		}
		texts[i] = p.Text
	}
	return &llm.Media{MIME: "text/plain", Text: strings.Join(texts, "\n\n")}
}
