package anthropic

import (
	"encoding/json"
	"fmt"

	"manti/proxy/dialect"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// maxBlocks bounds the blocks of one streamed answer. Recorded answers have
// fewer than ten; the bound keeps a mad provider from taking all memory.
const maxBlocks = 4096

// parser reads one stream.
type parser struct {
	begun   bool
	blocks  []block // by Anthropic's index
	parts   int     // of the hub's, begun so far
	reading llm.Reading
}

// block is a content block that has begun.
type block struct {
	part   int  // the hub's index, -1 until something of it was said
	opaque bool // its arguments are nobody else's to read
	argued bool // arguments of a tool use came, or none are due
}

var _ dialect.Parser = (*parser)(nil)

// Frame reads one frame. Event types that aren't known mean nothing; an error
// is a frame that isn't what its type says, or is out of order.
//
// An error event is a chunk, not an error. Citations, which no other dialect
// streams, are left out.
func (p *parser) Frame(event, data []byte, out []llm.Chunk) ([]llm.Chunk, error) {
	kind := kindOf(event, data)
	switch kind {
	case "":
		return out, nil
	case "error":
		return append(out, llm.Chunk{Kind: llm.ChunkError, Err: parseError(0, data)}), nil
	case "message_start":
		return p.start(data, out)
	}
	if !p.begun {
		return out, fmt.Errorf("read a stream: %s before message_start", kind)
	}
	switch kind {
	case "content_block_start":
		return p.blockStart(data, out)
	case "content_block_delta":
		return p.blockDelta(data, out)
	case "content_block_stop":
		return p.blockStop(data, out)
	case "message_delta":
		return p.finish(data, out)
	}
	return append(out, llm.Chunk{Kind: llm.End}), nil // message_stop
}

// start reads message_start.
func (p *parser) start(data []byte, out []llm.Chunk) ([]llm.Chunk, error) {
	want := [...]scan.Member{{Key: "id"}, {Key: "model"}, {Key: "usage"}}
	message := scan.Get(data, "message")
	if _, err := scan.Object(message, want[:]); err != nil {
		return out, fmt.Errorf("read message_start: %w", err)
	}
	if p.begun {
		return out, fmt.Errorf("read message_start: a second one")
	}
	p.begun = true
	p.reading.AnswerID, _ = scan.String(want[0].Value.Of(message))
	p.reading.Model, _ = scan.String(want[1].Value.Of(message))
	readUsage(&p.reading, want[2].Value.Of(message))
	return append(out, llm.Chunk{
		Kind: llm.Begin, ID: p.reading.AnswerID, Model: p.reading.Model, Reading: p.reading,
	}), nil
}

// blockStart reads content_block_start.
func (p *parser) blockStart(data []byte, out []llm.Chunk) ([]llm.Chunk, error) {
	want := [...]scan.Member{{Key: "index"}, {Key: "content_block"}}
	if _, err := scan.Object(data, want[:]); err != nil {
		return out, fmt.Errorf("read content_block_start: %w", err)
	}
	if i, ok := scan.Int64(want[0].Value.Of(data)); !ok || i != int64(len(p.blocks)) || i >= maxBlocks {
		return out, fmt.Errorf("read content_block_start: its index isn't %d", len(p.blocks))
	}
	p.blocks = append(p.blocks, block{part: -1})
	b := &p.blocks[len(p.blocks)-1]
	r := &reader{}
	raw := append(json.RawMessage(nil), want[1].Value.Of(data)...)
	part := r.block("content_block", raw)
	if r.err != nil {
		return out, fmt.Errorf("read content_block_start: %w", r.err)
	}
	switch part.Kind {
	case llm.Text:
		return p.say(b, llm.TextDelta, part.Text, out), nil
	case llm.Thinking:
		out = p.say(b, llm.ThinkingDelta, part.Text, out)
		return p.say(b, llm.SignatureDelta, part.Signature, out), nil
	}
	args := part.Args
	part.Args, part.Extra = "", nil
	b.opaque = part.Kind != llm.ToolUse
	b.argued = b.opaque
	b.part, p.parts = p.parts, p.parts+1
	out = append(out, llm.Chunk{Kind: llm.PartBegin, Index: b.part, Part: part})
	if args == "{}" || b.opaque { // the arguments follow in pieces
		return out, nil
	}
	return p.say(b, llm.ArgsDelta, args, out), nil
}

// say adds a piece of text to a block's part, which begins with its first
// piece.
func (p *parser) say(b *block, kind llm.ChunkKind, text string, out []llm.Chunk) []llm.Chunk {
	if text == "" {
		return out
	}
	if b.part < 0 {
		b.part, p.parts = p.parts, p.parts+1
		b.argued = true
	}
	b.argued = b.argued || kind == llm.ArgsDelta
	return append(out, llm.Chunk{Kind: kind, Index: b.part, Text: text})
}

// block finds the block that a frame's index names.
func (p *parser) block(raw []byte) (*block, error) {
	i, ok := scan.Int64(raw)
	if !ok || i < 0 || i >= int64(len(p.blocks)) {
		return nil, fmt.Errorf("no content block %s has begun", raw)
	}
	return &p.blocks[i], nil
}

// blockDelta reads content_block_delta.
func (p *parser) blockDelta(data []byte, out []llm.Chunk) ([]llm.Chunk, error) {
	want := [...]scan.Member{{Key: "index"}, {Key: "delta"}}
	if _, err := scan.Object(data, want[:]); err != nil {
		return out, fmt.Errorf("read content_block_delta: %w", err)
	}
	b, err := p.block(want[0].Value.Of(data))
	if err != nil {
		return out, fmt.Errorf("read content_block_delta: %w", err)
	}
	delta := want[1].Value.Of(data)
	pieces := [...]scan.Member{{Key: "text"}, {Key: "partial_json"}, {Key: "thinking"}, {Key: "signature"}}
	if _, err := scan.Object(delta, pieces[:]); err != nil {
		return out, fmt.Errorf("read content_block_delta: %w", err)
	}
	if b.opaque {
		return out, nil
	}
	for i, kind := range [...]llm.ChunkKind{llm.TextDelta, llm.ArgsDelta, llm.ThinkingDelta, llm.SignatureDelta} {
		raw := pieces[i].Value.Of(delta)
		if scan.IsNull(raw) {
			continue
		}
		text, ok := scan.String(raw)
		if !ok {
			return out, fmt.Errorf("read content_block_delta: its %s is no string", pieces[i].Key)
		}
		out = p.say(b, kind, text, out)
	}
	return out, nil
}

// blockStop reads content_block_stop. A tool use for which no arguments came
// has none: that is {} on every wire.
func (p *parser) blockStop(data []byte, out []llm.Chunk) ([]llm.Chunk, error) {
	b, err := p.block(scan.Get(data, "index"))
	if err != nil {
		return out, fmt.Errorf("read content_block_stop: %w", err)
	}
	if b.part < 0 { // an empty block is none
		return out, nil
	}
	if !b.argued {
		out = p.say(b, llm.ArgsDelta, "{}", out)
	}
	return append(out, llm.Chunk{Kind: llm.PartEnd, Index: b.part}), nil
}

// finish reads message_delta. The figures of its usage replace those of
// message_start.
func (p *parser) finish(data []byte, out []llm.Chunk) ([]llm.Chunk, error) {
	want := [...]scan.Member{{Key: "delta"}, {Key: "usage"}}
	if _, err := scan.Object(data, want[:]); err != nil {
		return out, fmt.Errorf("read message_delta: %w", err)
	}
	delta := want[0].Value.Of(data)
	reason, _ := scan.String(scan.Get(delta, "stop_reason"))
	sequence, _ := scan.String(scan.Get(delta, "stop_sequence"))
	if reason != "" {
		p.reading.Stop = reason
		out = append(out, llm.Chunk{Kind: llm.Finish, Stop: stopOf(reason, sequence)})
	}
	if usage := want[1].Value.Of(data); !scan.IsNull(usage) {
		readUsage(&p.reading, mergeUsage(p.reading.Raw, usage))
	}
	if p.reading.Found {
		out = append(out, llm.Chunk{Kind: llm.UsageReport, Reading: p.reading})
	}
	return out, nil
}
