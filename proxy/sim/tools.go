package sim

import "encoding/json"

// toolCall is one tool that the simulated model calls.
type toolCall struct {
	name string
	args speech // a JSON object
}

// toolOverhead is the number of tokens that a call takes besides its arguments.
const toolOverhead = 8

func (t toolCall) tokens() int { return toolOverhead + t.args.tokens() }

// toolDef is a function tool in any of the three shapes: OpenAI's chat wraps
// it in "function", Anthropic calls the schema input_schema.
type toolDef struct {
	Name        string          `json:"name"`
	Parameters  json.RawMessage `json:"parameters"`
	InputSchema json.RawMessage `json:"input_schema"`
	Function    *toolDef        `json:"function"`
}

// callTools decides which tools are called: none if the caller has none,
// forbids it, or has just answered one.
func (r *request) callTools(d *draw) []toolCall {
	if len(r.tools) == 0 || r.answersTool() {
		return nil
	}
	mode, named := r.choice()
	if mode == "none" {
		return nil
	}
	var defs []toolDef
	if json.Unmarshal(r.tools, &defs) != nil {
		return nil
	}
	var calls []toolCall
	for _, def := range defs {
		if def.Function != nil {
			def = *def.Function
		}
		if def.Name == "" || named != "" && def.Name != named {
			continue
		}
		input := def.Parameters
		if len(input) == 0 {
			input = def.InputSchema
		}
		calls = append(calls, toolCall{name: def.Name, args: newSpeech(instance(input, d))})
		if len(calls) == 2 || !r.parallel {
			break
		}
	}
	return calls
}

// choice reads tool_choice in any of its forms: its mode, and the one tool
// that it names.
func (r *request) choice() (mode, named string) {
	if len(r.toolChoice) == 0 {
		return "auto", ""
	}
	if word := text(r.toolChoice); word != "" {
		return word, ""
	}
	var object struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(r.toolChoice, &object) != nil {
		return "auto", ""
	}
	if object.Name == "" {
		object.Name = object.Function.Name
	}
	return object.Type, object.Name
}

// schemaAsked is the schema of structured output that the request asks for, in
// any of its forms; ok is false if it asks for none.
func (r *request) schemaAsked() (raw json.RawMessage, ok bool) {
	if len(r.format) == 0 {
		return nil, false
	}
	type format struct {
		Type       string          `json:"type"`
		Schema     json.RawMessage `json:"schema"`
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	}
	var f struct {
		format
		Format format `json:"format"` // Responses' text.format, Anthropic's output_config.format
	}
	if json.Unmarshal(r.format, &f) != nil {
		return nil, false
	}
	one := f.format
	if one.Type == "" {
		one = f.Format
	}
	if one.Type != "json_schema" && one.Type != "json_object" {
		return nil, false
	}
	if len(one.Schema) > 0 {
		return one.Schema, true
	}
	if len(one.JSONSchema.Schema) > 0 {
		return one.JSONSchema.Schema, true
	}
	return json.RawMessage(`{"properties":{"answer":{"type":"string"}}}`), true
}
