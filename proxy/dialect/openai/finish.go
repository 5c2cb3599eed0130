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

// finishReason is OpenAI's word for why the model stopped. Clients take null
// for "goes on", so there is always one. A refusal that the answer spells out
// ends with "stop", as OpenAI's own does.
func finishReason(stop llm.Stop, tools, refused bool) string {
	switch stop.Reason {
	case llm.StopLength:
		return "length"
	case llm.StopToolUse:
		return "tool_calls"
	case llm.StopFiltered:
		return "content_filter"
	case llm.StopRefusal:
		if !refused {
			return "content_filter"
		}
	case llm.StopUncertain:
		if tools {
			return "tool_calls"
		}
	}
	return "stop"
}

// writeFinish writes the finish reason and what it doesn't say.
func writeFinish(w *writer, stop llm.Stop, tools, refused bool) {
	reason := finishReason(stop, tools, refused)
	w.text("finish_reason", reason)
	if stop.Native != reason {
		w.said("native_finish_reason", stop.Native)
	}
	w.said("stop_sequence", stop.Sequence)
}
