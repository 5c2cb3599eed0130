package anthropic

import "manti/proxy/llm"

// stopReasons pairs Anthropic's stop reasons with the hub's. The first row of
// a hub's reason is how it is rendered.
var stopReasons = [...]struct {
	native string
	reason llm.StopReason
}{
	{"end_turn", llm.StopEnd},
	{"stop_sequence", llm.StopSequence},
	{"max_tokens", llm.StopLength},
	{"model_context_window_exceeded", llm.StopLength},
	{"tool_use", llm.StopToolUse},
	{"pause_turn", llm.StopPause},
	{"refusal", llm.StopRefusal},
	{"refusal", llm.StopFiltered},
	{"compaction", llm.StopEnd},
}

// stopOf reads a stop reason. One that isn't known is an end: the answer came
// to it in its own way.
func stopOf(native, sequence string) llm.Stop {
	stop := llm.Stop{Native: native, Sequence: sequence}
	if native == "" {
		return stop
	}
	stop.Reason = llm.StopEnd
	for _, s := range stopReasons {
		if s.native == native {
			stop.Reason = s.reason
			break
		}
	}
	return stop
}

// nativeStop is how a stop is rendered, "" (null on the wire) if none is
// known.
func nativeStop(stop llm.Stop, refused bool) string {
	if refused && (stop.Reason == llm.StopEnd || stop.Reason == llm.StopUncertain) {
		return "refusal"
	}
	for _, s := range stopReasons {
		if s.reason == stop.Reason {
			return s.native
		}
	}
	return ""
}
