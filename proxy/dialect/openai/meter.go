package openai

import (
	"manti/proxy/dialect"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// chatMeter meters chat completions, completions and embeddings.
type chatMeter struct {
	reading llm.Reading
	err     *llm.Error
}

// Reading is what is known so far. In a stream that repeats its usage the last
// one holds.
func (m *chatMeter) Reading() llm.Reading { return m.reading }

// Err is the error that the answer carried.
func (m *chatMeter) Err() *llm.Error { return m.err }

// Body reads a whole answer.
func (m *chatMeter) Body(body []byte) {
	if m.err = bodyError(body); m.err == nil {
		m.document(body)
	}
}

// Frame reads one chunk.
func (m *chatMeter) Frame(_, data []byte) dialect.FrameNote {
	if string(data) == doneMark {
		return dialect.FrameNote{End: true}
	}
	return m.document(data)
}

// document reads a chunk or a whole answer: they differ in "delta" and
// "message" only.
func (m *chatMeter) document(doc []byte) dialect.FrameNote {
	var note dialect.FrameNote
	var usage []byte
	choices := false
	w := walk(doc)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "id":
			setOnce(&m.reading.AnswerID, value)
		case "model":
			setOnce(&m.reading.Model, value)
		case "service_tier":
			m.tier(value)
		case "choices":
			choices = m.choices(value, &note)
		case "usage":
			usage = notNull(value)
		case "x_groq":
			if usage == nil {
				usage = get(value, "usage")
			}
		case "error":
			if !scan.IsNull(value) {
				m.err = parseError(0, nil, doc)
				note.Failed, note.End = true, true
			}
		}
	}
	if usage != nil {
		setUsage(&m.reading, usage)
		note.OnlyUsage = !choices && !note.Failed
	}
	return note
}

// tier keeps the tier of the answer; the last one holds.
func (m *chatMeter) tier(raw []byte) {
	if len(raw) > 2 && string(raw[1:len(raw)-1]) != m.reading.Tier {
		if tier, ok := scan.String(raw); ok {
			m.reading.Tier = tier
		}
	}
}

// choices reports whether there is any.
func (m *chatMeter) choices(raw []byte, note *dialect.FrameNote) bool {
	some := false
	w := walk(raw)
	for choice, ok := w.element(); ok; choice, ok = w.element() {
		some = true
		m.choice(choice, note)
	}
	return some
}

func (m *chatMeter) choice(raw []byte, note *dialect.FrameNote) {
	text := 0
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "delta", "message": // Writer's chunks have both, saying the same
			text = max(text, contentBytes(value))
		case "text":
			text = textBytes(value)
		case "finish_reason":
			if len(value) > 2 && isKind(value, '"') {
				m.reading.Stop, _ = scan.String(value)
			}
		case "usage": // Moonshot
			if isKind(value, '{') {
				setUsage(&m.reading, value)
			}
		}
	}
	note.TextBytes += text
	note.Token = note.Token || text > 0
}

// contentBytes is the length of what the model wrote in a message or delta: text,
// reasoning, refusal, names and arguments of tool calls.
func contentBytes(raw []byte) int {
	n, reasoning := 0, 0
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "content":
			n += textBytes(value)
			if isKind(value, '[') {
				n += deepText(value)
			}
		case "refusal":
			n += textBytes(value)
		case "reasoning_content", "reasoning": // some send both, with the same text
			reasoning = max(reasoning, textBytes(value))
		case "tool_calls", "function_call":
			n += toolBytes(value)
		}
	}
	return n + reasoning
}

// deepText is the length of the text in a list of content parts, as Mistral
// has: {type, text} or {type, thinking: [{type, text}]}.
func deepText(parts []byte) int {
	n := 0
	w := walk(parts)
	for part, ok := w.element(); ok; part, ok = w.element() {
		n += textBytes(get(part, "text"))
		if thinking := get(part, "thinking"); isKind(thinking, '[') {
			inner := walk(thinking)
			for t, ok := inner.element(); ok; t, ok = inner.element() {
				n += textBytes(get(t, "text"))
			}
		}
	}
	return n
}

// toolBytes is the length of names and arguments in tool_calls, or in the
// function_call of before.
func toolBytes(raw []byte) int {
	if isKind(raw, '{') {
		return callBytes(raw)
	}
	n := 0
	w := walk(raw)
	for call, ok := w.element(); ok; call, ok = w.element() {
		for _, kind := range [...]string{"function", "custom"} {
			n += callBytes(get(call, kind))
		}
	}
	return n
}

func callBytes(call []byte) int {
	n := 0
	w := walk(call)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "name", "arguments", "input":
			n += textBytes(value)
		}
	}
	return n
}

// setOnce sets an empty field to the string raw.
func setOnce(field *string, raw []byte) {
	if *field == "" {
		*field, _ = scan.String(raw)
	}
}

// bodyError is the error that a whole answer is, nil if it is none.
func bodyError(body []byte) *llm.Error {
	want := [1]scan.Member{{Key: "error"}}
	if _, err := scan.Object(body, want[:]); err != nil {
		e := brokenAnswer(err.Error())
		return &llm.Error{Code: e.Code, Message: e.Message}
	}
	if scan.IsNull(want[0].Value.Of(body)) {
		return nil
	}
	return parseError(0, nil, body)
}
