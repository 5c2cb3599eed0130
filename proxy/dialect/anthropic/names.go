package anthropic

import (
	"strings"

	"manti/proxy/llm"
)

// names are Anthropic's names for the hub's fields, where they differ.
var names = map[string]string{
	"parallel_tool_calls":                "tool_choice.disable_parallel_tool_use",
	"response_format":                    "output_config.format",
	"response_format.json_schema.schema": "output_config.format.schema",
	"stop":                               "stop_sequences",
	"user":                               "metadata.user_id",
}

// FieldName is Anthropic's name for a field of the hub.
func (Dialect) FieldName(req *llm.Request, field string) string {
	if _, own := req.Extra[field]; own {
		return field
	}
	if field == "reasoning_effort" || field == "thinking" {
		if re := req.Reasoning; re != nil && re.Mode == "" && re.Effort != "" {
			return "output_config.effort"
		}
		return "thinking"
	}
	if name, ok := names[field]; ok {
		return name
	}
	for _, media := range [...]string{".image_url", ".file"} {
		if part, found := strings.CutSuffix(field, media); found {
			return part + ".source"
		}
	}
	return field
}
