package openai

import (
	"encoding/base64"
	"strings"

	"manti/proxy/llm"
)

// errorPrefix begins the text of a failed tool's result. OpenAI's tool messages have no
// flag for it, and a model that takes an error for a result goes astray.
const errorPrefix = "Error: "

// toolResult writes a tool message. It can hold text only: images and files
// follow in the next message of the user's, which is where models of OpenAI's
// look for them.
func (r *renderer) toolResult(p located) {
	r.w.open('{')
	r.w.text("role", string(llm.Tool))
	r.w.text("tool_call_id", p.part.ToolID)
	var texts []string
	for i := range p.part.Result {
		inner := locate(p.path+".content", p.part.Result, i)
		if inner.part.CacheTTL != "" {
			r.cacheHint()
		}
		switch text, ok := documentText(inner.part); {
		case ok:
			r.extras(inner)
			texts = append(texts, text)
		case inner.part.Kind == llm.Opaque:
			r.opaque(inner)
		default:
			r.hint(p.path, "OpenAI's tool messages hold text only; the rest follows in a message of the user's.")
			r.followUp = append(r.followUp, inner)
		}
	}
	if p.part.IsError {
		if len(texts) == 0 {
			texts = []string{""}
		}
		texts[0] = errorPrefix + texts[0]
	}
	r.texts(texts)
	r.w.close('}')
}

func (r *renderer) texts(texts []string) {
	if len(texts) < 2 {
		r.w.text("content", strings.Join(texts, ""))
		return
	}
	r.w.key("content")
	r.w.open('[')
	for _, text := range texts {
		r.textPart("text", text)
	}
	r.w.close(']')
}

// documentText is the text of a text part or of a document that is plain text.
func documentText(p *llm.Part) (text string, ok bool) {
	switch {
	case p.Kind == llm.Text:
		return p.Text, true
	case p.Kind != llm.File || p.Media == nil:
		return "", false
	case p.Media.Text != "":
		return p.Media.Text, true
	case strings.HasPrefix(p.Media.MIME, "text/") && p.Media.Base64 != "":
		plain, err := base64.StdEncoding.DecodeString(p.Media.Base64)
		return string(plain), err == nil
	}
	return "", false
}

func (r *renderer) textPart(kind, text string) {
	r.w.open('{')
	r.w.text("type", kind)
	r.w.text(kind, text)
	r.w.close('}')
}

// part writes one content part.
func (r *renderer) part(p located) {
	r.extras(p)
	if text, ok := documentText(p.part); ok {
		r.textPart("text", text)
		return
	}
	switch m := p.part.Media; {
	case p.part.Kind == llm.Refusal:
		r.textPart("refusal", p.part.Text)
	case p.part.Kind == llm.Opaque && get(p.part.Raw, getString(p.part.Raw, "type")) != nil:
		r.w.raw(p.part.Raw) // a part of OpenAI's own kind
	case m == nil:
		r.opaque(p)
	case p.part.Kind == llm.Image:
		r.image(p, m)
	case p.part.Kind == llm.Audio && m.Base64 != "":
		r.w.open('{')
		r.w.text("type", "input_audio")
		r.w.key("input_audio")
		r.w.open('{')
		r.w.text("data", m.Base64)
		r.w.text("format", audioFormat(m.MIME))
		r.w.close('}')
		r.w.close('}')
	case p.part.Kind == llm.File:
		r.file(p, m)
	default:
		r.meaning(p.path+".input_audio", "OpenAI's API takes audio inline only.")
	}
}

func (r *renderer) image(p located, m *llm.Media) {
	url := m.URL
	if m.Base64 != "" {
		url = "data:" + m.MIME + ";base64," + m.Base64
	}
	if url == "" {
		r.meaning(p.path+".image_url", "OpenAI's chat API takes images inline or by URL, not by another provider's file id.")
		return
	}
	r.w.open('{')
	r.w.text("type", "image_url")
	r.w.key("image_url")
	r.w.open('{')
	r.w.text("url", url)
	r.w.said("detail", m.Detail)
	r.w.close('}')
	r.w.close('}')
}

// ownFileID begins the ids of files that OpenAI holds.
const ownFileID = "file-"

func (r *renderer) file(p located, m *llm.Media) {
	own := strings.HasPrefix(m.FileID, ownFileID)
	if m.Base64 == "" && !own {
		r.meaning(p.path+".file", "OpenAI's chat API takes documents inline or by its own file id only.")
		return
	}
	r.w.open('{')
	r.w.text("type", "file")
	r.w.key("file")
	r.w.open('{')
	if own {
		r.w.text("file_id", m.FileID)
	} else {
		r.w.text("filename", firstOf(m.Name, "document"+extension(m.MIME)))
		r.w.text("file_data", "data:"+m.MIME+";base64,"+m.Base64)
	}
	r.w.close('}')
	r.w.close('}')
}

func extension(mime string) string {
	if mime == "application/pdf" {
		return ".pdf"
	}
	return ""
}
