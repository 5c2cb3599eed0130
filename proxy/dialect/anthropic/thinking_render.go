package anthropic

import (
	"manti/proxy/dialect"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// minBudget is the smallest thinking budget that Anthropic takes, in tokens.
const minBudget = 1024

// reasoning writes thinking and output_config, and reports whether the model
// will think as asked.
//
// Models that take an effort get it, with adaptive thinking; effort none turns
// thinking off, since some think unless told otherwise. Older ones get a
// budget: the caller's, or a share of max_tokens that grows with the effort.
// max_tokens itself is the caller's bound and stays; where it leaves no room
// for a budget nothing is asked.
func (r *renderer) reasoning() (thinking bool) {
	effort := ""
	if asked := r.req.Reasoning; asked != nil {
		switch {
		case off(asked):
			if r.model.Reasoning || r.model.Effort {
				r.thinkingField("disabled", 0, "")
			}
		case r.model.Effort:
			effort, thinking = r.adaptive(asked)
		case r.model.Reasoning:
			thinking = r.budgeted(asked)
		default:
			r.hint("reasoning_effort", "The model doesn't think.")
		}
	}
	r.outputConfig(effort)
	return thinking
}

// off reports whether thinking is declined.
func off(asked *llm.Reasoning) bool {
	return asked.Mode == "disabled" || asked.Mode == "" && asked.Effort == "none"
}

// adaptive asks a model that takes an effort. A forced tool call and thinking
// exclude each other: then only the effort is said.
func (r *renderer) adaptive(asked *llm.Reasoning) (effort string, thinking bool) {
	switch effort = asked.Effort; effort {
	case "minimal":
		effort = "low"
	case "none": // with an explicit mode
		effort = ""
	}
	if effort == "" && asked.Budget != nil {
		r.hint("thinking.budget_tokens", "The model takes an effort instead of a budget.")
	}
	if r.forced() {
		r.hint("reasoning_effort", "Anthropic's models don't think before a call that tool_choice forces.")
		return effort, false
	}
	r.thinkingField("adaptive", 0, asked.Display)
	return effort, true
}

// budgeted asks a model that takes a budget.
func (r *renderer) budgeted(asked *llm.Reasoning) bool {
	limit := r.maxTokens()
	budget := effortBudget(asked.Effort, limit)
	if asked.Budget != nil {
		budget = *asked.Budget
	}
	budget = min(max(budget, minBudget), limit-1)
	switch {
	case budget < minBudget:
		r.hint("reasoning_effort", "The bound on output leaves no room for thinking: it must be above 1024.")
	case r.forced():
		r.hint("reasoning_effort", "Anthropic's models don't think before a call that tool_choice forces.")
	case r.thoughtless():
		r.hint("reasoning_effort", "The model can't think in the middle of tool calls whose thinking isn't sent back.")
	default:
		r.thinkingField("enabled", budget, asked.Display)
		return true
	}
	return false
}

// effortBudget is the share of max_tokens that an effort gives to thinking.
func effortBudget(effort string, maxTokens int64) int64 {
	percent := int64(50) // medium, or not said
	switch effort {
	case "minimal":
		percent = 10
	case "low":
		percent = 20
	case "high":
		percent = 80
	case "xhigh", "max":
		percent = 95
	}
	return maxTokens / 100 * percent
}

// thoughtless reports whether the last turn of the assistant called tools
// without the thinking that led to it. With thinking on, Anthropic refuses
// such a turn while its results are answered; callers of OpenAI's API have no
// field to keep thinking in.
func (r *renderer) thoughtless() bool {
	for i := len(r.req.Messages) - 1; i >= 0; i-- {
		m := &r.req.Messages[i]
		if m.Role != llm.Assistant {
			continue
		}
		called := false
		for j := range m.Parts {
			switch p := &m.Parts[j]; p.Kind {
			case llm.Thinking, llm.RedactedThinking:
				if p.Kind == llm.RedactedThinking || p.Signature != "" {
					return false
				}
			case llm.ToolUse:
				called = true
			}
		}
		return called && i+1 < len(r.req.Messages) && r.req.Messages[i+1].Role == llm.Tool
	}
	return false
}

func (r *renderer) thinkingField(mode string, budget int64, display string) {
	r.w.key("thinking")
	r.w.open('{')
	r.w.strField("type", mode)
	if budget > 0 {
		r.w.intField("budget_tokens", budget)
	}
	if display != "" {
		r.w.strField("display", display)
	}
	r.w.close('}')
}

// outputConfig writes output_config: the effort and the answer's form.
func (r *renderer) outputConfig(effort string) {
	schema := r.format()
	if effort == "" && schema == nil {
		return
	}
	r.w.key("output_config")
	r.w.open('{')
	if effort != "" {
		r.w.strField("effort", effort)
	}
	if schema != nil {
		r.w.key("format")
		r.w.open('{')
		r.w.strField("type", "json_schema")
		r.w.rawField("schema", schema)
		r.w.close('}')
	}
	r.w.close('}')
}

// format is the schema that the answer must follow, nil if none.
func (r *renderer) format() (schema []byte) {
	f := r.req.Format
	if f == nil || f.Type == "text" {
		return nil
	}
	switch {
	case f.Type != "json_schema":
		r.meaning("response_format", "Anthropic's API has no JSON mode without a schema: use json_schema.")
	case !r.model.StructuredOutput:
		r.meaning("response_format", "The model can't be held to a JSON schema.")
	case scan.IsNull(f.Schema) || dialect.IsEmpty(f.Schema):
		r.meaning("response_format.json_schema.schema", "Anthropic's API must have the schema.")
	default:
		return f.Schema
	}
	return nil
}
