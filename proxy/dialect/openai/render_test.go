package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/dialect"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

func ask(text string) []llm.Message {
	return []llm.Message{{Role: llm.User, Parts: []llm.Part{{Kind: llm.Text, Text: text}}}}
}

// TestRenderRequest is what other dialects' requests become.
func TestRenderRequest(t *testing.T) {
	t.Parallel()
	const hi = `"messages":[{"role":"user","content":"Hi"}]`
	text := func(s string) llm.Part { return llm.Part{Kind: llm.Text, Text: s} }
	for _, tc := range []struct {
		name   string
		req    llm.Request
		model  dialect.Model
		want   string // after {"model":"gpt-test",
		losses string
	}{
		{
			name: "stream", req: llm.Request{Messages: ask("Hi"), Stream: true}, model: able,
			want: hi + `,"stream":true,"stream_options":{"include_usage":true}}`,
		},
		{
			name:  "max_tokens above the model's limit",
			req:   llm.Request{Messages: ask("Hi"), MaxTokens: ptr[int64](32000)},
			model: dialect.Model{Name: "gpt-test", OutputLimit: 16384},
			want:  hi + `,"max_completion_tokens":16384}`,
		},
		{
			name: "sampling that the model refuses",
			req: llm.Request{
				Messages: ask("Hi"), Temperature: "0.5", TopP: "0.9", TopK: ptr[int64](5), PresencePenalty: "1",
			},
			model: dialect.Model{Name: "gpt-test"}, want: hi + `}`,
			losses: "hint temperature: The model doesn't take it.\nhint top_p: The model doesn't take it.\n" +
				"hint presence_penalty: The model doesn't take it.\nhint top_k: OpenAI's API has no such field.\n",
		},
		{
			name: "five stop sequences", req: llm.Request{Messages: ask("Hi"), Stop: []string{"a", "b", "c", "d", "e"}}, model: able,
			want:   hi + `,"stop":["a","b","c","d"]}`,
			losses: "meaning stop: OpenAI's API takes at most four stop sequences.\n",
		},
		{
			name: "a schema without a name", model: able,
			req:  llm.Request{Messages: ask("Hi"), Format: &llm.Format{Type: "json_schema", Schema: json.RawMessage(`{"type":"object"}`)}},
			want: hi + `,"response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type":"object"}}}}`,
		},
		{
			name:   "a schema for a model that takes none",
			req:    llm.Request{Messages: ask("Hi"), Format: &llm.Format{Type: "json_schema"}},
			model:  dialect.Model{Name: "gpt-test"},
			want:   hi + `}`,
			losses: "meaning response_format: The model doesn't take a JSON schema for its answer.\n",
		},
		{
			name: "a small budget", model: able,
			req:  llm.Request{Messages: ask("Hi"), Reasoning: &llm.Reasoning{Mode: "enabled", Budget: ptr[int64](1024)}},
			want: hi + `,"reasoning_effort":"low"}`,
		},
		{
			name: "a large budget", model: able,
			req:  llm.Request{Messages: ask("Hi"), Reasoning: &llm.Reasoning{Mode: "enabled", Budget: ptr[int64](10000)}},
			want: hi + `,"reasoning_effort":"high"}`,
		},
		{
			name: "an effort", model: able,
			req:  llm.Request{Messages: ask("Hi"), Reasoning: &llm.Reasoning{Mode: "adaptive", Effort: "xhigh"}},
			want: hi + `,"reasoning_effort":"xhigh"}`,
		},
		{
			name: "thinking switched off", model: able,
			req: llm.Request{Messages: ask("Hi"), Reasoning: &llm.Reasoning{Mode: "disabled"}}, want: hi + `}`,
		},
		{
			name:  "thinking for a model that can't",
			req:   llm.Request{Messages: ask("Hi"), Reasoning: &llm.Reasoning{Mode: "enabled", Budget: ptr[int64](2000)}},
			model: dialect.Model{Name: "gpt-test"}, want: hi + `}`,
			losses: "hint reasoning_effort: The model has no thinking to control.\n",
		},
		{
			name: "a long user", req: llm.Request{Messages: ask("Hi"), User: strings.Repeat("x", 65), ServiceTier: "standard_only"}, model: able,
			want:   hi + `,"service_tier":"default"}`,
			losses: "hint user: OpenAI's API takes at most 64 characters.\n",
		},
		{
			name: "fields of others", model: able,
			req: llm.Request{Messages: ask("Hi"), Extra: map[string]json.RawMessage{
				"container": json.RawMessage(`"c"`), "speed": json.RawMessage(`"fast"`), "verbosity": json.RawMessage(`"low"`),
			}},
			want:   hi + `,"verbosity":"low"}`,
			losses: "meaning container: OpenAI's API has no such field.\nhint speed: OpenAI's API has no such field.\n",
		},
		{
			name: "a provider's own tool", model: able,
			req: llm.Request{
				Messages: ask("Hi"), ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired},
				Tools: []llm.ToolDef{{Type: "web_search_20250305", Raw: json.RawMessage(`{"type":"web_search_20250305","name":"web_search"}`)}},
			},
			want:   hi + `}`,
			losses: "meaning tools[0]: OpenAI's chat API has no tool of the type web_search_20250305.\n",
		},
		{
			name: "results of tools, errors and images among them", model: able,
			req: llm.Request{Messages: []llm.Message{
				{Role: llm.System, Parts: []llm.Part{text("S"), {Kind: llm.Text, Text: "T", CacheTTL: "5m"}}},
				{Role: llm.Assistant, Parts: []llm.Part{
					{Kind: llm.Thinking, Text: "hm", Signature: "s"}, text("a"),
					{Kind: llm.ToolUse, ToolID: "1", ToolName: "f", Args: `{"x":1}`}, {Kind: llm.ToolUse, ToolID: "2", ToolName: "g"},
				}},
				{Role: llm.User, Parts: []llm.Part{
					text("So?"),
					{Kind: llm.ToolResult, ToolID: "1", Result: []llm.Part{
						text("seen"), {Kind: llm.Image, Media: &llm.Media{MIME: "image/png", Base64: "AA=="}},
					}},
					{Kind: llm.ToolResult, ToolID: "2", IsError: true, Result: []llm.Part{text("gone")}},
				}},
			}},
			want: `"messages":[{"role":"system","content":[{"type":"text","text":"S"},{"type":"text","text":"T"}]},` +
				`{"role":"assistant","content":"a","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},` +
				`{"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},` +
				`{"role":"tool","tool_call_id":"1","content":"seen"},{"role":"tool","tool_call_id":"2","content":"Error: gone"},` +
				`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"text","text":"So?"}]}]}`,
			losses: "hint cache_control: OpenAI caches prompts by itself.\n" +
				"hint messages[].content[].thinking: OpenAI's API takes no thinking back.\n" +
				"hint messages[2].content[1]: OpenAI's tool messages hold text only; the rest follows in a message of the user's.\n",
		},
		{
			name: "results in messages of their own", model: able,
			req: llm.Request{Messages: []llm.Message{
				{Role: llm.Tool, Parts: []llm.Part{{Kind: llm.ToolResult, ToolID: "1", Result: []llm.Part{{Kind: llm.Image, Media: &llm.Media{URL: "https://x/a.png"}}}}}},
				{Role: llm.Tool, Parts: []llm.Part{{Kind: llm.ToolResult, ToolID: "2", IsError: true}}},
				{Role: llm.Assistant, Parts: []llm.Part{{Kind: llm.Thinking, Text: "only"}}},
				{Role: llm.User, Parts: []llm.Part{text("Hi")}},
			}},
			want: `"messages":[{"role":"tool","tool_call_id":"1","content":""},{"role":"tool","tool_call_id":"2","content":"Error: "},` +
				`{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/a.png"}}]},{"role":"assistant","content":""},{"role":"user","content":"Hi"}]}`,
			losses: "hint messages[0].content[0]: OpenAI's tool messages hold text only; the rest follows in a message of the user's.\n" +
				"hint messages[].content[].thinking: OpenAI's API takes no thinking back.\n",
		},
		{
			name: "documents", model: able,
			req: llm.Request{Messages: []llm.Message{{Role: llm.User, Parts: []llm.Part{
				{Kind: llm.File, Media: &llm.Media{Text: "plain"}},
				{Kind: llm.File, Media: &llm.Media{MIME: "text/plain", Base64: "aGV5"}},
				{Kind: llm.File, Media: &llm.Media{MIME: "application/pdf", Base64: "JVBERi0="}, Extra: map[string]json.RawMessage{"citations": json.RawMessage(`{}`)}},
				{Kind: llm.File, Media: &llm.Media{URL: "https://x/a.pdf"}},
				{Kind: llm.Image, Media: &llm.Media{FileID: "file_011"}},
				{Kind: llm.Opaque, Raw: json.RawMessage(`{"type":"search_result","source":"x"}`)},
			}}}},
			want: `"messages":[{"role":"user","content":[{"type":"text","text":"plain"},{"type":"text","text":"hey"},` +
				`{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,JVBERi0="}}]}]}`,
			losses: "hint messages[0].content[2].citations: OpenAI's API has no such field.\n" +
				"meaning messages[0].content[3].file: OpenAI's chat API takes documents inline or by its own file id only.\n" +
				"meaning messages[0].content[4].image_url: OpenAI's chat API takes images inline or by URL, not by another provider's file id.\n" +
				"meaning messages[0].content[5]: OpenAI's API has no content of the type search_result.\n",
		},
		{
			name: "a provider's steps in an answer begun for the model", model: able,
			req: llm.Request{Messages: []llm.Message{{Role: llm.Assistant, Parts: []llm.Part{
				{Kind: llm.Opaque, Raw: json.RawMessage(`{"type":"server_tool_use","id":"srv_1","name":"web_search","input":{}}`)}, text("found"),
			}}}},
			want: `"messages":[{"role":"assistant","content":"found"}]}`,
			losses: "meaning messages[0].content[0]: OpenAI's API has no content of the type server_tool_use.\n" +
				"meaning messages[0]: OpenAI's models don't go on with an answer that was begun for them.\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, lost, err := openai.Dialect{}.RenderRequest(&tc.req, tc.model)
			if err != nil || !json.Valid(got) {
				t.Fatalf("%v: %s", err, got)
			}
			if diff := cmp.Diff(`{"model":"gpt-test",`+tc.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.losses, losses(lost)); diff != "" {
				t.Errorf("losses (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStopReasons goes from other dialects' reasons to OpenAI's.
func TestStopReasons(t *testing.T) {
	t.Parallel()
	tool := llm.Part{Kind: llm.ToolUse, ToolID: "1", ToolName: "f"}
	for _, tc := range []struct {
		name string
		stop llm.Stop
		part llm.Part
		want string
	}{
		{"end", llm.Stop{Reason: llm.StopEnd, Native: "end_turn"}, llm.Part{}, `"finish_reason":"stop","native_finish_reason":"end_turn"`},
		{"OpenAI's own", llm.Stop{Reason: llm.StopEnd, Native: "stop"}, llm.Part{}, `"finish_reason":"stop"`},
		{
			"stop sequence", llm.Stop{Reason: llm.StopSequence, Native: "stop_sequence", Sequence: "END"}, llm.Part{},
			`"finish_reason":"stop","native_finish_reason":"stop_sequence","stop_sequence":"END"`,
		},
		{"length", llm.Stop{Reason: llm.StopLength, Native: "max_tokens"}, llm.Part{}, `"finish_reason":"length","native_finish_reason":"max_tokens"`},
		{"tools", llm.Stop{Reason: llm.StopToolUse, Native: "tool_use"}, tool, `"finish_reason":"tool_calls","native_finish_reason":"tool_use"`},
		{"refusal", llm.Stop{Reason: llm.StopRefusal, Native: "refusal"}, llm.Part{}, `"finish_reason":"content_filter","native_finish_reason":"refusal"`},
		{"filter", llm.Stop{Reason: llm.StopFiltered, Native: "content_filter"}, llm.Part{}, `"finish_reason":"content_filter"`},
		{"pause", llm.Stop{Reason: llm.StopPause, Native: "pause_turn"}, llm.Part{}, `"finish_reason":"stop","native_finish_reason":"pause_turn"`},
		{"none", llm.Stop{}, llm.Part{}, `"finish_reason":"stop"`},
		{"none, with a tool", llm.Stop{}, tool, `"finish_reason":"tool_calls"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			body, err := openai.Dialect{}.RenderAnswer(&llm.Answer{Parts: []llm.Part{tc.part}, Stop: tc.stop}, &llm.Request{})
			if want := `"logprobs":null,` + tc.want + "}]}"; err != nil || !strings.HasSuffix(string(body), want) {
				t.Errorf("%v: %s, want %s", err, body, want)
			}
			p := openai.Dialect{}.Printer(&llm.Request{})
			out := p.Chunk(&llm.Chunk{Kind: llm.PartBegin, Part: tc.part}, nil)
			out = p.Chunk(&llm.Chunk{Kind: llm.Finish, Stop: tc.stop}, out)
			if want := `"logprobs":null,` + tc.want + "}]}\n\n"; !strings.HasSuffix(string(out), want) {
				t.Errorf("%s, want %s", out, want)
			}
		})
	}
}

// TestParseRequestRefuses names the field at fault.
func TestParseRequestRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, field string }{
		{"not JSON", `{`, ""},
		{"no model", `{"messages":[{"role":"user","content":"x"}]}`, "model"},
		{"no messages", `{"model":"m"}`, "messages"},
		{"empty messages", `{"model":"m","messages":[]}`, "messages"},
		{"messages isn't an array", `{"model":"m","messages":{}}`, "messages"},
		{"unknown role", `{"model":"m","messages":[{"role":"bot","content":"x"}]}`, "messages[0].role"},
		{"content is a number", `{"model":"m","messages":[{"role":"user","content":5}]}`, "messages[0].content"},
		{"part without a type", `{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}`, "messages[0].content[0].type"},
		{"image without a url", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}`, "messages[0].content[0].image_url.url"},
		{"result without an id", `{"model":"m","messages":[{"role":"tool","content":"x"}]}`, "messages[0].tool_call_id"},
		{"call without a name", `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{}}]}]}`, "messages[0].tool_calls[0].function.name"},
		{"tool without a type", `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{}]}`, "tools[0].type"},
		{"unknown tool_choice", `{"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":"maybe"}`, "tool_choice"},
		{"temperature is a string", `{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":"hot"}`, "temperature"},
		{"stop holds a number", `{"model":"m","messages":[{"role":"user","content":"x"}],"stop":["a",1]}`, "stop[1]"},
		{"n is 0", `{"model":"m","messages":[{"role":"user","content":"x"}],"n":0}`, "n"},
		{"unknown format", `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}}`, "response_format.type"},
		{"schema without a name", `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{}}}`, "response_format.json_schema.name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := openai.Dialect{}.ParseRequest([]byte(tc.body))
			checkInvalid(t, err, tc.field)
		})
	}
}
