package anthropic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
)

func TestHead(t *testing.T) {
	t.Parallel()
	ten := int64(10)
	for _, tc := range []struct {
		name     string
		endpoint dialect.Endpoint
		body     string
		want     dialect.Head
	}{
		{
			"everything", dialect.Messages,
			`{"metadata":{"user_id":"u-1"},"stream":true,"max_tokens":10,"model":"m","service_tier":"auto","speed":"fast"}`,
			dialect.Head{Model: "m", Stream: true, MaxTokens: &ten, Tier: "auto", Speed: "fast", EndUser: "u-1"},
		},
		{
			"nulls", dialect.Messages,
			`{"metadata":null,"stream":null,"max_tokens":10,"model":"m","service_tier":null,"speed":null}`,
			dialect.Head{Model: "m", MaxTokens: &ten},
		},
		{"escaped key", dialect.Messages, `{"mod\u0065l":"m","max_tokens":10.0}`, dialect.Head{Model: "m", MaxTokens: &ten}},
		{"no user id", dialect.Messages, `{"model":"m","max_tokens":10,"metadata":{}}`, dialect.Head{Model: "m", MaxTokens: &ten}},
		{"counting", dialect.CountTokens, `{"model":"m","messages":[]}`, dialect.Head{Model: "m"}},
		{
			"Claude Code", dialect.Messages,
			`{"model":"m","max_tokens":10,"metadata":{"user_id":"user_ab12_account_1b4e28ba-2fa1-11d2-883f-0016d3cca427_session_6ba7b810-9dad-11d1-80b4-00c04fd430c8"}}`,
			dialect.Head{
				Model: "m", MaxTokens: &ten,
				EndUser: "user_ab12_account_1b4e28ba-2fa1-11d2-883f-0016d3cca427", Session: "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
			},
		},
		{
			"Claude Code without an account", dialect.Messages,
			`{"model":"m","max_tokens":10,"metadata":{"user_id":"user_ab12_account__session_6ba7b810"}}`,
			dialect.Head{Model: "m", MaxTokens: &ten, EndUser: "user_ab12", Session: "6ba7b810"},
		},
		{
			"Claude Code with an object", dialect.Messages,
			`{"model":"m","max_tokens":10,"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"a\",\"session_id\":\"s\"}"}}`,
			dialect.Head{Model: "m", MaxTokens: &ten, EndUser: "a", Session: "s"},
		},
		{
			"an object without an account", dialect.Messages,
			`{"model":"m","max_tokens":10,"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"}}`,
			dialect.Head{Model: "m", MaxTokens: &ten, EndUser: "d", Session: "s"},
		},
		{
			"another object", dialect.Messages,
			`{"model":"m","max_tokens":10,"metadata":{"user_id":"{\"id\":7}"}}`,
			dialect.Head{Model: "m", MaxTokens: &ten, EndUser: `{"id":7}`},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := anthropic.Dialect{}.Head(tc.endpoint, []byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			tc.want.N, tc.want.IncludeUsage = 1, true
			got = dialect.NewHead(got, dialect.Edits{})
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(dialect.Head{})); diff != "" {
				t.Errorf("head (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHeadSplice: a relayed body changes nowhere but in the model's name.
func TestHeadSplice(t *testing.T) {
	t.Parallel()
	const body = " {\"stream\":true, \"model\" : \"m\\u0031\",\"max_tokens\":1,\"x\":{\"model\":\"m1\"}}\n"
	h, err := anthropic.Dialect{}.Head(dialect.Messages, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	join := func(model string) string {
		var b strings.Builder
		for _, piece := range h.Splice([]byte(body), model, true) {
			b.Write(piece)
		}
		return b.String()
	}
	if got := join("m1"); got != body {
		t.Errorf("the same model: %q", got)
	}
	if got, want := join("m2"), strings.Replace(body, `"m\u0031"`, `"m2"`, 1); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHeadRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, field, message string }{
		{"no JSON", `{"model":`, "", "no valid JSON object"},
		{"an array", `[]`, "", "no valid JSON object"},
		{"broken behind what is read", `{"model":"m","max_tokens":1,"messages":[}`, "", "no valid JSON object"},
		{"two models", `{"model":"m","max_tokens":1,"model":"n"}`, "model", "stands twice"},
		{"no model", `{"max_tokens":1}`, "model", "model: Field required"},
		{"empty model", `{"model":"","max_tokens":1}`, "model", "a string"},
		{"model of a wrong type", `{"model":1,"max_tokens":1}`, "model", "a string"},
		{"no max_tokens", `{"model":"m"}`, "max_tokens", "max_tokens: Field required"},
		{"max_tokens null", `{"model":"m","max_tokens":null}`, "max_tokens", "max_tokens: Field required"},
		{"max_tokens of a wrong type", `{"model":"m","max_tokens":"1"}`, "max_tokens", "a whole number"},
		{"negative max_tokens", `{"model":"m","max_tokens":-1}`, "max_tokens", "0 or more"},
		{"half a token", `{"model":"m","max_tokens":1.5}`, "max_tokens", "a whole number"},
		{"stream of a wrong type", `{"model":"m","max_tokens":1,"stream":"yes"}`, "stream", "true or false"},
		{"metadata of a wrong type", `{"model":"m","max_tokens":1,"metadata":"u"}`, "metadata", "an object"},
		{"tier of a wrong type", `{"model":"m","max_tokens":1,"service_tier":1}`, "service_tier", "a string"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := anthropic.Dialect{}.Head(dialect.Messages, []byte(tc.body))
			e, ok := errors.AsType[*domain.Error](err)
			if !ok || e.Code != domain.CodeInvalid || e.Field != tc.field || !strings.Contains(e.Message, tc.message) {
				t.Errorf("got %#v, want an invalid %q: …%s…", err, tc.field, tc.message)
			}
		})
	}
}

func TestParseRequestRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, field string }{
		{"no JSON", `{`, ""},
		{"no messages", `{"model":"m"}`, "messages"},
		{"messages of a wrong type", `{"model":"m","messages":{}}`, "messages"},
		{"a message of a wrong type", `{"model":"m","messages":["hi"]}`, "messages.0"},
		{"an unknown role", `{"model":"m","messages":[{"role":"bot","content":"x"}]}`, "messages.0.role"},
		{"no content", `{"model":"m","messages":[{"role":"user"}]}`, "messages.0.content"},
		{"content of a wrong type", `{"model":"m","messages":[{"role":"user","content":1}]}`, "messages.0.content"},
		{"a block without a type", `{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}`, "messages.0.content.0.type"},
		{"text of a wrong type", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":1}]}]}`, "messages.0.content.0.text"},
		{"an image without a source", `{"model":"m","messages":[{"role":"user","content":[{"type":"image"}]}]}`, "messages.0.content.0.source"},
		{"a result without an id", `{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result"}]}]}`, "messages.0.content.0.tool_use_id"},
		{"an inner block", `{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text"}]}]}]}`, "messages.0.content.0.content.0.text"},
		{"a tool without a name", `{"model":"m","messages":[],"tools":[{"input_schema":{}}]}`, "tools.0.name"},
		{"a stop sequence", `{"model":"m","messages":[],"stop_sequences":["a",1]}`, "stop_sequences.1"},
		{"a temperature", `{"model":"m","messages":[],"temperature":"hot"}`, "temperature"},
		{"a budget", `{"model":"m","messages":[],"thinking":{"type":"enabled","budget_tokens":"all"}}`, "thinking.budget_tokens"},
		{"a named tool without its name", `{"model":"m","messages":[],"tool_choice":{"type":"tool"}}`, "tool_choice.name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := anthropic.Dialect{}.ParseRequest([]byte(tc.body))
			e, ok := errors.AsType[*domain.Error](err)
			if !ok || e.Code != domain.CodeInvalid || e.Field != tc.field {
				t.Errorf("got %#v, want an invalid %q", err, tc.field)
			}
		})
	}
}
