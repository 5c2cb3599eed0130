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
	counted bool // the answer has usage: its text needn't be weighed
	// list is the raw list of choices of the latest document, part of its
	// bytes.
	list []byte
}

// Reading is what is known so far. In a stream that repeats its usage the last
// one holds.
func (m *chatMeter) Reading() llm.Reading { return m.reading }

// Err is the error that the answer carried.
func (m *chatMeter) Err() *llm.Error { return m.err }

// Body reads a whole answer. Its text is weighed only if it has no usage.
func (m *chatMeter) Body(body []byte) {
	usage, err := wholeAnswer(body)
	if m.err = err; err == nil {
		m.counted = usage != nil
		m.document(body)
	}
}

// Frame reads one chunk.
func (m *chatMeter) Frame(_, data []byte) dialect.FrameNote {
	if isDone(data) {
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
	m.list = nil
	w := walk(doc)
	for key, ok := w.key(); ok; key, ok = w.key() {
		if string(key) == "choices" {
			from := w.at
			if list, ok := w.enter(); ok {
				choices = m.choices(&list, &note)
				w.leave(list)
				m.list = doc[from:w.at]
				continue
			}
		}
		switch value := w.value(); string(key) {
		case "id":
			setOnce(&m.reading.AnswerID, value)
		case "model":
			setOnce(&m.reading.Model, value)
		case "service_tier":
			m.tier(value)
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
func (m *chatMeter) choices(list *walker, note *dialect.FrameNote) bool {
	some := false
	for list.more() {
		some = true
		choice, ok := list.enter()
		if !ok {
			list.value()
			continue
		}
		m.choice(&choice, note)
		list.leave(choice)
	}
	return some
}

func (m *chatMeter) choice(w *walker, note *dialect.FrameNote) {
	for key, ok := w.key(); ok; key, ok = w.key() {
		// Writer's chunks have a delta and a message that say the same.
		if string(key) == "delta" || string(key) == "message" && note.TextBytes == 0 {
			if message, ok := w.enter(); ok {
				note.TextBytes += m.message(&message)
				w.leave(message)
				continue
			}
		}
		switch value := w.value(); string(key) {
		case "text":
			note.TextBytes += m.text(value)
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
	note.Token = note.TextBytes > 0
}

// message weighs what the model wrote in a message or delta: text, reasoning,
// refusal, names and arguments of tool calls.
func (m *chatMeter) message(w *walker) int {
	n, reasoning := 0, 0
	for key, ok := w.key(); ok; key, ok = w.key() {
		if string(key) == "tool_calls" {
			if calls, ok := w.enter(); ok {
				n += m.calls(&calls)
				w.leave(calls)
				continue
			}
		}
		switch value := w.value(); string(key) {
		case "content":
			n += m.text(value)
			if isKind(value, '[') {
				n += m.parts(value)
			}
		case "refusal":
			n += m.text(value)
		case "function_call":
			call := walk(value)
			n += m.call(&call)
		case "reasoning_content", "reasoning": // some send both, with the same text
			if reasoning == 0 {
				reasoning = m.text(value)
			}
		}
	}
	return n + reasoning
}

// text weighs a raw string and is its length; anything else has none.
func (m *chatMeter) text(raw []byte) int {
	if m.counted {
		return max(0, len(raw)-2)
	}
	return weigh(&m.reading, raw)
}

func weigh(r *llm.Reading, raw []byte) int {
	if !isKind(raw, '"') || len(raw) < 2 {
		return 0
	}
	raw = raw[1 : len(raw)-1]
	r.Text.AddJSON(raw)
	return len(raw)
}

// parts weighs a list of content parts, as Mistral has: {type, text} or
// {type, thinking: [{type, text}]}.
func (m *chatMeter) parts(parts []byte) int {
	n := 0
	w := walk(parts)
	for part, ok := w.element(); ok; part, ok = w.element() {
		n += m.text(get(part, "text"))
		if thinking := get(part, "thinking"); isKind(thinking, '[') {
			inner := walk(thinking)
			for t, ok := inner.element(); ok; t, ok = inner.element() {
				n += m.text(get(t, "text"))
			}
		}
	}
	return n
}

// calls weighs names and arguments in tool_calls.
func (m *chatMeter) calls(calls *walker) int {
	n := 0
	for calls.more() {
		call, ok := calls.enter()
		if !ok {
			calls.value()
			continue
		}
		for key, ok := call.key(); ok; key, ok = call.key() {
			if string(key) == "function" || string(key) == "custom" {
				if f, ok := call.enter(); ok {
					n += m.call(&f)
					call.leave(f)
					continue
				}
			}
			call.value()
		}
		calls.leave(call)
	}
	return n
}

func (m *chatMeter) call(call *walker) int {
	n := 0
	for key, ok := call.key(); ok; key, ok = call.key() {
		switch value := call.value(); string(key) {
		case "name", "arguments", "input":
			n += m.text(value)
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

// wholeAnswer validates a whole answer and finds its usage, nil if it has none,
// and the error that it is, if it is one.
func wholeAnswer(body []byte) (usage []byte, failure *llm.Error) {
	want := [...]scan.Member{{Key: "error"}, {Key: "usage"}}
	if _, err := scan.Object(body, want[:]); err != nil {
		e := brokenAnswer(err.Error())
		return nil, &llm.Error{Code: e.Code, Message: e.Message}
	}
	if !scan.IsNull(want[0].Value.Of(body)) {
		failure = parseError(0, nil, body)
	}
	return notNull(want[1].Value.Of(body)), failure
}
