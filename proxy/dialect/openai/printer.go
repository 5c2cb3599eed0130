package openai

import (
	"slices"

	"manti/proxy/llm"
	"manti/proxy/llm/scan"
	"manti/proxy/sse"
)

// printer writes a stream of chat chunks.
//
// The id, model and time of the Begin chunk stand in every chunk, as they are:
// whoever has a clock sets Created. Without a model of the answer's own it is the
// one asked for. Usage is written only if the caller asked for it, just before the
// end; then the chunks before it have "usage":null, as OpenAI's have.
type printer struct {
	usage bool
	model string
	// legacy: the caller speaks of functions. Of several calls the first is
	// written: see RenderAnswer.
	legacy bool

	head    []byte // of each chunk, up to its choices
	tools   []printedTool
	refused bool
	reading llm.Reading // the last report, for the end

	// The thinking part that may still get its signature.
	thinking  []byte
	signature string
	thinkPart int
}

// printedTool is a tool call that has begun.
type printedTool struct {
	part int
	args bool // some were written
}

// Chunk appends the frames that c becomes.
func (p *printer) Chunk(c *llm.Chunk, out []byte) []byte {
	if p.head == nil {
		p.begin(c)
	}
	switch c.Kind {
	case llm.Begin:
		return p.delta(out, `"role":"assistant","content":"","refusal":null`)
	case llm.TextDelta:
		return p.text(p.thought(out), `"content":`, c.Text)
	case llm.RefusalDelta:
		p.refused = true
		return p.text(p.thought(out), `"refusal":`, c.Text)
	case llm.ThinkingDelta:
		out = p.think(c.Index, out)
		p.thinking = append(p.thinking, c.Text...)
		return p.text(out, `"reasoning_content":`, c.Text)
	case llm.SignatureDelta:
		out = p.think(c.Index, out)
		p.signature += c.Text
	case llm.PartBegin:
		return p.partBegin(c, p.thought(out))
	case llm.ArgsDelta:
		return p.args(c.Index, c.Text, out)
	case llm.PartEnd:
		return p.partEnd(c.Index, p.thought(out))
	case llm.LogProbsDelta:
		out = append(p.chunk(out), `{"index":0,"delta":{},"logprobs":`...)
		out = appendLine(out, c.Raw)
		return p.close(out, `,"finish_reason":null}`)
	case llm.Finish:
		return p.finish(c, p.thought(out))
	case llm.UsageReport:
		p.reading = c.Reading
	case llm.End:
		return append(p.report(out), "data: "+doneMark+"\n\n"...)
	case llm.ChunkError:
		return appendStreamError(out, c.Err)
	}
	return out
}

// begin writes what all chunks have in common. A stream without a Begin chunk
// gets what is known.
func (p *printer) begin(c *llm.Chunk) {
	w := writer{out: []byte("data: ")}
	w.open('{')
	w.text("id", c.ID)
	w.text("object", "chat.completion.chunk")
	w.number("created", c.Created)
	w.text("model", firstOf(c.Model, p.model))
	w.key("choices")
	w.open('[')
	p.head = w.out
}

// chunk begins a chunk; a choice must follow, and close.
func (p *printer) chunk(out []byte) []byte { return append(out, p.head...) }

func (p *printer) close(out []byte, choice string) []byte {
	out = append(append(out, choice...), ']')
	if p.usage {
		out = append(out, `,"usage":null`...)
	}
	return sse.End(append(out, '}'))
}

const (
	openDelta  = `{"index":0,"delta":{`
	closeDelta = `},"logprobs":null,"finish_reason":null}`
)

// delta writes a chunk whose delta has these members.
func (p *printer) delta(out []byte, members string) []byte {
	out = append(append(p.chunk(out), openDelta...), members...)
	return p.close(out, closeDelta)
}

// text writes a chunk whose delta has one string.
func (p *printer) text(out []byte, key, text string) []byte {
	if text == "" {
		return out
	}
	out = append(append(p.chunk(out), openDelta...), key...)
	out = scan.AppendString(out, text)
	return p.close(out, closeDelta)
}

// think begins to keep a thinking part, unless it is the one already kept.
func (p *printer) think(part int, out []byte) []byte {
	if part != p.thinkPart {
		out = p.thought(out)
		p.thinkPart = part
	}
	return out
}

// thought writes the thinking part that was kept as a block, if it is signed:
// only then must it come back.
func (p *printer) thought(out []byte) []byte {
	if p.signature != "" {
		out = p.block(&llm.Part{Kind: llm.Thinking, Text: string(p.thinking), Signature: p.signature}, out)
	}
	p.thinking, p.signature, p.thinkPart = p.thinking[:0], "", -1
	return out
}

func (p *printer) partBegin(c *llm.Chunk, out []byte) []byte {
	switch c.Part.Kind {
	case llm.RedactedThinking:
		return p.block(&c.Part, out)
	case llm.ToolUse:
		return p.callBegin(c, out)
	}
	return out
}

func (p *printer) callBegin(c *llm.Chunk, out []byte) []byte {
	n := len(p.tools)
	if p.legacy && n > 0 {
		return out
	}
	p.tools = append(p.tools, printedTool{part: c.Index, args: c.Part.Args != ""})
	w := writer{out: append(p.chunk(out), openDelta...)}
	if p.legacy {
		w.key("function_call")
		w.open('{')
		w.text("name", c.Part.ToolName)
		w.text("arguments", c.Part.Args)
		w.close('}')
		return p.close(w.out, closeDelta)
	}
	w.out = append(w.out, `"tool_calls":[`...)
	writeCall(&w, n, c.Part.ToolID, c.Part.ToolName, c.Part.Args)
	w.close(']')
	return p.close(w.out, closeDelta)
}

// block writes a chunk with one whole thinking block.
func (p *printer) block(part *llm.Part, out []byte) []byte {
	w := writer{out: append(append(p.chunk(out), openDelta...), `"thinking_blocks":[`...)}
	writeBlock(&w, part)
	w.close(']')
	return p.close(w.out, closeDelta)
}

func (p *printer) args(part int, args string, out []byte) []byte {
	n := slices.IndexFunc(p.tools, func(t printedTool) bool { return t.part == part })
	if n < 0 || args == "" {
		return out
	}
	p.tools[n].args = true
	if p.legacy {
		w := writer{out: append(append(p.chunk(out), openDelta...), `"function_call":{`...)}
		w.text("arguments", args)
		w.close('}')
		return p.close(w.out, closeDelta)
	}
	w := writer{out: append(append(p.chunk(out), openDelta...), `"tool_calls":[{`...)}
	w.number("index", int64(n))
	w.key("function")
	w.open('{')
	w.text("arguments", args)
	w.out = append(w.out, "}}]"...)
	return p.close(w.out, closeDelta)
}

// partEnd gives a tool without arguments its empty object, which callers
// parse.
func (p *printer) partEnd(part int, out []byte) []byte {
	for _, t := range p.tools {
		if t.part == part && !t.args {
			return p.args(part, "{}", out)
		}
	}
	return out
}

func (p *printer) finish(c *llm.Chunk, out []byte) []byte {
	for _, t := range p.tools {
		out = p.partEnd(t.part, out)
	}
	w := writer{out: append(p.chunk(out), `{"index":0,"delta":{},"logprobs":null`...)}
	writeFinish(&w, c.Stop, said{tools: len(p.tools) > 0, refused: p.refused, legacy: p.legacy})
	return p.close(w.out, "}")
}

// report writes the chunk that has the usage and no choice.
func (p *printer) report(out []byte) []byte {
	if !p.usage || !p.reading.Found {
		return out
	}
	w := writer{out: append(p.chunk(out), ']')}
	writeUsage(&w, p.reading.Usage)
	return sse.End(append(w.out, '}'))
}

// appendLine appends raw JSON as one line.
func appendLine(out, raw []byte) []byte {
	for _, b := range raw {
		if b == '\n' || b == '\r' {
			b = ' ' // between values: inside strings they are escaped
		}
		out = append(out, b)
	}
	return out
}
