package openai

import (
	"encoding/json"

	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// ParseRequest reads a chat request. What it returns shares body's memory.
//
// Values equal to the API's default come out as not said, so that nothing is
// lost where a target can't say them: n 1, temperature and top_p 1, penalties
// 0, tool_choice "auto", parallel_tool_calls true, a text response_format,
// service_tier "auto" or "default", verbosity "medium", modalities ["text"], and whatever
// is empty, false by default, or null.
//
// The functions and function_call of before become tools and tool_choice, and
// allow one call a turn, since a message of theirs holds one; allowed_tools
// leaves the other tools out.
func (Dialect) ParseRequest(body []byte) (*llm.Request, error) {
	if _, err := scan.Object(body, nil); err != nil {
		return nil, invalidJSON(err)
	}
	r := &reader{}
	o := r.object("", body[space(body, 0):])
	req := &llm.Request{Model: o.must("model")}
	parseMessages(o, req)
	parseTools(o, req)
	parseSampling(o, req)
	parseReasoning(o, req)
	parseStream(o, req)
	parseHints(o, req)
	req.Extra = o.rest()
	if r.err != nil {
		return nil, r.err
	}
	return req, nil
}

// parseSampling reads what shapes the answer.
func parseSampling(o *object, req *llm.Request) {
	req.MaxTokens = o.whole("max_completion_tokens")
	if old := o.whole("max_tokens"); req.MaxTokens == nil {
		req.MaxTokens = old
	}
	req.Temperature = o.number("temperature", 1)
	req.TopP = o.number("top_p", 1)
	req.TopK = o.whole("top_k")
	req.PresencePenalty = o.number("presence_penalty", 0)
	req.FrequencyPenalty = o.number("frequency_penalty", 0)
	req.LogitBias = o.hash("logit_bias")
	if req.N = o.whole("n"); req.N != nil && *req.N == 1 {
		req.N = nil
	} else if req.N != nil && *req.N < 1 {
		o.fail("n", "it must be at least 1")
	}
	req.LogProbs = o.flag("logprobs", false)
	if top := o.whole("top_logprobs"); req.LogProbs != nil {
		req.TopLogProbs = top
	}
	parseStop(o, req)
	parseFormat(o, req)
	if raw := o.take("modalities"); raw != nil && !textOnly(o.r, raw) {
		o.leave("modalities")
	}
	if raw := o.take("verbosity"); raw != nil && string(raw) != `"medium"` {
		o.leave("verbosity")
	}
}

// textOnly reports whether the list asks for nothing but text.
func textOnly(r *reader, raw []byte) bool {
	only := true
	r.list("modalities", raw, func(_ string, raw []byte) { only = only && string(raw) == `"text"` })
	return only
}

func parseStop(o *object, req *llm.Request) {
	raw := o.take("stop")
	if isKind(raw, '"') {
		one, _ := scan.String(raw)
		req.Stop = []string{one}
		return
	}
	o.r.list("stop", raw, func(path string, raw []byte) {
		s, ok := scan.String(raw)
		if !ok {
			o.r.fail(path, "it must be a string")
		}
		req.Stop = append(req.Stop, s)
	})
}

func parseFormat(o *object, req *llm.Request) {
	raw := o.take("response_format")
	if raw == nil {
		return
	}
	f := o.r.object("response_format", raw)
	format := &llm.Format{Type: f.must("type")}
	switch format.Type {
	case "text":
		return
	case "json_object":
	case "json_schema":
		s := o.r.object("response_format.json_schema", f.take("json_schema"))
		format.Name = s.must("name")
		format.Description = s.text("description")
		format.Schema = json.RawMessage(s.take("schema"))
		format.Strict = s.strict("strict")
	default:
		f.fail("type", "manti knows text, json_object and json_schema")
	}
	req.Format = format
}

// parseReasoning reads reasoning_effort, and as extensions Anthropic's thinking
// and OpenRouter's reasoning.
func parseReasoning(o *object, req *llm.Request) {
	var re llm.Reasoning
	re.Effort = o.text("reasoning_effort")
	if raw := o.take("thinking"); raw != nil {
		t := o.r.object("thinking", raw)
		re.Mode, re.Budget, re.Display = t.text("type"), t.whole("budget_tokens"), t.text("display")
	}
	if raw := o.take("reasoning"); raw != nil {
		t := o.r.object("reasoning", raw)
		re.Effort = firstOf(re.Effort, t.text("effort"))
		if most := t.whole("max_tokens"); re.Budget == nil {
			re.Budget = most
		}
		if enabled := t.strict("enabled"); enabled != nil && re.Mode == "" && re.Effort == "" && re.Budget == nil {
			re.Effort = map[bool]string{true: "medium", false: "none"}[*enabled]
		}
	}
	if re != (llm.Reasoning{}) {
		req.Reasoning = &re
	}
}

func parseStream(o *object, req *llm.Request) {
	req.Stream = o.flag("stream", false) != nil
	if raw := o.take("stream_options"); raw != nil {
		s := o.r.object("stream_options", raw)
		req.IncludeUsage = s.flag("include_usage", false) != nil && req.Stream
	}
}

// parseHints reads what the answer doesn't depend on.
func parseHints(o *object, req *llm.Request) {
	req.User = o.text("user")
	if req.User == "" {
		req.User = o.text("safety_identifier")
	}
	req.Metadata = o.hash("metadata")
	req.Store = o.flag("store", false)
	req.Seed = json.RawMessage(o.take("seed"))
	if tier := o.text("service_tier"); tier != "auto" && tier != "default" {
		req.ServiceTier = tier
	}
	req.CacheKey = o.text("prompt_cache_key")
}
