package anthropic

import (
	"slices"

	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// printer writes one stream.
//
// Where the usage comes at the end only (OpenAI), message_start says 0 and
// message_delta has all figures, the prompt's too, as Anthropic's own does
// after a server tool ran: SDKs take them from there. message_delta is held
// until the usage is known, or the end comes without it.
type printer struct {
	begun    bool
	blocks   []printed // in the order they began
	finished bool      // message_delta was written
	refused  bool
	stop     llm.Stop
	stopped  bool // Finish came
	usage    llm.Reading
}

// printed is a content block that was begun.
type printed struct {
	part   int // the hub's index
	kind   llm.PartKind
	closed bool
}

var _ dialect.Printer = (*printer)(nil)

// Chunk appends the events that c becomes. Those of End are message_stop and,
// if it is still due, message_delta.
//
// Only one block is open at a time, as in Anthropic's own streams: where the
// source doesn't say that a part ended, it ends when another begins. A piece
// that comes later still goes to its own block, by its index.
func (p *printer) Chunk(c *llm.Chunk, out []byte) []byte {
	switch c.Kind {
	case llm.Begin:
		return p.begin(c, out)
	case llm.TextDelta:
		return p.piece(c, llm.Text, "text_delta", "text", out)
	case llm.RefusalDelta:
		p.refused = true
		return p.piece(c, llm.Refusal, "text_delta", "text", out)
	case llm.ThinkingDelta:
		return p.piece(c, llm.Thinking, "thinking_delta", "thinking", out)
	case llm.SignatureDelta:
		return p.piece(c, llm.Thinking, "signature_delta", "signature", out)
	case llm.ArgsDelta:
		if p.find(c.Index) < 0 { // of a block that is left out
			return out
		}
		return p.piece(c, llm.ToolUse, "input_json_delta", "partial_json", out)
	case llm.PartBegin:
		if c.Part.Kind == llm.ToolUse || c.Part.Kind == llm.RedactedThinking {
			return p.open(c.Index, &c.Part, out)
		}
	case llm.PartEnd:
		if i := p.find(c.Index); i >= 0 {
			return p.close(i, out)
		}
	case llm.Finish:
		p.stop, p.stopped = c.Stop, true
	case llm.UsageReport:
		p.usage = c.Reading
		if p.stopped {
			return p.finish(out)
		}
	case llm.End:
		w := event(p.finish(p.begin(c, out)), "message_stop")
		return w.endEvent()
	case llm.ChunkError:
		return append(out, Dialect{}.StreamError(c.Err)...)
	}
	return out
}

// event begins one event: its data is an object that holds its type and what
// the caller writes, up to endEvent.
func event(out []byte, kind string) writer {
	out = append(append(append(out, "event: "...), kind...), "\ndata: "...)
	w := writer(out)
	w.open('{')
	w.strField("type", kind)
	return w
}

// endEvent ends the event.
func (w *writer) endEvent() []byte {
	w.close('}')
	return append(*w, "\n\n"...)
}

// begin writes message_start, once.
func (p *printer) begin(c *llm.Chunk, out []byte) []byte {
	if p.begun {
		return out
	}
	p.begun, p.usage = true, c.Reading
	w := event(out, "message_start")
	w.key("message")
	w.open('{')
	messageHead(&w, c.ID, c.Model)
	w.key("content")
	w.open('[')
	w.close(']')
	w.nullableField("stop_reason", "")
	w.nullableField("stop_sequence", "")
	w.key("usage")
	appendUsage(&w, &c.Reading)
	w.close('}')
	return w.endEvent()
}

// find is the block that a part became, -1 if none.
func (p *printer) find(part int) int {
	return slices.IndexFunc(p.blocks, func(b printed) bool { return b.part == part })
}

// open writes content_block_start, after closing the block before it.
func (p *printer) open(part int, what *llm.Part, out []byte) []byte {
	if !p.begun {
		out = p.begin(&llm.Chunk{}, out)
	}
	if n := len(p.blocks); n > 0 {
		out = p.close(n-1, out)
	}
	p.blocks = append(p.blocks, printed{part: part, kind: what.Kind})
	w := event(out, "content_block_start")
	w.intField("index", int64(len(p.blocks)-1))
	w.key("content_block")
	w.open('{')
	switch what.Kind {
	case llm.Thinking:
		w.strField("type", "thinking")
		w.strField("thinking", "")
		w.strField("signature", "")
	case llm.RedactedThinking:
		w.strField("type", "redacted_thinking")
		w.strField("data", what.Data)
	case llm.ToolUse:
		w.strField("type", "tool_use")
		w.strField("id", what.ToolID)
		w.strField("name", what.ToolName)
		w.key("input")
		w.open('{')
		w.close('}')
	default:
		w.strField("type", "text")
		w.strField("text", "")
	}
	w.close('}')
	return w.endEvent()
}

// piece writes content_block_delta, after beginning the block if it must.
func (p *printer) piece(c *llm.Chunk, kind llm.PartKind, delta, field string, out []byte) []byte {
	if c.Text == "" {
		return out
	}
	i := p.find(c.Index)
	if i < 0 {
		out = p.open(c.Index, &llm.Part{Kind: kind}, out)
		i = len(p.blocks) - 1
	}
	w := event(out, "content_block_delta")
	w.intField("index", int64(i))
	w.key("delta")
	w.open('{')
	w.strField("type", delta)
	w.strField(field, c.Text)
	w.close('}')
	return w.endEvent()
}

// close writes content_block_stop, once.
func (p *printer) close(i int, out []byte) []byte {
	if p.blocks[i].closed {
		return out
	}
	p.blocks[i].closed = true
	w := event(out, "content_block_stop")
	w.intField("index", int64(i))
	return w.endEvent()
}

// finish writes message_delta, once.
func (p *printer) finish(out []byte) []byte {
	if p.finished {
		return out
	}
	p.finished = true
	if n := len(p.blocks); n > 0 {
		out = p.close(n-1, out)
	}
	w := event(out, "message_delta")
	w.key("delta")
	w.open('{')
	w.nullableField("stop_reason", nativeStop(p.stop, p.refused))
	w.nullableField("stop_sequence", p.stop.Sequence)
	w.close('}')
	w.key("usage")
	appendUsage(&w, &p.usage)
	return w.endEvent()
}
