package openai

import (
	"encoding/json"
	"strconv"
	"strings"

	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

func parseMessages(o *object, req *llm.Request) {
	raw := o.take("messages")
	if raw == nil {
		o.fail("messages", "it must be an array of messages")
	}
	p := messageParser{r: o.r}
	o.r.list("messages", raw, func(path string, raw []byte) {
		req.Messages = append(req.Messages, p.message(o.r.object(path, raw)))
	})
	if raw != nil && len(req.Messages) == 0 {
		o.fail("messages", "it must hold at least one message")
	}
}

// messageParser reads messages in their order.
type messageParser struct {
	r *reader
	// calls are the ids made up for function_call, the forerunner of
	// tool_calls, which has none: by function, the latest.
	calls map[string]string
	made  int
}

func (p *messageParser) message(o *object) llm.Message {
	role := o.must("role")
	m := llm.Message{Role: llm.Role(role), Name: o.text("name"), Path: o.path}
	switch m.Role {
	case llm.System, llm.Developer, llm.User:
		m.Parts = p.content(o)
	case llm.Assistant:
		m.Parts = p.assistant(o)
	case llm.Tool:
		result := llm.Part{Kind: llm.ToolResult, ToolID: o.must("tool_call_id"), CacheTTL: cacheTTL(o), Path: o.path}
		result.Result = p.content(o)
		m.Parts, m.Name = []llm.Part{result}, ""
	case "function":
		result := llm.Part{Kind: llm.ToolResult, ToolID: p.calls[m.Name], Result: p.content(o), Path: o.path}
		if result.ToolID == "" {
			o.fail("name", "no assistant message before it calls this function")
		}
		m = llm.Message{Role: llm.Tool, Parts: []llm.Part{result}, Path: o.path}
	default:
		o.fail("role", "it must be system, developer, user, assistant or tool")
	}
	return m
}

// assistant reads thinking, then content, then calls.
func (p *messageParser) assistant(o *object) []llm.Part {
	parts := p.thinking(o)
	parts = append(parts, p.content(o)...)
	if refusal := o.text("refusal"); refusal != "" {
		parts = append(parts, llm.Part{Kind: llm.Refusal, Text: refusal, Path: o.name("refusal")})
	}
	if raw := o.take("audio"); raw != nil { // an answer of before, by reference
		parts = append(parts, llm.Part{Kind: llm.Audio, Media: &llm.Media{FileID: getString(raw, "id")}, Path: o.name("audio")})
	}
	o.r.list(o.name("tool_calls"), o.take("tool_calls"), func(path string, raw []byte) {
		parts = append(parts, p.call(o.r.object(path, raw), raw))
	})
	if raw := o.take("function_call"); raw != nil {
		f := o.r.object(o.name("function_call"), raw)
		name := f.must("name")
		id := "call_" + strconv.Itoa(p.made)
		p.made++
		if p.calls == nil {
			p.calls = make(map[string]string)
		}
		p.calls[name] = id
		parts = append(parts, llm.Part{Kind: llm.ToolUse, ToolID: id, ToolName: name, Args: f.text("arguments"), Path: f.path})
	}
	return parts
}

func (p *messageParser) call(o *object, raw []byte) llm.Part {
	if kind := o.text("type"); kind != "" && kind != "function" {
		return llm.Part{Kind: llm.Opaque, Raw: raw, Path: o.path}
	}
	f := o.r.object(o.name("function"), o.take("function"))
	return llm.Part{Kind: llm.ToolUse, ToolID: o.must("id"), ToolName: f.must("name"), Args: f.text("arguments"), Path: o.path}
}

// thinking reads the extensions: blocks if there are any, else the plain text.
func (p *messageParser) thinking(o *object) []llm.Part {
	plain := firstOf(o.text("reasoning_content"), o.text("reasoning"))
	var parts []llm.Part
	o.r.list(o.name("thinking_blocks"), o.take("thinking_blocks"), func(path string, raw []byte) {
		if part, ok := thinkingBlock(o.r.object(path, raw)); ok {
			parts = append(parts, part)
		}
	})
	if parts == nil && plain != "" {
		parts = []llm.Part{{Kind: llm.Thinking, Text: plain, Path: o.name("reasoning_content")}}
	}
	return parts
}

func thinkingBlock(o *object) (llm.Part, bool) {
	switch o.text("type") {
	case "thinking":
		return llm.Part{Kind: llm.Thinking, Text: o.text("thinking"), Signature: o.text("signature"), Path: o.path}, true
	case "redacted_thinking":
		return llm.Part{Kind: llm.RedactedThinking, Data: o.text("data"), Path: o.path}, true
	}
	o.fail("type", "it must be thinking or redacted_thinking")
	return llm.Part{}, false
}

// content reads a message's content: text or a list of parts.
func (p *messageParser) content(o *object) []llm.Part {
	raw := o.take("content")
	if text, ok := scan.String(raw); ok {
		if text == "" {
			return nil
		}
		return []llm.Part{{Kind: llm.Text, Text: text, CacheTTL: cacheTTL(o), Path: o.name("content")}}
	}
	var parts []llm.Part
	o.r.list(o.name("content"), raw, func(path string, raw []byte) {
		parts = append(parts, p.part(o.r.object(path, raw), raw))
	})
	return parts
}

func (p *messageParser) part(o *object, raw []byte) llm.Part {
	part := llm.Part{CacheTTL: cacheTTL(o), Path: o.path}
	switch kind := o.must("type"); kind {
	case "text":
		part.Kind, part.Text = llm.Text, o.must("text")
	case "refusal":
		part.Kind, part.Text = llm.Refusal, o.must("refusal")
	case "thinking", "redacted_thinking":
		part, _ = thinkingBlock(o.r.object(o.path, raw))
		return part
	case "image_url":
		part.Kind, part.Media = llm.Image, imageURL(o)
	case "input_audio":
		a := o.r.object(o.name("input_audio"), o.take("input_audio"))
		part.Kind = llm.Audio
		part.Media = &llm.Media{MIME: audioMIME(a.must("format")), Base64: a.must("data")}
	case "file":
		part.Kind, part.Media = llm.File, file(o.r.object(o.name("file"), o.take("file")))
	default:
		return llm.Part{Kind: llm.Opaque, Raw: json.RawMessage(raw), Path: o.path}
	}
	part.Extra = o.rest()
	return part
}

// imageURL reads {"image_url":{"url","detail"}}, or the URL alone.
func imageURL(o *object) *llm.Media {
	raw := o.take("image_url")
	url, detail := "", ""
	if isKind(raw, '"') {
		url, _ = scan.String(raw)
	} else {
		i := o.r.object(o.name("image_url"), raw)
		url, detail = i.must("url"), i.text("detail")
	}
	m := dataURL(url)
	if detail != "auto" {
		m.Detail = detail
	}
	return m
}

func file(o *object) *llm.Media {
	m := &llm.Media{}
	if data := o.text("file_data"); data != "" {
		if m = dataURL(data); m.URL != "" { // base64 without its MIME type
			m = &llm.Media{MIME: "application/pdf", Base64: data}
		}
	}
	m.FileID, m.Name = o.text("file_id"), o.text("filename")
	if m.FileID == "" && m.Base64 == "" {
		o.fail("file_data", "it must be a base64 string unless file_id is given")
	}
	return m
}

// dataURL takes a data URL with base64 apart; any other stays a reference.
func dataURL(url string) *llm.Media {
	if head, data, ok := strings.Cut(url, ","); ok && strings.HasPrefix(head, "data:") {
		if mime, ok := strings.CutSuffix(head[len("data:"):], ";base64"); ok {
			return &llm.Media{MIME: mime, Base64: data}
		}
	}
	return &llm.Media{URL: url}
}

// audioMIME names an audio format in the hub's terms.
func audioMIME(format string) string {
	if format == "mp3" {
		return "audio/mpeg"
	}
	return "audio/" + format
}

// audioFormat is its inverse.
func audioFormat(mime string) string {
	if mime == "audio/mpeg" {
		return "mp3"
	}
	return strings.TrimPrefix(strings.TrimPrefix(mime, "audio/"), "x-")
}
