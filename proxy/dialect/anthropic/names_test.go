package anthropic_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

var longUser = strings.Repeat("u", 300)

// TestFieldName: what Anthropic's callers call the hub's fields.
func TestFieldName(t *testing.T) {
	t.Parallel()
	budget := llm.Request{Reasoning: &llm.Reasoning{Mode: "enabled", Budget: ptr(int64(2000))}}
	effort := llm.Request{Reasoning: &llm.Reasoning{Effort: "low"}}
	unknown := llm.Request{Extra: map[string]json.RawMessage{"stop": json.RawMessage(`"x"`)}}
	for _, tc := range []struct {
		name, field, want string
		req               llm.Request
	}{
		{"stop sequences", "stop", "stop_sequences", llm.Request{}},
		{"a field of the caller's own", "stop", "stop", unknown},
		{"user", "user", "metadata.user_id", llm.Request{}},
		{"format", "response_format", "output_config.format", llm.Request{}},
		{"schema", "response_format.json_schema.schema", "output_config.format.schema", llm.Request{}},
		{"a budget", "reasoning_effort", "thinking", budget},
		{"an effort", "reasoning_effort", "output_config.effort", effort},
		{"parallel calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", llm.Request{}},
		{"an image", "messages.0.content.1.image_url", "messages.0.content.1.source", llm.Request{}},
		{"a document", "messages.0.content.1.file", "messages.0.content.1.source", llm.Request{}},
		{"a name that both have", "top_k", "top_k", llm.Request{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := (anthropic.Dialect{}).FieldName(&tc.req, tc.field); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestLossesForAnthropicsCallers names each loss where the caller has written it,
// though the hub counts its messages otherwise.
func TestLossesForAnthropicsCallers(t *testing.T) {
	t.Parallel()
	body := `{"model":"m","max_tokens":9,"system":[{"type":"text","text":"S"},{"type":"search_result","source":"x"}],
		"stop_sequences":["a","b","c","d","e"],"metadata":{"user_id":"` + longUser + `"},
		"thinking":{"type":"enabled","budget_tokens":2000},"output_config":{"format":{"type":"json_schema","schema":{}}},
		"fancy_search":{},"mcp_servers":[],
		"tools":[{"name":"f","input_schema":{}},{"type":"web_search_20250305","name":"web_search"}],
		"messages":[
			{"role":"user","content":"Q"},
			{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},
			{"role":"user","content":[{"type":"text","text":"So?"},{"type":"tool_result","tool_use_id":"1","content":[{"type":"search_result","source":"x"}]}]},
			{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"file_1"}},{"type":"document","source":{"type":"url","url":"https://x/a.pdf"}}]},
			{"role":"assistant","content":"Well,"}]}`
	got := named(t, anthropic.Dialect{}, openai.Dialect{}, body, dialect.Model{Name: "m"})
	want := []string{
		"system.1", "messages.2.content.1.content.0", "messages.3.content.0.source", "messages.3.content.1.source", "messages.4",
		"tools.1", "stop_sequences", "output_config.format", "thinking", "metadata.user_id", "fancy_search",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

// TestLossesForOpenAIsCallers is the other direction.
func TestLossesForOpenAIsCallers(t *testing.T) {
	t.Parallel()
	body := `{"model":"m","stop":["\n"],"user":"` + longUser + `","reasoning_effort":"low","response_format":{"type":"json_object"},
		"web_search_options":{},"prediction":{},"prompt_cache_options":{},"metadata":{},"logit_bias":{},"mcp_servers":[],
		"tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"c"}}],
		"messages":[
			{"role":"system","content":"S"},
			{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/a.png","detail":"low"}},
				{"type":"file","file":{"file_id":"file-1"}},{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]},
			{"role":"assistant","reasoning_content":"hm","content":"A","audio":{"id":"audio_1"}},
			{"role":"user","content":"Q"}]}`
	got := named(t, openai.Dialect{}, anthropic.Dialect{}, body, dialect.Model{Name: "m"})
	want := []string{
		"messages[1].content[0].image_url.detail", "messages[1].content[1].file.file_id", "messages[1].content[2].input_audio",
		"messages[2].reasoning_content", "messages[2].audio", "tools[1]", "reasoning_effort", "response_format", "stop", "user",
		"prediction", "web_search_options",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

// TestPathOfArguments: what can't be written at all is named there too.
func TestPathOfArguments(t *testing.T) {
	t.Parallel()
	req, err := openai.Dialect{}.ParseRequest([]byte(`{"model":"m","messages":[{"role":"user","content":"Q"},
		{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"[]"}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = anthropic.Dialect{}.RenderRequest(req, modern)
	if e, ok := errors.AsType[*domain.Error](err); !ok || e.Field != "messages[1].tool_calls[0]" {
		t.Errorf("got %#v", err)
	}
}

// named are the losses of a translation by the caller's names.
func named(t *testing.T, caller, upstream dialect.Dialect, body string, model dialect.Model) []string {
	t.Helper()
	req, err := caller.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	_, losses, err := upstream.RenderRequest(req, model)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, l := range losses {
		fields = append(fields, caller.FieldName(req, l.Field))
	}
	return fields
}
