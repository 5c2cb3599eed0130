package openai

import (
	"strconv"

	"manti/proxy/llm"
)

// tools writes tools and how they may be used. Without any tool OpenAI refuses the
// latter.
func (r *renderer) tools() {
	written := 0
	for i := range r.req.Tools {
		tool := &r.req.Tools[i]
		if tool.Raw != nil && get(tool.Raw, tool.Type) == nil {
			// OpenAI's own kinds have a member named like the kind.
			r.meaning(firstOf(tool.Path, "tools["+strconv.Itoa(i)+"]"), "OpenAI's chat API has no tool of the type "+tool.Type+".")
			continue
		}
		if written == 0 {
			r.w.key("tools")
			r.w.open('[')
		}
		r.tool(tool)
		written++
	}
	if written == 0 {
		return
	}
	r.w.close(']')
	r.toolChoice()
	r.w.flag("parallel_tool_calls", r.req.Parallel)
}

func (r *renderer) tool(tool *llm.ToolDef) {
	if tool.Raw != nil {
		r.w.raw(tool.Raw)
		return
	}
	if tool.CacheTTL != "" {
		r.cacheHint()
	}
	r.w.open('{')
	r.w.text("type", "function")
	r.w.key("function")
	r.w.open('{')
	r.w.text("name", tool.Name)
	r.w.said("description", tool.Description)
	r.w.json("parameters", tool.Schema)
	r.w.flag("strict", tool.Strict)
	r.w.close('}')
	r.w.close('}')
}

func (r *renderer) toolChoice() {
	c := r.req.ToolChoice
	switch {
	case c == nil:
	case c.Raw != nil:
		r.w.json("tool_choice", c.Raw)
	case c.Mode == llm.ToolNamed:
		r.w.key("tool_choice")
		r.w.open('{')
		r.w.text("type", "function")
		r.w.key("function")
		r.w.open('{')
		r.w.text("name", c.Name)
		r.w.close('}')
		r.w.close('}')
	case c.Mode != llm.ToolAuto:
		r.w.text("tool_choice", string(c.Mode))
	}
}

// cacheHint notes that a cache breakpoint was left out.
func (r *renderer) cacheHint() {
	r.hint("cache_control", "OpenAI caches prompts by itself.")
}
