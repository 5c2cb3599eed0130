package proxy_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// said is what an answer says, in no dialect, as a client would read it. It is read
// without any of the code under test.
type said struct {
	Text, Thinking string
	Tools          []toolCall
	// Stop is end, length, tools, sequence, pause or refusal, "" if none was said.
	Stop string
	// Input counts all tokens of the prompt, Read and Written those of them that
	// the cache gave and took. Output counts thinking too.
	Input, Read, Written, Output int64
}

type toolCall struct {
	Name string
	Args any
}

var openaiStops = map[string]string{"stop": "end", "length": "length", "tool_calls": "tools", "function_call": "tools", "content_filter": "refusal"}

var anthropicStops = map[string]string{
	"end_turn": "end", "max_tokens": "length", "tool_use": "tools", "stop_sequence": "sequence", "pause_turn": "pause", "refusal": "refusal",
}

// read reads an answer in a dialect, "openai" or "anthropic".
func read(t *testing.T, dialect string, stream bool, body string) said {
	t.Helper()
	switch {
	case dialect == "openai" && stream:
		return readChunks(t, body)
	case dialect == "openai":
		return readCompletion(t, body)
	case stream:
		return readEvents(t, body)
	}
	return readMessage(t, body)
}

type openaiMessage struct {
	Content, Refusal string
	Reasoning        string          `json:"reasoning_content"`
	Calls            []openaiCall    `json:"tool_calls"`
	Call             *openaiFunction `json:"function_call"`
}

type openaiCall struct {
	Index    int
	ID, Type string
	Function openaiFunction
}

type openaiFunction struct{ Name, Arguments string }

type openaiChunk struct {
	Choices []struct {
		Index          int
		Message, Delta openaiMessage
		Finish         string `json:"finish_reason"`
	}
	Usage *openaiTotals
}

func readCompletion(t *testing.T, body string) said {
	t.Helper()
	var c openaiChunk
	decode(t, body, &c)
	if len(c.Choices) == 0 {
		t.Fatalf("no choice in %s", body)
	}
	m := c.Choices[0].Message
	return openaiSaid(t, m, c.Choices[0].Finish, c.Usage)
}

func readChunks(t *testing.T, body string) said {
	t.Helper()
	var m openaiMessage
	var finish string
	var usage *openaiTotals
	frames := frameData(body)
	for i, data := range frames {
		if data == "[DONE]" {
			if i != len(frames)-1 {
				t.Errorf("something follows [DONE]")
			}
			continue
		}
		var c openaiChunk
		decode(t, data, &c)
		if c.Usage != nil {
			usage = c.Usage
		}
		for _, choice := range c.Choices {
			if choice.Index != 0 {
				continue
			}
			if choice.Finish != "" {
				finish = choice.Finish
			}
			m.add(choice.Delta)
		}
	}
	return openaiSaid(t, m, finish, usage)
}

func (m *openaiMessage) add(d openaiMessage) {
	m.Content += d.Content
	m.Refusal += d.Refusal
	m.Reasoning += d.Reasoning
	for _, c := range d.Calls {
		for len(m.Calls) <= c.Index {
			m.Calls = append(m.Calls, openaiCall{})
		}
		m.Calls[c.Index].Function.Name += c.Function.Name
		m.Calls[c.Index].Function.Arguments += c.Function.Arguments
	}
}

func openaiSaid(t *testing.T, m openaiMessage, finish string, u *openaiTotals) said {
	t.Helper()
	s := said{Text: m.Content + m.Refusal, Thinking: m.Reasoning, Stop: openaiStops[finish]}
	if m.Call != nil {
		m.Calls = append(m.Calls, openaiCall{Function: *m.Call})
	}
	for _, c := range m.Calls {
		s.Tools = append(s.Tools, toolCall{c.Function.Name, value(t, c.Function.Arguments)})
	}
	if m.Refusal != "" {
		s.Stop = "refusal"
	}
	if u != nil {
		s.Input, s.Output = u.Prompt, u.Completion
		s.Read, s.Written = u.PromptOf.Cached, u.PromptOf.Written
	}
	return s
}

type anthropicBlock struct {
	Type, Text, Thinking, Name string
	Input                      json.RawMessage
	partial                    string
}

type anthropicEvent struct {
	Type    string
	Index   int
	Message *anthropicMessage
	Block   anthropicBlock `json:"content_block"`
	Delta   struct {
		Text, Thinking string
		Partial        string `json:"partial_json"`
		Stop           string `json:"stop_reason"`
	}
	Usage json.RawMessage
}

type anthropicMessage struct {
	Content []anthropicBlock
	Stop    string `json:"stop_reason"`
	Usage   json.RawMessage
}

func readMessage(t *testing.T, body string) said {
	t.Helper()
	var m anthropicMessage
	decode(t, body, &m)
	var f anthropicFigures
	decode(t, string(m.Usage), &f)
	return anthropicSaid(t, m.Content, m.Stop, &f)
}

func readEvents(t *testing.T, body string) said {
	t.Helper()
	var blocks []anthropicBlock
	var f anthropicFigures
	var stop string
	for _, data := range frameData(body) {
		var e anthropicEvent
		decode(t, data, &e)
		switch e.Type {
		case "message_start":
			decode(t, string(e.Message.Usage), &f)
		case "content_block_start":
			if e.Index != len(blocks) {
				t.Errorf("block %d begins after %d others", e.Index, len(blocks))
			}
			e.Block.Input = nil
			blocks = append(blocks, e.Block)
		case "content_block_delta":
			b := &blocks[e.Index]
			b.Text, b.Thinking, b.partial = b.Text+e.Delta.Text, b.Thinking+e.Delta.Thinking, b.partial+e.Delta.Partial
		case "message_delta":
			stop = e.Delta.Stop
			if e.Usage != nil {
				decode(t, string(e.Usage), &f)
			}
		}
	}
	for i := range blocks {
		blocks[i].Input = json.RawMessage(blocks[i].partial)
	}
	return anthropicSaid(t, blocks, stop, &f)
}

func anthropicSaid(t *testing.T, blocks []anthropicBlock, stop string, f *anthropicFigures) said {
	t.Helper()
	s := said{Stop: anthropicStops[stop]}
	for _, b := range blocks {
		switch b.Type {
		case "text":
			s.Text += b.Text
		case "thinking":
			s.Thinking += b.Thinking
		case "tool_use":
			s.Tools = append(s.Tools, toolCall{b.Name, value(t, string(b.Input))})
		}
	}
	u, _ := f.usage()
	s.Input, s.Output = u.PromptTokens(), u.CompletionTokens()
	if f.Read != nil {
		s.Read = *f.Read
	}
	if f.Written != nil {
		s.Written = *f.Written
	}
	return s
}

// value is JSON as a value; no arguments at all are an empty object.
func value(t *testing.T, raw string) any {
	t.Helper()
	if strings.TrimSpace(raw) == "" {
		return map[string]any{}
	}
	var v any
	decode(t, raw, &v)
	return v
}

func decode(t *testing.T, raw string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
}
