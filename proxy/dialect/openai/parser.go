package openai

import (
	"bytes"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// parser reads a stream of chat chunks. Of several choices it reads the first.
//
// A usage report follows the finish reason, wherever the provider puts its
// usage; if a provider reports different usage after that, it is reported again.
type parser struct {
	meter chatMeter
	begun bool
	ended bool

	parts   int          // begun so far
	kind    llm.PartKind // of the latest part
	tools   []toolState  // by order of appearance
	refused bool

	finished bool
	reported domain.Usage
	report   bool // something was reported
}

// toolState is a tool call that has begun.
type toolState struct {
	wire int64 // the provider's index
	id   string
	part int
}

// Frame appends what a chunk means to out. What follows the end is ignored.
func (p *parser) Frame(_, data []byte, out []llm.Chunk) ([]llm.Chunk, error) {
	if p.ended || len(data) == 0 {
		return out, nil
	}
	if isDone(data) {
		p.ended = true
		if p.begun && !p.finished { // the provider gave no reason
			out = append(out, llm.Chunk{Kind: llm.Finish, Stop: stopOf("", len(p.tools) > 0, p.refused)})
		}
		return append(p.usage(out), llm.Chunk{Kind: llm.End}), nil
	}
	if err := scan.Valid(data); err != nil {
		return out, brokenAnswer(err.Error())
	}
	note := p.meter.document(data)
	if note.Failed {
		p.ended = true
		return append(p.usage(out), llm.Chunk{Kind: llm.ChunkError, Err: p.meter.err}), nil
	}
	w := walk(p.meter.list)
	if !w.more() && !note.OnlyUsage {
		return out, nil // Azure's filter results, or an event of another kind
	}
	out = p.begin(data, out)
	for choice, ok := w.element(); ok; choice, ok = w.element() {
		if index, _ := scan.Int64(get(choice, "index")); index == 0 {
			out = p.choice(choice, out)
		}
	}
	if p.finished {
		out = p.usage(out)
	}
	return out, nil
}

func (p *parser) begin(data []byte, out []llm.Chunk) []llm.Chunk {
	if p.begun {
		return out
	}
	p.begun = true
	r := p.meter.reading
	return append(out, llm.Chunk{
		Kind: llm.Begin, ID: r.AnswerID, Model: r.Model, Created: count(get(data, "created")), Reading: r,
	})
}

// usage reports the usage known, unless that is reported.
func (p *parser) usage(out []llm.Chunk) []llm.Chunk {
	r := p.meter.reading
	if !r.Found || p.report && r.Usage == p.reported {
		return out
	}
	p.reported, p.report = r.Usage, true
	return append(out, llm.Chunk{Kind: llm.UsageReport, Reading: r})
}

func (p *parser) choice(raw []byte, out []llm.Chunk) []llm.Chunk {
	var delta, logprobs, finish []byte
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "delta":
			delta = value
		case "message": // a whole answer as one chunk
			if delta == nil {
				delta = value
			}
		case "logprobs":
			logprobs = notNull(value)
		case "finish_reason":
			finish = notNull(value)
		}
	}
	out = p.delta(delta, out)
	if logprobs != nil {
		out = append(out, llm.Chunk{Kind: llm.LogProbsDelta, Raw: bytes.Clone(logprobs)})
	}
	// Some providers send "" while the model goes on, and the reason again
	// with the usage.
	if reason, _ := scan.String(finish); reason != "" && !p.finished {
		p.finished = true
		stop := stopOf(reason, len(p.tools) > 0, p.refused)
		stopSequence(&stop, raw)
		out = append(out, llm.Chunk{Kind: llm.Finish, Stop: stop})
	}
	return out
}

func (p *parser) delta(raw []byte, out []llm.Chunk) []llm.Chunk {
	thought := false
	var blocks, content, refusal, calls, call []byte
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "reasoning_content", "reasoning": // some send both, with the same text
			if n := len(out); !thought {
				out = p.text(llm.Thinking, llm.ThinkingDelta, value, out)
				thought = len(out) > n
			}
		case "thinking_blocks":
			blocks = value
		case "content":
			content = value
		case "refusal":
			refusal = value
		case "tool_calls":
			calls = value
		case "function_call":
			call = value
		}
	}
	out = p.blocks(blocks, thought, out)
	out = p.content(content, out)
	out = p.text(llm.Refusal, llm.RefusalDelta, refusal, out)
	p.refused = p.refused || p.kind == llm.Refusal
	list := walk(calls)
	for c, ok := list.element(); ok; c, ok = list.element() {
		out = p.call(c, out)
	}
	if calls == nil && (getString(call, "name") != "" || len(p.tools) > 0) {
		out = p.function(0, "", call, out)
	}
	return out
}

// text appends a delta of text to a part of this kind, and begins one if
// another was the latest.
func (p *parser) text(kind llm.PartKind, chunk llm.ChunkKind, raw []byte, out []llm.Chunk) []llm.Chunk {
	text, ok := scan.String(raw)
	if !ok || text == "" {
		return out
	}
	return append(out, llm.Chunk{Kind: chunk, Index: p.part(kind), Text: text})
}

// part is the index of the latest part if it is of this kind, else of a new
// one.
func (p *parser) part(kind llm.PartKind) int {
	if p.parts == 0 || p.kind != kind {
		p.parts++
		p.kind = kind
	}
	return p.parts - 1
}

// content reads text, or a list as Mistral's thinking models send.
func (p *parser) content(raw []byte, out []llm.Chunk) []llm.Chunk {
	if !isKind(raw, '[') {
		return p.text(llm.Text, llm.TextDelta, raw, out)
	}
	w := walk(raw)
	for part, ok := w.element(); ok; part, ok = w.element() {
		switch string(typeOf(part)) {
		case "text":
			out = p.text(llm.Text, llm.TextDelta, get(part, "text"), out)
		case "thinking":
			if text := listText(get(part, "thinking")); text != "" {
				out = append(out, llm.Chunk{Kind: llm.ThinkingDelta, Index: p.part(llm.Thinking), Text: text})
			}
		}
	}
	return out
}

// blocks reads the thinking_blocks extension. The text of a signed block is the
// reasoning that came as deltas before, if any did; it adds the signature.
func (p *parser) blocks(raw []byte, thought bool, out []llm.Chunk) []llm.Chunk {
	w := walk(raw)
	for block, ok := w.element(); ok; block, ok = w.element() {
		if string(typeOf(block)) == "redacted_thinking" {
			p.kind = 0
			part := llm.Part{Kind: llm.RedactedThinking, Data: getString(block, "data")}
			out = append(out, llm.Chunk{Kind: llm.PartBegin, Index: p.part(llm.RedactedThinking), Part: part})
			continue
		}
		signature := getString(block, "signature")
		if !thought && (signature == "" || p.kind != llm.Thinking) {
			out = p.text(llm.Thinking, llm.ThinkingDelta, get(block, "thinking"), out)
		}
		if signature != "" {
			out = append(out, llm.Chunk{Kind: llm.SignatureDelta, Index: p.part(llm.Thinking), Text: signature})
			p.kind = 0 // the next thinking is another block
		}
	}
	return out
}

func (p *parser) call(raw []byte, out []llm.Chunk) []llm.Chunk {
	index, ok := scan.Int64(get(raw, "index"))
	if !ok {
		index = -1
	}
	return p.function(index, getString(raw, "id"), get(raw, "function"), out)
}

// function reads a piece of a call. A call begins with an index or id that
// wasn't there before: some providers give all calls index 0, or none.
func (p *parser) function(index int64, id string, f []byte, out []llm.Chunk) []llm.Chunk {
	tool := p.find(index, id, getString(f, "name"))
	if tool < 0 {
		tool = len(p.tools)
		if id == "" {
			id = callID(p.meter.reading.AnswerID, tool)
		}
		p.kind = 0
		part := llm.Part{Kind: llm.ToolUse, ToolID: id, ToolName: getString(f, "name")}
		p.tools = append(p.tools, toolState{wire: index, id: id, part: p.part(llm.ToolUse)})
		out = append(out, llm.Chunk{Kind: llm.PartBegin, Index: p.tools[tool].part, Part: part})
	}
	if args := arguments(get(f, "arguments")); args != "" {
		out = append(out, llm.Chunk{Kind: llm.ArgsDelta, Index: p.tools[tool].part, Text: args})
	}
	return out
}

// find is the call that a piece belongs to, -1 for a new one. An id that changes
// without a name beside it begins nothing.
func (p *parser) find(index int64, id, name string) int {
	for i := len(p.tools) - 1; i >= 0; i-- {
		t := &p.tools[i]
		switch {
		case index < 0 && id == "":
			if name != "" {
				return -1
			}
			return i
		case id != "" && t.id == id:
			return i
		case index >= 0 && t.wire == index:
			if id != "" && name != "" {
				return -1
			}
			return i
		}
	}
	return -1
}
