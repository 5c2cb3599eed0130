package sim

import (
	"strconv"

	"manti/proxy/llm"
)

// events numbers the events of a streamed response.
type events struct {
	*stream
	n int64
}

// responses streams a response. Its last event is the end mark and states the
// usage in one.
func (s *stream) responses() {
	e := &events{stream: s}
	e.whole("response.created", "in_progress")
	e.whole("response.in_progress", "in_progress")
	for _, it := range s.items() {
		e.item(it)
	}
	last := "response.completed"
	if s.reply.stop == llm.StopLength || s.reply.stop == llm.StopFiltered {
		last = "response.incomplete"
	}
	b := e.begin(last)
	if s.fault == FaultNoDone {
		s.finish(b[:0], false)
		return
	}
	b = append(b, `,"response":`...)
	b = s.responseBody(b, "completed")
	s.finish(append(b, "}\n\n"...), true)
}

// begin begins an event up to and without its own fields.
func (e *events) begin(name string) []byte {
	b := append(e.frame[:0], "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: {\"type\":\""...)
	b = append(b, name...)
	b = append(b, `","sequence_number":`...)
	b = strconv.AppendInt(b, e.n, 10)
	e.n++
	return b
}

// whole sends an event that carries the response object.
func (e *events) whole(name, status string) {
	b := append(e.begin(name), `,"response":`...)
	b = e.responseBody(b, status)
	e.put(append(b, "}\n\n"...))
}

// place appends which item an event is about.
func (e *events) place(b []byte, it item) []byte {
	b = append(b, `,"item_id":"`...)
	b = appendID(b, it.prefix(), e.partID(it.n))
	b = append(b, `","output_index":`...)
	return strconv.AppendInt(b, int64(it.n), 10)
}

func (e *events) item(it item) {
	e.edge("response.output_item.added", it, false)
	switch it.kind {
	case messageItem:
		e.message(it)
	case toolItem:
		e.arguments(it)
	case reasoningItem: // thought before the first byte, and hidden
	}
	e.edge("response.output_item.done", it, true)
}

// edge sends the event with which an item begins or ends.
func (e *events) edge(name string, it item, done bool) {
	b := append(e.begin(name), `,"output_index":`...)
	b = strconv.AppendInt(b, int64(it.n), 10)
	b = append(b, `,"item":`...)
	b = e.appendItem(b, it, done)
	e.put(append(b, "}\n\n"...))
}

func (e *events) message(it item) {
	kind, field := "output_text", `"text":"`
	if e.reply.stop == llm.StopRefusal {
		kind, field = "refusal", `"refusal":"`
	}
	e.part("response.content_part.added", it, false)
	delta := "response." + kind + ".delta"
	e.chunks(e.reply.said, func(from, to int) {
		b := e.place(e.begin(delta), it)
		b = append(b, `,"content_index":0,"delta":"`...)
		b = e.appendPiece(b, e.reply.said, from, to)
		if kind == "output_text" {
			b = append(b, `","logprobs":[]}`...)
		} else {
			b = append(b, `"}`...)
		}
		e.say(append(b, "\n\n"...), to-from)
	})
	b := e.place(e.begin("response."+kind+".done"), it)
	b = append(b, `,"content_index":0,`...)
	b = append(b, field...)
	b = e.appendWhole(b)
	if kind == "output_text" {
		b = append(b, `","logprobs":[]}`...)
	} else {
		b = append(b, `"}`...)
	}
	e.put(append(b, "\n\n"...))
	e.part("response.content_part.done", it, true)
}

func (e *events) part(name string, it item, done bool) {
	b := e.place(e.begin(name), it)
	b = append(b, `,"content_index":0,"part":`...)
	b = e.appendContent(b, done)
	e.put(append(b, "}\n\n"...))
}

func (e *events) arguments(it item) {
	args := e.reply.tools[it.tool].args
	e.sent += toolOverhead
	e.chunks(args, func(from, to int) {
		b := e.place(e.begin("response.function_call_arguments.delta"), it)
		b = append(b, `,"delta":"`...)
		b = appendEscaped(b, args.span(from, to))
		e.say(append(b, "\"}\n\n"...), to-from)
	})
	b := e.place(e.begin("response.function_call_arguments.done"), it)
	b = append(b, `,"name":`...)
	b = appendString(b, e.reply.tools[it.tool].name)
	b = append(b, `,"arguments":"`...)
	b = appendEscaped(b, args.whole())
	e.put(append(b, "\"}\n\n"...))
}
