package openai

import (
	"encoding/json"
	"slices"

	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

func parseTools(o *object, req *llm.Request) {
	o.r.list("tools", o.take("tools"), func(path string, raw []byte) {
		req.Tools = append(req.Tools, parseTool(o.r.object(path, raw), raw))
	})
	modern := len(req.Tools) > 0
	o.r.list("functions", o.take("functions"), func(path string, raw []byte) {
		req.Tools = append(req.Tools, parseFunction(o.r.object(path, raw)))
	})
	req.LegacyFunctions = !modern && len(req.Tools) > 0
	if raw := o.take("tool_choice"); raw != nil {
		parseToolChoice(o, raw, req)
	}
	if raw := o.take("function_call"); raw != nil && req.ToolChoice == nil {
		parseFunctionCall(o, raw, req)
	}
	if c := req.ToolChoice; c != nil && c.Raw == nil {
		if c.Mode == llm.ToolAuto || c.Mode == llm.ToolNone && len(req.Tools) == 0 {
			req.ToolChoice = nil
		}
	}
	req.Parallel = o.flag("parallel_tool_calls", true)
	if req.LegacyFunctions {
		req.Parallel = new(bool) // the answer has room for one call
	}
}

func parseTool(o *object, raw []byte) llm.ToolDef {
	kind := o.must("type")
	if kind != "function" {
		return llm.ToolDef{Type: kind, Name: toolName(kind, raw), Raw: raw, Path: o.path}
	}
	tool := parseFunction(o.r.object(o.name("function"), o.take("function")))
	tool.CacheTTL, tool.Path = cacheTTL(o), o.path
	return tool
}

// toolName is the name of a tool that isn't a function, if it has one.
func toolName(kind string, raw []byte) string {
	return firstOf(getString(get(raw, kind), "name"), getString(raw, "name"))
}

func parseFunction(o *object) llm.ToolDef {
	return llm.ToolDef{
		Name:        o.must("name"),
		Description: o.text("description"),
		Schema:      json.RawMessage(o.take("parameters")),
		Strict:      o.strict("strict"),
		Path:        o.path,
	}
}

// parseToolChoice reads "auto", "required" ("any" for Mistral's clients), "none", a
// function by name, or allowed_tools. Any other form stays raw.
func parseToolChoice(o *object, raw []byte, req *llm.Request) {
	if word, ok := scan.String(raw); ok {
		req.ToolChoice = choiceOf(o, "tool_choice", word)
		return
	}
	c := o.r.object("tool_choice", raw)
	switch c.text("type") {
	case "function":
		f := o.r.object("tool_choice.function", c.take("function"))
		req.ToolChoice = &llm.ToolChoice{Mode: llm.ToolNamed, Name: f.must("name")}
	case "allowed_tools":
		if !allowTools(c, req) {
			req.ToolChoice = &llm.ToolChoice{Raw: raw}
		}
	default:
		req.ToolChoice = &llm.ToolChoice{Raw: raw}
	}
}

func choiceOf(o *object, field, word string) *llm.ToolChoice {
	switch word {
	case "auto", "none", "required":
		return &llm.ToolChoice{Mode: llm.ToolMode(word)}
	case "any":
		return &llm.ToolChoice{Mode: llm.ToolRequired}
	}
	o.fail(field, "it must be auto, none, required or an object")
	return nil
}

// allowTools leaves only the allowed tools in the request, which says the same
// to a provider that can't be told which of its tools are allowed. It reports
// whether they are all functions; others can't be found by name.
func allowTools(c *object, req *llm.Request) bool {
	a := c.r.object("tool_choice.allowed_tools", c.take("allowed_tools"))
	var names []string
	functions := true
	a.r.list("tool_choice.allowed_tools.tools", a.take("tools"), func(path string, raw []byte) {
		functions = functions && getString(raw, "type") == "function"
		names = append(names, getString(get(raw, "function"), "name"))
	})
	if !functions || len(names) == 0 {
		return false
	}
	mode := choiceOf(a, "mode", firstOf(a.text("mode"), "auto"))
	req.Tools = slices.DeleteFunc(req.Tools, func(t llm.ToolDef) bool { return !slices.Contains(names, t.Name) })
	req.ToolChoice = mode
	return true
}

// parseFunctionCall reads tool_choice's forerunner.
func parseFunctionCall(o *object, raw []byte, req *llm.Request) {
	if word, ok := scan.String(raw); ok {
		req.ToolChoice = choiceOf(o, "function_call", word)
		return
	}
	f := o.r.object("function_call", raw)
	req.ToolChoice = &llm.ToolChoice{Mode: llm.ToolNamed, Name: f.must("name")}
}

// cacheTTL reads a cache breakpoint: Anthropic's cache_control, which is an
// extension here, or OpenAI's prompt_cache_breakpoint.
func cacheTTL(o *object) string {
	if raw := o.take("cache_control"); raw != nil {
		return firstOf(getString(raw, "ttl"), "5m")
	}
	if o.take("prompt_cache_breakpoint") != nil {
		return "5m"
	}
	return ""
}
