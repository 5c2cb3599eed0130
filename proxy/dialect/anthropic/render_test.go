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
	"manti/proxy/llm"
)

func ptr[T any](v T) *T { return &v }

func text(role llm.Role, s string) llm.Message {
	return llm.Message{Role: role, Parts: []llm.Part{{Kind: llm.Text, Text: s}}}
}

var question = []llm.Message{text(llm.User, "Q")}

var function = []llm.ToolDef{{Name: "f"}}

// old takes a thinking budget, and no schema.
var old = dialect.Model{Name: "claude-old", OutputLimit: 10000, Reasoning: true, Sampling: true}

// TestRenderRequest: what callers of other APIs ask for. Of each rendered
// request one field is looked at; "" stands for one that is left out.
func TestRenderRequest(t *testing.T) {
	t.Parallel()
	const (
		hint    = "hint "
		meaning = "meaning "
	)
	for _, tc := range []struct {
		name   string
		req    llm.Request
		model  dialect.Model
		field  string
		want   string
		losses []string
	}{
		{"the model's name", llm.Request{Model: "alias"}, modern, "model", `"claude-next"`, nil},
		{"the caller's bound", llm.Request{MaxTokens: ptr(int64(7))}, modern, "max_tokens", `7`, nil},
		{"the model's bound", llm.Request{}, modern, "max_tokens", `64000`, nil},
		{"no bound known", llm.Request{}, dialect.Model{}, "max_tokens", `4096`, nil},
		{"streamed", llm.Request{Stream: true}, modern, "stream", `true`, nil},
		{"not streamed", llm.Request{}, modern, "stream", ``, nil},

		{"temperature", llm.Request{Temperature: "0.70"}, modern, "temperature", `0.70`, nil},
		{"temperature above 1", llm.Request{Temperature: "1.2"}, modern, "temperature", `1`, []string{hint + "temperature"}},
		{"temperature in another form", llm.Request{Temperature: "20e-1"}, modern, "temperature", `1`, []string{hint + "temperature"}},
		{"temperature 1 in another form", llm.Request{Temperature: "0.1E1"}, modern, "temperature", `0.1E1`, nil},
		{"temperature 10", llm.Request{Temperature: "10"}, modern, "temperature", `1`, []string{hint + "temperature"}},
		{"temperature beyond all bounds", llm.Request{Temperature: "1e999999999999"}, modern, "temperature", `1`, []string{hint + "temperature"}},
		{"a very small temperature", llm.Request{Temperature: "9e-999999999999"}, modern, "temperature", `9e-999999999999`, nil},
		{"temperature 0", llm.Request{Temperature: "0.00e9"}, modern, "temperature", `0.00e9`, nil},
		{"temperature just above 1", llm.Request{Temperature: "1.000000000000000000001"}, modern, "temperature", `1`, []string{hint + "temperature"}},
		{"no sampling", llm.Request{Temperature: "0.5", TopP: "0.5", TopK: ptr(int64(3))}, dialect.Model{}, "temperature", ``, []string{hint + "temperature", hint + "top_p", hint + "top_k"}},
		{"no sampling, defaults", llm.Request{Temperature: "1", TopP: "1.0"}, dialect.Model{}, "temperature", ``, nil},
		{"top_p", llm.Request{TopP: "0.9"}, modern, "top_p", `0.9`, nil},
		{"top_k", llm.Request{TopK: ptr(int64(5))}, modern, "top_k", `5`, nil},
		{"stop sequences", llm.Request{Stop: []string{"a", "\n"}}, modern, "stop_sequences", `["a"]`, []string{meaning + "stop"}},

		{"several answers", llm.Request{N: ptr(int64(2))}, modern, "n", ``, []string{meaning + "n"}},
		{"one answer", llm.Request{N: ptr(int64(1))}, modern, "n", ``, nil},
		{"biased tokens", llm.Request{LogitBias: json.RawMessage(`{"1":2}`)}, modern, "logit_bias", ``, []string{meaning + "logit_bias"}},
		{"no biased tokens", llm.Request{LogitBias: json.RawMessage(`{}`)}, modern, "logit_bias", ``, nil},
		{"log probabilities", llm.Request{LogProbs: ptr(true), TopLogProbs: ptr(int64(2))}, modern, "logprobs", ``, []string{meaning + "logprobs"}},
		{
			"hints", llm.Request{
				Seed: json.RawMessage(`1`), Store: ptr(true), Metadata: json.RawMessage(`{"a":"b"}`), CacheKey: "k",
				PresencePenalty: "0.1", FrequencyPenalty: "0.0", ServiceTier: "flex",
			},
			modern, "metadata", ``,
			[]string{hint + "service_tier", hint + "presence_penalty", hint + "seed", hint + "store", hint + "metadata", hint + "prompt_cache_key"},
		},
		{"user", llm.Request{User: "u"}, modern, "metadata", `{"user_id":"u"}`, nil},
		{"a long user", llm.Request{User: strings.Repeat("u", 300)}, modern, "metadata", ``, []string{hint + "user"}},
		{"unknown field", llm.Request{Extra: map[string]json.RawMessage{"x": json.RawMessage(`1`)}}, modern, "x", ``, []string{meaning + "x"}},
		{"unknown, but nothing", llm.Request{Extra: map[string]json.RawMessage{"x": json.RawMessage(`null`)}}, modern, "x", ``, nil},
		{"ignored field", llm.Request{Extra: map[string]json.RawMessage{"verbosity": json.RawMessage(`"low"`)}}, modern, "verbosity", ``, []string{hint + "verbosity"}},
		{"Anthropic's own", llm.Request{Extra: map[string]json.RawMessage{"container": json.RawMessage(`"c"`)}}, modern, "container", `"c"`, nil},

		{"JSON mode", llm.Request{Format: &llm.Format{Type: "json_object"}}, modern, "output_config", ``, []string{meaning + "response_format"}},
		{"text", llm.Request{Format: &llm.Format{Type: "text"}}, modern, "output_config", ``, nil},
		{
			"schema", llm.Request{Format: &llm.Format{Type: "json_schema", Name: "n", Strict: ptr(true), Schema: json.RawMessage(`{"type":"object"}`)}},
			modern, "output_config", `{"format":{"type":"json_schema","schema":{"type":"object"}}}`, nil,
		},
		{
			"schema for a model that takes none", llm.Request{Format: &llm.Format{Type: "json_schema", Schema: json.RawMessage(`{"type":"object"}`)}},
			old, "output_config", ``, []string{meaning + "response_format"},
		},

		{"effort", llm.Request{Reasoning: &llm.Reasoning{Effort: "high"}}, modern, "output_config", `{"effort":"high"}`, nil},
		{"effort thinks", llm.Request{Reasoning: &llm.Reasoning{Effort: "high"}, Temperature: "0.5"}, modern, "thinking", `{"type":"adaptive"}`, []string{hint + "temperature"}},
		{"least effort", llm.Request{Reasoning: &llm.Reasoning{Effort: "minimal"}}, modern, "output_config", `{"effort":"low"}`, nil},
		{"no effort", llm.Request{Reasoning: &llm.Reasoning{Effort: "none"}}, modern, "thinking", `{"type":"disabled"}`, nil},
		{"no effort for a model that can't", llm.Request{Reasoning: &llm.Reasoning{Effort: "none"}}, dialect.Model{}, "thinking", ``, nil},
		{"nothing said", llm.Request{}, modern, "thinking", ``, nil},
		{"effort for a model that can't", llm.Request{Reasoning: &llm.Reasoning{Effort: "low"}}, dialect.Model{}, "thinking", ``, []string{hint + "reasoning_effort"}},
		{"effort as a budget", llm.Request{Reasoning: &llm.Reasoning{Effort: "high"}}, old, "thinking", `{"type":"enabled","budget_tokens":8000}`, nil},
		{"least budget", llm.Request{Reasoning: &llm.Reasoning{Effort: "minimal"}, MaxTokens: ptr(int64(2000))}, old, "thinking", `{"type":"enabled","budget_tokens":1024}`, nil},
		{"no room for a budget", llm.Request{Reasoning: &llm.Reasoning{Effort: "high"}, MaxTokens: ptr(int64(1024))}, old, "thinking", ``, []string{hint + "reasoning_effort"}},
		{"own budget", llm.Request{Reasoning: &llm.Reasoning{Mode: "enabled", Budget: ptr(int64(3000))}}, old, "thinking", `{"type":"enabled","budget_tokens":3000}`, nil},
		{"own budget above the bound", llm.Request{Reasoning: &llm.Reasoning{Mode: "enabled", Budget: ptr(int64(30000))}}, old, "thinking", `{"type":"enabled","budget_tokens":9999}`, nil},
		{
			"effort and a forced call", llm.Request{Reasoning: &llm.Reasoning{Effort: "low"}, Tools: function, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired}},
			modern, "thinking", ``, []string{hint + "reasoning_effort"},
		},
		{
			"budget and a forced call", llm.Request{Reasoning: &llm.Reasoning{Effort: "low"}, Tools: function, ToolChoice: &llm.ToolChoice{Mode: llm.ToolNamed, Name: "f"}},
			old, "thinking", ``, []string{hint + "reasoning_effort"},
		},

		{"tool without a schema", llm.Request{Tools: function}, modern, "tools", `[{"name":"f","input_schema":{"type":"object","properties":{}}}]`, nil},
		{"tool with an empty schema", llm.Request{Tools: []llm.ToolDef{{Name: "f", Schema: json.RawMessage(`{ }`)}}}, modern, "tools", `[{"name":"f","input_schema":{"type":"object"}}]`, nil},
		{"tool whose schema has no type", llm.Request{Tools: []llm.ToolDef{{Name: "f", Schema: json.RawMessage("{\"required\":[]}\n")}}}, modern, "tools", `[{"name":"f","input_schema":{"type":"object","required":[]}}]`, nil},
		{"strict tool", llm.Request{Tools: []llm.ToolDef{{Name: "f", Description: "d", Strict: ptr(true), CacheTTL: "1h"}}}, modern, "tools", `[{"name":"f","description":"d","input_schema":{"type":"object","properties":{}},"strict":true,"cache_control":{"type":"ephemeral","ttl":"1h"}}]`, nil},
		{"another API's tool", llm.Request{Tools: []llm.ToolDef{{Type: "custom", Name: "c", Raw: json.RawMessage(`{}`)}}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired}}, modern, "tools", ``, []string{meaning + "tools[0]"}},
		{"any tool", llm.Request{Tools: function, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired}}, modern, "tool_choice", `{"type":"any"}`, nil},
		{"no tool", llm.Request{Tools: function, ToolChoice: &llm.ToolChoice{Mode: llm.ToolNone}, Parallel: ptr(false)}, modern, "tool_choice", `{"type":"none"}`, nil},
		{"one tool", llm.Request{Tools: function, ToolChoice: &llm.ToolChoice{Mode: llm.ToolNamed, Name: "f"}}, modern, "tool_choice", `{"type":"tool","name":"f"}`, nil},
		{"one call at a time", llm.Request{Tools: function, Parallel: ptr(false)}, modern, "tool_choice", `{"type":"auto","disable_parallel_tool_use":true}`, nil},
		{"automatic", llm.Request{Tools: function, ToolChoice: &llm.ToolChoice{Mode: llm.ToolAuto}, Parallel: ptr(true)}, modern, "tool_choice", ``, nil},
		{"a choice without tools", llm.Request{ToolChoice: &llm.ToolChoice{Mode: llm.ToolNone}}, modern, "tool_choice", ``, nil},
		{"another API's choice", llm.Request{Tools: function, ToolChoice: &llm.ToolChoice{Raw: json.RawMessage(`{}`)}}, modern, "tool_choice", ``, []string{meaning + "tool_choice"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.req.Messages == nil {
				tc.req.Messages = question
			}
			checkRender(t, &tc.req, tc.model, tc.field, tc.want, tc.losses)
		})
	}
}

func checkRender(t *testing.T, req *llm.Request, model dialect.Model, field, want string, losses []string) {
	t.Helper()
	body, got, err := anthropic.Dialect{}.RenderRequest(req, model)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if string(fields[field]) != want {
		t.Errorf("%s = %s\nwant %s", field, fields[field], want)
	}
	var named []string
	for _, l := range got {
		kind := "hint "
		if l.Meaning {
			kind = "meaning "
		}
		named = append(named, kind+l.Field)
		if l.Why == "" {
			t.Errorf("no reason for %s", l.Field)
		}
	}
	if diff := cmp.Diff(losses, named); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

func TestRenderMessages(t *testing.T) {
	t.Parallel()
	call := func(id, args string) llm.Part {
		return llm.Part{Kind: llm.ToolUse, ToolID: id, ToolName: "f", Args: args}
	}
	result := func(id, s string) llm.Message {
		p := llm.Part{Kind: llm.ToolResult, ToolID: id}
		if s != "" {
			p.Result = []llm.Part{{Kind: llm.Text, Text: s}}
		}
		return llm.Message{Role: llm.Tool, Parts: []llm.Part{p}}
	}
	media := func(kind llm.PartKind, m llm.Media) []llm.Message {
		return []llm.Message{{Role: llm.User, Parts: []llm.Part{{Kind: kind, Media: &m}, {Kind: llm.Text, Text: "Q"}}}}
	}
	const q = `{"type":"text","text":"Q"}`
	for _, tc := range []struct {
		name     string
		messages []llm.Message
		want     string
		losses   []string
	}{
		{
			"turns of one role become one",
			[]llm.Message{text(llm.User, "a"), text(llm.User, "b"), text(llm.Assistant, "c"), text(llm.Assistant, "d")},
			`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]}]`, nil,
		},
		{
			"empty text is left out",
			[]llm.Message{text(llm.User, "Q"), text(llm.Assistant, ""), text(llm.User, " \n")},
			`[{"role":"user","content":[` + q + `]}]`, nil,
		},
		{
			"results of one turn come together, and first",
			[]llm.Message{
				text(llm.User, "Q"), {Role: llm.Assistant, Parts: []llm.Part{call("1", `{"x":1}`), call("2", "")}},
				result("1", "one"), text(llm.User, "and?"), result("2", ""),
			},
			`[{"role":"user","content":[` + q + `]},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{"x":1}},{"type":"tool_use","id":"2","name":"f","input":{}}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"one"}]},{"type":"tool_result","tool_use_id":"2"},{"type":"text","text":"and?"}]}]`, nil,
		},
		{
			"a data URL", media(llm.Image, llm.Media{URL: "data:image/png;base64,iVBORw0="}),
			`[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0="}},` + q + `]}]`, nil,
		},
		{
			"an image by its URL", media(llm.Image, llm.Media{URL: "https://example.com/a.png", Detail: "high"}),
			`[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}},` + q + `]}]`,
			[]string{"hint messages[0].content[0].image_url.detail"},
		},
		{
			"a PDF", media(llm.File, llm.Media{MIME: "application/pdf", Base64: "JVBERi0=", Name: "a.pdf"}),
			`[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0="},"title":"a.pdf"},` + q + `]}]`, nil,
		},
		{
			"a text file", media(llm.File, llm.Media{MIME: "text/csv", Base64: "YSxi"}),
			`[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"a,b"}},` + q + `]}]`, nil,
		},
		{
			"a spreadsheet", media(llm.File, llm.Media{MIME: "application/vnd.ms-excel", Base64: "AA=="}),
			`[{"role":"user","content":[` + q + `]}]`, []string{"meaning messages[0].content[0].file"},
		},
		{
			"another provider's file", media(llm.File, llm.Media{FileID: "file-abc"}),
			`[{"role":"user","content":[` + q + `]}]`, []string{"meaning messages[0].content[0].file.file_id"},
		},
		{
			"audio", media(llm.Audio, llm.Media{MIME: "audio/wav", Base64: "AA=="}),
			`[{"role":"user","content":[` + q + `]}]`, []string{"meaning messages[0].content[0].input_audio"},
		},
		{
			"thinking without its signature, a refusal, a name",
			[]llm.Message{
				{Role: llm.User, Name: "Ada", Parts: []llm.Part{{Kind: llm.Text, Text: "Q", CacheTTL: "5m"}}},
				{Role: llm.Assistant, Parts: []llm.Part{{Kind: llm.Thinking, Text: "t"}, {Kind: llm.Refusal, Text: "No."}}},
			},
			`[{"role":"user","content":[{"type":"text","text":"Q","cache_control":{"type":"ephemeral"}}]},{"role":"assistant","content":[{"type":"text","text":"No."}]}]`,
			[]string{"hint messages[0].name", "hint messages[1].content[0]"},
		},
		{
			"a block that only another API has",
			[]llm.Message{{Role: llm.User, Parts: []llm.Part{{Kind: llm.Opaque, Raw: json.RawMessage(`{}`)}, {Kind: llm.Text, Text: "Q"}}}},
			`[{"role":"user","content":[` + q + `]}]`, []string{"meaning messages[0].content[0]"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			checkRender(t, &llm.Request{Messages: tc.messages}, modern, "messages", tc.want, tc.losses)
		})
	}
}

// TestRenderSystem: system messages keep their order, wherever they stood.
func TestRenderSystem(t *testing.T) {
	t.Parallel()
	messages := []llm.Message{
		text(llm.System, "one"), text(llm.Developer, "two"), text(llm.User, "Q"), text(llm.Assistant, "A"),
		text(llm.System, "three"), text(llm.User, "R"),
	}
	checkRender(t, &llm.Request{Messages: messages}, modern, "system",
		`[{"type":"text","text":"one"},{"type":"text","text":"two"},{"type":"text","text":"three"}]`, []string{"hint messages[4]"})
}

// TestRenderBudgetInToolLoop: a model with a budget can't think on behind
// calls whose thinking is gone; with it, or with an effort, it can.
func TestRenderBudgetInToolLoop(t *testing.T) {
	t.Parallel()
	loop := func(before ...llm.Part) *llm.Request {
		parts := append(before, llm.Part{Kind: llm.ToolUse, ToolID: "1", ToolName: "f"})
		return &llm.Request{
			Tools: function, Reasoning: &llm.Reasoning{Effort: "high"},
			Messages: []llm.Message{
				text(llm.User, "Q"), {Role: llm.Assistant, Parts: parts},
				{Role: llm.Tool, Parts: []llm.Part{{Kind: llm.ToolResult, ToolID: "1"}}},
			},
		}
	}
	checkRender(t, loop(), old, "thinking", ``, []string{"hint reasoning_effort"})
	checkRender(t, loop(), modern, "thinking", `{"type":"adaptive"}`, nil)
	thought := llm.Part{Kind: llm.Thinking, Text: "t", Signature: "s"}
	checkRender(t, loop(thought), old, "thinking", `{"type":"enabled","budget_tokens":8000}`, nil)
}

func TestRenderRequestRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		req   llm.Request
		field string
	}{
		{"nothing but a system message", llm.Request{Messages: []llm.Message{text(llm.System, "s")}}, "messages"},
		{"arguments that are no JSON", llm.Request{Messages: []llm.Message{{Role: llm.Assistant, Parts: []llm.Part{{Kind: llm.ToolUse, ToolName: "f", Args: `{"x":`}}}}}, "messages[0].content[0]"},
		{"arguments that are no object", llm.Request{Messages: []llm.Message{{Role: llm.Assistant, Parts: []llm.Part{{Kind: llm.ToolUse, ToolName: "f", Args: `[1]`}}}}}, "messages[0].content[0]"},
		{"a schema that is no object", llm.Request{Messages: question, Tools: []llm.ToolDef{{Name: "f", Schema: json.RawMessage(`true`)}}}, "tools[0]"},
		{"a text file that is no base64", llm.Request{Messages: []llm.Message{{Role: llm.User, Parts: []llm.Part{{Kind: llm.File, Media: &llm.Media{MIME: "text/plain", Base64: "%"}}}}}}, "messages[0].content[0]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := anthropic.Dialect{}.RenderRequest(&tc.req, modern)
			e, ok := errors.AsType[*domain.Error](err)
			if !ok || e.Code != domain.CodeInvalid || e.Field != tc.field {
				t.Errorf("got %#v, want an invalid %q", err, tc.field)
			}
		})
	}
}
