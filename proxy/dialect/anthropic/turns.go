package anthropic

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"manti/proxy/llm"
)

// turn is one message to Anthropic.
type turn struct {
	role   llm.Role // User or Assistant
	blocks []placed
}

// placed is a part with its path in the caller's terms.
type placed struct {
	*llm.Part
	path string
}

// turns sorts the messages: system parts apart, the others into turns that
// alternate between user and assistant.
func (r *renderer) turns() (system []placed, turns []turn) {
	for i := range r.req.Messages {
		m := &r.req.Messages[i]
		path := cmp.Or(m.Path, "messages["+strconv.Itoa(i)+"]")
		if m.Name != "" {
			r.hint(path+".name", "Anthropic's messages have no names.")
		}
		parts := r.writable(m, path)
		role := llm.User
		switch m.Role {
		case llm.System, llm.Developer:
			if len(turns) > 0 && len(parts) > 0 {
				r.hint(path, "Anthropic's system prompt stands before all messages, so this one was moved there.")
			}
			system = append(system, parts...)
			continue
		case llm.Assistant:
			role = llm.Assistant
		}
		if len(parts) == 0 {
			continue
		}
		if n := len(turns); n > 0 && turns[n-1].role == role {
			turns[n-1].blocks = append(turns[n-1].blocks, parts...)
			continue
		}
		turns = append(turns, turn{role, parts})
	}
	for _, t := range turns {
		slices.SortStableFunc(t.blocks, resultsFirst)
	}
	return system, turns
}

// resultsFirst orders tool results before anything else.
func resultsFirst(a, b placed) int {
	switch aIs, bIs := a.Kind == llm.ToolResult, b.Kind == llm.ToolResult; {
	case aIs == bIs:
		return 0
	case aIs:
		return -1
	}
	return 1
}

// writable are the parts of a message that Anthropic's API can say; the others
// are named as losses.
func (r *renderer) writable(m *llm.Message, path string) []placed {
	var out []placed
	for j := range m.Parts {
		p := &m.Parts[j]
		where := path + ".content[" + strconv.Itoa(j) + "]"
		if m.Role == llm.Tool {
			where = path + ".content"
		}
		where = cmp.Or(p.Path, where)
		if r.canWrite(p, where) {
			out = append(out, placed{p, where})
		}
		for _, name := range sortedNames(p.Extra) {
			r.hint(where+"."+name, "Anthropic's API has no such field here.")
		}
	}
	return out
}

// canWrite reports whether a part can be said, and names it if not.
func (r *renderer) canWrite(p *llm.Part, where string) bool {
	switch p.Kind {
	case llm.Text, llm.Refusal:
		return strings.TrimSpace(p.Text) != ""
	case llm.Image, llm.File:
		return r.canWriteMedia(p, where)
	case llm.ToolUse, llm.ToolResult, llm.RedactedThinking:
		return true
	case llm.Thinking:
		if p.Signature == "" {
			r.hint(where, "Anthropic takes thinking back only with its signature.")
			return false
		}
		return true
	case llm.Audio:
		if p.Media != nil && p.Media.Base64 != "" {
			where += ".input_audio"
		}
		r.meaning(where, "Anthropic's API takes no audio.")
	default:
		r.meaning(where, "Anthropic's API has no such part.")
	}
	return false
}

// canWriteMedia reports whether an image or document can be said.
func (r *renderer) canWriteMedia(p *llm.Part, where string) bool {
	m := p.Media
	member := ".image_url"
	if p.Kind == llm.File {
		member = ".file"
	}
	switch {
	case m == nil:
		r.meaning(where, "It has no content.")
		return false
	case m.FileID != "" && !strings.HasPrefix(m.FileID, "file_"):
		r.meaning(where+member+".file_id", "The file isn't stored at Anthropic.")
		return false
	case p.Kind == llm.File && m.Base64 != "" && m.MIME != "application/pdf" && !strings.HasPrefix(m.MIME, "text/"):
		r.meaning(where+member, "Anthropic's API takes documents as PDF or plain text.")
		return false
	}
	if m.Detail != "" && m.Detail != "auto" {
		r.hint(where+member+".detail", "Anthropic's API has no image detail.")
	}
	return true
}
