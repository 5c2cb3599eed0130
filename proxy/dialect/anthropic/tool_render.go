package anthropic

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// tools writes the tools and what the model must do with them.
func (r *renderer) tools() {
	if !r.hasTools() {
		r.lostTools()
		return
	}
	r.w.key("tools")
	r.w.open('[')
	for i := range r.req.Tools {
		r.tool(&r.req.Tools[i], r.toolPath(i))
	}
	r.w.close(']')
	r.lostTools()
	r.toolChoice()
}

func (r *renderer) toolPath(i int) string {
	return cmp.Or(r.req.Tools[i].Path, "tools["+strconv.Itoa(i)+"]")
}

// hasTools reports whether there is a tool that Anthropic can be told of.
func (r *renderer) hasTools() bool {
	return slices.ContainsFunc(r.req.Tools, func(t llm.ToolDef) bool { return t.Raw == nil })
}

// lostTools names the tools that only another dialect has.
func (r *renderer) lostTools() {
	for i := range r.req.Tools {
		if t := &r.req.Tools[i]; t.Raw != nil {
			r.meaning(r.toolPath(i), "Anthropic has no tool of type "+t.Type+".")
		}
	}
}

func (r *renderer) tool(t *llm.ToolDef, path string) {
	if t.Raw != nil {
		return
	}
	r.w.open('{')
	r.w.strField("name", t.Name)
	if t.Description != "" {
		r.w.strField("description", t.Description)
	}
	r.w.key("input_schema")
	r.w.raw(r.schema(t.Schema, path))
	if t.Strict != nil && *t.Strict {
		r.w.boolField("strict", true)
	}
	if t.CacheTTL != "" {
		r.cacheControl(t.CacheTTL)
	}
	r.w.close('}')
}

// schema is a tool's schema. Anthropic must have one, and it must say that it
// is of an object; OpenAI takes none at all for no arguments.
func (r *renderer) schema(raw json.RawMessage, path string) json.RawMessage {
	if scan.IsNull(raw) {
		return json.RawMessage(`{"type":"object","properties":{}}`)
	}
	raw = bytes.TrimSpace(raw)
	want := [...]scan.Member{{Key: "type"}}
	shape, err := scan.Object(raw, want[:])
	switch {
	case err != nil:
		r.fail(path, "The tool's schema is no JSON object.")
	case want[0].Value.Found():
	case shape.Empty:
		return json.RawMessage(`{"type":"object"}`)
	default:
		return append([]byte(`{"type":"object",`), raw[shape.Open:]...)
	}
	return raw
}

// toolChoice writes tool_choice. A form that only another dialect has changes
// which tools may be called.
func (r *renderer) toolChoice() {
	kind, name := "", ""
	if c := r.req.ToolChoice; c != nil {
		switch {
		case c.Raw != nil:
			r.meaning("tool_choice", "Anthropic's API has no such tool choice.")
		case c.Mode == llm.ToolRequired:
			kind = "any"
		case c.Mode == llm.ToolNone:
			kind = "none"
		case c.Mode == llm.ToolNamed:
			kind, name = "tool", c.Name
		}
	}
	single := r.req.Parallel != nil && !*r.req.Parallel && kind != "none"
	if kind == "" && !single {
		return
	}
	if kind == "" {
		kind = "auto"
	}
	r.w.key("tool_choice")
	r.w.open('{')
	r.w.strField("type", kind)
	if name != "" {
		r.w.strField("name", name)
	}
	if single {
		r.w.boolField("disable_parallel_tool_use", true)
	}
	r.w.close('}')
}

// forced reports whether the model must call a tool.
func (r *renderer) forced() bool {
	c := r.req.ToolChoice
	return c != nil && c.Raw == nil && (c.Mode == llm.ToolRequired || c.Mode == llm.ToolNamed) && r.hasTools()
}
