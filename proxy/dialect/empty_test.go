package dialect_test

import (
	"encoding/json"
	"testing"

	"manti/proxy/dialect"
)

// TestSaysNothing: an empty value is no default by itself.
func TestSaysNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, field, raw string
		want             bool
	}{
		{"absent", "anything", ``, true},
		{"null", "web_search_options", `null`, true},
		{"web search, switched on", "web_search_options", `{}`, false},
		{"web search, switched on, with space", "web_search_options", "{ }", false},
		{"a field that nobody knows", "plugins", `[]`, false},
		{"no metadata", "metadata", `{}`, true},
		{"no metadata, with space", "metadata", "{\n }", true},
		{"no servers", "mcp_servers", `[]`, true},
		{"metadata", "metadata", `{"a":"b"}`, false},
		{"an empty string", "metadata", `""`, false},
		{"zero", "metadata", `0`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := dialect.SaysNothing(tc.field, json.RawMessage(tc.raw)); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
