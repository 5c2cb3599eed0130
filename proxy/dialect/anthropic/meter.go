package anthropic

import (
	"bytes"
	"encoding/json"
	"slices"

	"manti/proxy/dialect"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// meter reads one answer on the side.
//
// Of a stream that breaks off, the reading is what message_start said: the
// whole prompt, but of the output only the first tokens; Reading.Stop is empty
// then.
type meter struct {
	counting bool // the endpoint counts tokens: nothing is used
	reading  llm.Reading
	err      *llm.Error
}

var _ dialect.Meter = (*meter)(nil)

// Reading is what is known so far.
func (m *meter) Reading() llm.Reading { return m.reading }

// Err is the error that a frame or the body carried.
func (m *meter) Err() *llm.Error { return m.err }

// Body reads a whole answer. Counting tokens is free: its answer is a usage
// that was found and is zero.
func (m *meter) Body(body []byte) {
	const (
		kind = iota
		id
		model
		stop
		usage
		content
		failure
		counted
		memberCount
	)
	want := [memberCount]scan.Member{
		kind: {Key: "type"}, id: {Key: "id"}, model: {Key: "model"}, stop: {Key: "stop_reason"},
		usage: {Key: "usage"}, content: {Key: "content"}, failure: {Key: "error"}, counted: {Key: "input_tokens"},
	}
	if _, err := scan.Object(body, want[:]); err != nil {
		return
	}
	raw := func(i int) []byte { return want[i].Value.Of(body) }
	if string(raw(kind)) == `"error"` || raw(kind) == nil && !scan.IsNull(raw(failure)) {
		m.err = parseError(0, body)
		return
	}
	if m.counting {
		m.reading.Found = !scan.IsNull(raw(counted))
		m.reading.Raw = bytes.Clone(body)
		return
	}
	m.reading.AnswerID, _ = scan.String(raw(id))
	m.reading.Model, _ = scan.String(raw(model))
	m.reading.Stop, _ = scan.String(raw(stop))
	if readUsage(&m.reading, raw(usage)); !m.reading.Found {
		m.weigh(raw(content))
	}
}

// weigh counts the text of a whole answer that reports no usage.
func (m *meter) weigh(content []byte) {
	var blocks []struct {
		Text     string          `json:"text"`
		Thinking string          `json:"thinking"`
		Input    json.RawMessage `json:"input"`
	}
	_ = json.Unmarshal(content, &blocks) // what can't be read weighs nothing
	for _, b := range blocks {
		m.reading.Text.Add([]byte(b.Text))
		m.reading.Text.Add([]byte(b.Thinking))
		m.reading.Text.Add(b.Input)
	}
}

// Frame reads one frame of a stream. Nearly all are deltas: they cost one scan
// of their bytes and allocate nothing.
func (m *meter) Frame(event, data []byte) dialect.FrameNote {
	switch kindOf(event, data) {
	case "content_block_delta":
		return m.delta(data)
	case "message_start":
		message := scan.Get(data, "message")
		m.reading.AnswerID, _ = scan.String(scan.Get(message, "id"))
		m.reading.Model, _ = scan.String(scan.Get(message, "model"))
		readUsage(&m.reading, scan.Get(message, "usage"))
	case "message_delta":
		if stop, ok := scan.String(scan.Get(scan.Get(data, "delta"), "stop_reason")); ok {
			m.reading.Stop = stop
		}
		if usage := scan.Get(data, "usage"); !scan.IsNull(usage) {
			readUsage(&m.reading, mergeUsage(m.reading.Raw, usage))
		}
	case "message_stop":
		return dialect.FrameNote{End: true}
	case "error":
		m.err = parseError(0, data)
		return dialect.FrameNote{Failed: true}
	}
	return dialect.FrameNote{}
}

// deltaTexts are the members of a delta that hold generated text.
var deltaTexts = [...]string{"text", "thinking", "partial_json"}

// delta weighs the text of a content_block_delta.
func (m *meter) delta(data []byte) dialect.FrameNote {
	note := dialect.FrameNote{Token: true}
	var want [len(deltaTexts)]scan.Member
	for i, key := range deltaTexts {
		want[i].Key = key
	}
	delta := lastDelta(data)
	if _, err := scan.Object(delta, want[:]); err != nil {
		delta = scan.Get(data, "delta")
		if _, err := scan.Object(delta, want[:]); err != nil {
			return note
		}
	}
	for _, w := range want {
		if raw := w.Value.Of(delta); len(raw) > 2 && raw[0] == '"' {
			note.TextBytes += len(raw) - 2
			m.reading.Text.AddJSON(raw[1 : len(raw)-1])
		}
	}
	return note
}

// lastDelta cuts the delta out of a frame in which it is the last member, as
// Anthropic writes it; that saves a scan. What it cuts out of another frame is
// no object.
func lastDelta(data []byte) []byte {
	_, delta, _ := bytes.Cut(data, []byte(`"delta":`))
	delta = bytes.TrimRight(delta, " \n\r\t")
	return bytes.TrimSuffix(delta, []byte("}"))
}

// kinds are the event types that mean something here.
var kinds = [...]string{
	"content_block_delta", "content_block_start", "content_block_stop",
	"message_start", "message_delta", "message_stop", "error",
}

// kindOf is a frame's event type: the SSE event's name, or, for a provider that leaves
// the name out, the type in its data; "" for one that isn't known.
func kindOf(event, data []byte) string {
	if len(event) == 0 {
		raw := scan.Get(data, "type")
		if len(raw) < 2 {
			return ""
		}
		event = raw[1 : len(raw)-1]
	}
	if i := slices.IndexFunc(kinds[:], func(k string) bool { return k == string(event) }); i >= 0 {
		return kinds[i]
	}
	return ""
}
