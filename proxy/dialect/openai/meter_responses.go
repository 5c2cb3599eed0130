package openai

import (
	"bytes"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// responsesMeter meters the responses endpoint.
type responsesMeter struct {
	reading llm.Reading
	err     *llm.Error
}

// Reading is what is known so far.
func (m *responsesMeter) Reading() llm.Reading { return m.reading }

// Err is the error that the answer carried.
func (m *responsesMeter) Err() *llm.Error { return m.err }

// Body reads a whole response object. One that failed has its error in it, and may
// have usage too. Its text is weighed only if it has none.
func (m *responsesMeter) Body(body []byte) {
	if _, m.err = wholeAnswer(body); m.err == nil || get(body, "output") != nil {
		m.response(body)
	}
	if !m.reading.Found {
		m.weighOutput(get(body, "output"))
	}
}

// weighOutput weighs the text and arguments of output items.
func (m *responsesMeter) weighOutput(raw []byte) {
	items := walk(raw)
	for item, ok := items.element(); ok; item, ok = items.element() {
		weigh(&m.reading, get(item, "arguments"))
		for _, list := range [...]string{"content", "summary"} {
			parts := walk(get(item, list))
			for part, ok := parts.element(); ok; part, ok = parts.element() {
				weigh(&m.reading, get(part, "text"))
				weigh(&m.reading, get(part, "refusal"))
			}
		}
	}
}

// Frame reads one event. Its type is in the data too; some servers leave the
// event line out.
func (m *responsesMeter) Frame(event, data []byte) dialect.FrameNote {
	if isDone(data) { // not OpenAI's, but seen of others
		return dialect.FrameNote{End: true}
	}
	kind := event
	if len(kind) == 0 {
		kind = typeOf(data)
	}
	switch string(kind) {
	case "response.output_text.delta", "response.refusal.delta", "response.function_call_arguments.delta",
		"response.custom_tool_call_input.delta", "response.reasoning_text.delta",
		"response.reasoning_summary_text.delta", "response.mcp_call_arguments.delta",
		"response.code_interpreter_call_code.delta":
		n := weigh(&m.reading, get(data, "delta"))
		return dialect.FrameNote{Token: n > 0, TextBytes: n}
	case "response.output_item.done":
		m.item(get(data, "item"))
	case "response.created", "response.in_progress":
		m.response(get(data, "response"))
	case "response.completed", "response.incomplete", "response.cancelled":
		m.response(get(data, "response"))
		return dialect.FrameNote{End: true}
	case "response.failed":
		m.response(get(data, "response"))
		m.fail(get(data, "response"))
		return dialect.FrameNote{End: true, Failed: true}
	case "error":
		m.fail(data)
		return dialect.FrameNote{End: true, Failed: true}
	default:
		if bytes.Contains(data, []byte(`"error"`)) && get(data, "type") == nil && get(data, "error") != nil {
			m.fail(data)
			return dialect.FrameNote{End: true, Failed: true}
		}
	}
	return dialect.FrameNote{}
}

func (m *responsesMeter) fail(doc []byte) {
	m.err = parseError(0, nil, doc)
}

// response reads a response object; what it says replaces what events before it
// said.
func (m *responsesMeter) response(raw []byte) {
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "id":
			setOnce(&m.reading.AnswerID, value)
		case "model":
			setOnce(&m.reading.Model, value)
		case "service_tier": // "auto" until the end
			if tier, ok := scan.String(value); ok {
				m.reading.Tier = tier
			}
		case "status":
			if status, ok := scan.String(value); ok {
				m.reading.Stop = status
			}
		case "usage":
			setUsage(&m.reading, notNull(value))
		case "output":
			m.output(value)
		}
	}
	if why := getString(get(raw, "incomplete_details"), "reason"); why != "" {
		m.reading.Stop = why
	}
}

// output counts the calls of a whole list of output items.
func (m *responsesMeter) output(raw []byte) {
	w := walk(raw)
	first := true
	for item, ok := w.element(); ok; item, ok = w.element() {
		if first {
			m.reading.Usage[domain.WebSearches], m.reading.Usage[domain.FileSearches] = 0, 0
			first = false
		}
		m.item(item)
	}
}

// item counts a call that the provider bills by itself.
func (m *responsesMeter) item(raw []byte) {
	switch string(typeOf(raw)) {
	case "web_search_call":
		m.reading.Usage[domain.WebSearches]++
	case "file_search_call":
		m.reading.Usage[domain.FileSearches]++
	}
}

// typeOf is the object's type, nil if it has none.
func typeOf(raw []byte) []byte {
	value := get(raw, "type")
	if !isKind(value, '"') || len(value) < 2 {
		return nil
	}
	return value[1 : len(value)-1]
}
