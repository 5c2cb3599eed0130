package anthropic

import (
	"encoding/json"

	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// ParseRequest reads a request to messages. Fields that the hub has no place
// for go to Extra by their path, as in "output_config.task_budget".
//
// Values equal to the API's default come out as not said, so that nothing is
// lost where a target can't say them: temperature 1, tool_choice auto,
// disable_parallel_tool_use false, service_tier auto, speed standard, and
// null.
func (Dialect) ParseRequest(body []byte) (*llm.Request, error) {
	if _, err := scan.Object(body, nil); err != nil {
		return nil, malformed(err)
	}
	r := &reader{}
	o := r.object("", body)
	extra := map[string]json.RawMessage{}
	req := &llm.Request{
		Model:        o.need("model"),
		IncludeUsage: true,
		MaxTokens:    o.integer("max_tokens"),
		Temperature:  o.number("temperature"),
		TopP:         o.number("top_p"),
		TopK:         o.integer("top_k"),
		ServiceTier:  o.str("service_tier"),
	}
	if stream := o.boolean("stream"); stream != nil {
		req.Stream = *stream
	}
	for i, raw := range o.list("stop_sequences") {
		s, ok := scan.String(raw)
		if !ok {
			r.fail(at("stop_sequences", i), "a string")
		}
		req.Stop = append(req.Stop, s)
	}
	if system := r.content("system", o.take("system")); len(system) > 0 {
		req.Messages = append(req.Messages, llm.Message{Role: llm.System, Parts: system, Path: "system"})
	}
	if o.m["messages"] == nil && r.err == nil {
		r.err = missing("messages", nil, "")
	}
	for i, raw := range o.list("messages") {
		req.Messages = append(req.Messages, r.message(at("messages", i), raw, extra)...)
	}
	for i, raw := range o.list("tools") {
		req.Tools = append(req.Tools, r.tool(at("tools", i), raw, extra))
	}
	o.toolChoice(req)
	o.reasoning(req, extra)
	o.dropDefaults(req)
	if metadata, ok := o.child("metadata"); ok {
		req.User = metadata.str("user_id")
		metadata.restInto(extra)
	}
	o.restInto(extra)
	if len(extra) > 0 {
		req.Extra = extra
	}
	if r.err != nil {
		return nil, r.err
	}
	return req, nil
}

// message reads one turn. Tool results become a message of their own, before
// what else the user says with them.
func (r *reader) message(path string, raw json.RawMessage, extra map[string]json.RawMessage) []llm.Message {
	o := r.object(path, raw)
	role := llm.Role(o.need("role"))
	if o.m["content"] == nil && r.err == nil {
		r.err = missing(o.name("content"), nil, "")
	}
	parts := r.content(o.name("content"), o.take("content"))
	o.restInto(extra)
	switch role {
	case llm.Assistant, llm.System:
		return []llm.Message{{Role: role, Parts: parts, Path: path}}
	case llm.User:
	default:
		r.fail(o.name("role"), "'user', 'assistant' or 'system'")
		return nil
	}
	var results, rest []llm.Part
	for _, p := range parts {
		if p.Kind == llm.ToolResult {
			results = append(results, p)
		} else {
			rest = append(rest, p)
		}
	}
	var messages []llm.Message
	if len(results) > 0 {
		messages = append(messages, llm.Message{Role: llm.Tool, Parts: results, Path: path})
	}
	if len(rest) > 0 || len(results) == 0 {
		messages = append(messages, llm.Message{Role: llm.User, Parts: rest, Path: path})
	}
	return messages
}

// tool reads a tool's definition. One with a type of its own runs at
// Anthropic's and is kept whole.
func (r *reader) tool(path string, raw json.RawMessage, extra map[string]json.RawMessage) llm.ToolDef {
	o := r.object(path, raw)
	if kind := o.str("type"); kind != "" && kind != "custom" {
		return llm.ToolDef{Type: kind, Name: o.str("name"), Raw: raw, Path: path}
	}
	tool := llm.ToolDef{
		Name:        o.need("name"),
		Description: o.str("description"),
		Schema:      o.take("input_schema"),
		Strict:      o.boolean("strict"),
		CacheTTL:    o.cacheTTL(),
		Path:        path,
	}
	o.restInto(extra)
	return tool
}

// toolChoice reads tool_choice.
func (o object) toolChoice(req *llm.Request) {
	c, ok := o.child("tool_choice")
	if !ok {
		return
	}
	if disabled := c.boolean("disable_parallel_tool_use"); disabled != nil && *disabled {
		req.Parallel = new(bool)
	}
	switch kind := c.need("type"); kind {
	case "auto":
	case "any":
		req.ToolChoice = &llm.ToolChoice{Mode: llm.ToolRequired}
	case "none":
		req.ToolChoice = &llm.ToolChoice{Mode: llm.ToolNone}
	case "tool":
		req.ToolChoice = &llm.ToolChoice{Mode: llm.ToolNamed, Name: c.need("name")}
	default:
		req.ToolChoice = &llm.ToolChoice{Raw: c.raw}
	}
}

// reasoning reads thinking and output_config.
func (o object) reasoning(req *llm.Request, extra map[string]json.RawMessage) {
	var asked llm.Reasoning
	if t, ok := o.child("thinking"); ok {
		asked.Mode, asked.Display = t.need("type"), t.str("display")
		asked.Budget = t.integer("budget_tokens")
		t.restInto(extra)
	}
	if c, ok := o.child("output_config"); ok {
		asked.Effort = c.str("effort")
		c.format("format", req, extra)
		c.restInto(extra)
	}
	o.format("output_format", req, extra)
	if asked != (llm.Reasoning{}) {
		req.Reasoning = &asked
	}
}

// format reads the form that the answer must have: output_config.format, or
// output_format, its name in the structured-outputs-2025-11-13 beta.
func (o object) format(name string, req *llm.Request, extra map[string]json.RawMessage) {
	if f, ok := o.child(name); ok {
		req.Format = &llm.Format{Type: f.need("type"), Schema: f.take("schema")}
		f.restInto(extra)
	}
}

// dropDefaults forgets what says no more than leaving it out.
func (o object) dropDefaults(req *llm.Request) {
	if req.Temperature != "" && compareToOne(req.Temperature) == 0 {
		req.Temperature = ""
	}
	if req.ServiceTier == "auto" {
		req.ServiceTier = ""
	}
	if string(o.m["speed"]) == `"standard"` {
		delete(o.m, "speed")
	}
}
