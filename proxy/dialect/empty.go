package dialect

import (
	"bytes"
	"encoding/json"
	"slices"

	"manti/proxy/llm/scan"
)

// emptyDefaults are the fields that say no more when they are empty than when
// they are left out. Of no other is that known: OpenAI's
// "web_search_options": {} switches web search on.
var emptyDefaults = [...]string{
	"context_management", "logit_bias", "mcp_servers", "metadata", "prompt_cache_options",
}

// SaysNothing reports whether a field with the value raw asks for no more than
// one that is left out: it is absent or null, or an empty object or array
// where that is the API's default.
func SaysNothing(field string, raw json.RawMessage) bool {
	return scan.IsNull(raw) || slices.Contains(emptyDefaults[:], field) && IsEmpty(raw)
}

// IsEmpty reports whether raw is JSON for an object or array of nothing.
func IsEmpty(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	if len(raw) < 2 || raw[0] != '{' && raw[0] != '[' {
		return false
	}
	return len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
}
