package openai

import "manti/proxy/llm"

// stopReasons are the finish reasons of OpenAI and of the providers of its
// shape.
var stopReasons = map[string]llm.StopReason{
	"stop":           llm.StopEnd,
	"eos":            llm.StopEnd,
	"length":         llm.StopLength,
	"model_length":   llm.StopLength,
	"tool_calls":     llm.StopToolUse,
	"function_call":  llm.StopToolUse,
	"content_filter": llm.StopFiltered,
}

// stopOf puts a finish reason into the hub's terms. When a tool was forced OpenAI
// says "stop" though the model calls it, and a refusal ends with "stop" too: what
// the answer holds says more.
func stopOf(native string, tools, refused bool) llm.Stop {
	stop := llm.Stop{Reason: stopReasons[native], Native: native}
	switch known := stop.Reason == llm.StopEnd; {
	case tools && (known || native == ""): // Snowflake says nothing
		stop.Reason = llm.StopToolUse
	case refused && known:
		stop.Reason = llm.StopRefusal
	}
	return stop
}

// said is what an answer holds that its finish reason depends on.
type said struct {
	tools, refused bool
	legacy         bool // tools are called in the form of before
}

// finishReason is OpenAI's word for why the model stopped. Clients take null
// for "goes on", so there is always one. A refusal that the answer spells out
// ends with "stop", as OpenAI's own does.
func finishReason(stop llm.Stop, s said) string {
	calls := "tool_calls"
	if s.legacy {
		calls = "function_call"
	}
	switch stop.Reason {
	case llm.StopLength:
		return "length"
	case llm.StopToolUse:
		return calls
	case llm.StopFiltered:
		return "content_filter"
	case llm.StopRefusal:
		if !s.refused {
			return "content_filter"
		}
	case llm.StopUncertain:
		if s.tools {
			return calls
		}
	}
	return "stop"
}

// writeFinish writes the finish reason and what it doesn't say.
func writeFinish(w *writer, stop llm.Stop, s said) {
	reason := finishReason(stop, s)
	w.text("finish_reason", reason)
	if stop.Native != reason {
		w.said("native_finish_reason", stop.Native)
	}
	w.said("stop_sequence", stop.Sequence)
}
