package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

// TestLegacyFunctionsAreTold: only who speaks of functions alone is answered so.
func TestLegacyFunctionsAreTold(t *testing.T) {
	t.Parallel()
	const (
		function = `"functions":[{"name":"f"}]`
		tool     = `"tools":[{"type":"function","function":{"name":"g"}}]`
	)
	for _, tc := range []struct {
		name, fields string
		want         bool
	}{
		{"functions", function, true},
		{"functions, several calls allowed", function + `,"parallel_tool_calls":true`, true},
		{"tools", tool, false},
		{"both", tool + `,` + function, false},
		{"no functions", `"functions":[]`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			req, err := openai.Dialect{}.ParseRequest([]byte(`{"model":"m","messages":[{"role":"user","content":"Q"}],` + tc.fields + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if req.LegacyFunctions != tc.want {
				t.Errorf("legacy: %v", req.LegacyFunctions)
			}
			if single := req.Parallel != nil && !*req.Parallel; single != tc.want {
				t.Errorf("one call at a time: %v", single)
			}
		})
	}
}

// TestLegacyAnswer: one function_call, as clients of functions read it.
func TestLegacyAnswer(t *testing.T) {
	t.Parallel()
	call := func(id, name, args string) llm.Part {
		return llm.Part{Kind: llm.ToolUse, ToolID: id, ToolName: name, Args: args}
	}
	text := llm.Part{Kind: llm.Text, Text: "Let me see."}
	for _, tc := range []struct {
		name    string
		parts   []llm.Part
		stop    llm.StopReason
		message string
		finish  string
	}{
		{
			"a call", []llm.Part{call("1", "f", `{"x":1}`)}, llm.StopToolUse,
			`{"role":"assistant","content":null,"refusal":null,"function_call":{"name":"f","arguments":"{\"x\":1}"}}`, "function_call",
		},
		{
			"text, then a call without arguments", []llm.Part{text, call("1", "f", "")}, llm.StopUncertain,
			`{"role":"assistant","content":"Let me see.","refusal":null,"function_call":{"name":"f","arguments":"{}"}}`, "function_call",
		},
		{
			"two calls: the first", []llm.Part{call("1", "f", "{}"), call("2", "g", "{}")}, llm.StopToolUse,
			`{"role":"assistant","content":null,"refusal":null,"function_call":{"name":"f","arguments":"{}"}}`, "function_call",
		},
		{"no call", []llm.Part{text}, llm.StopEnd, `{"role":"assistant","content":"Let me see.","refusal":null}`, "stop"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			body, err := openai.Dialect{}.RenderAnswer(&llm.Answer{Parts: tc.parts, Stop: llm.Stop{Reason: tc.stop}}, &llm.Request{LegacyFunctions: true})
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Choices []struct {
					Message json.RawMessage
					Finish  string `json:"finish_reason"`
				}
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.message, string(got.Choices[0].Message)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Choices[0].Finish != tc.finish {
				t.Errorf("finish_reason %s, want %s", got.Choices[0].Finish, tc.finish)
			}
			checkLegacyStream(t, tc.parts, tc.stop, got.Choices[0].Message, tc.finish)
		})
	}
}

// checkLegacyStream streams the same answer, and adds up its deltas as a client does.
func checkLegacyStream(t *testing.T, parts []llm.Part, stop llm.StopReason, message json.RawMessage, finish string) {
	t.Helper()
	var out []byte
	p := openai.Dialect{}.Printer(&llm.Request{LegacyFunctions: true})
	print := func(c llm.Chunk) { out = p.Chunk(&c, out) }
	print(llm.Chunk{Kind: llm.Begin})
	for i, part := range parts {
		if part.Kind == llm.Text {
			print(llm.Chunk{Kind: llm.TextDelta, Index: i, Text: part.Text})
			continue
		}
		begun := part
		begun.Args = ""
		print(llm.Chunk{Kind: llm.PartBegin, Index: i, Part: begun})
		half := len(part.Args) / 2
		print(llm.Chunk{Kind: llm.ArgsDelta, Index: i, Text: part.Args[:half]})
		print(llm.Chunk{Kind: llm.ArgsDelta, Index: i, Text: part.Args[half:]})
		print(llm.Chunk{Kind: llm.PartEnd, Index: i})
	}
	print(llm.Chunk{Kind: llm.Finish, Stop: llm.Stop{Reason: stop}})
	print(llm.Chunk{Kind: llm.End})
	type said struct {
		Content string
		Call    struct{ Name, Arguments string } `json:"function_call"`
	}
	var got, want said
	var reason string
	if err := json.Unmarshal(message, &want); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		data, ok := strings.CutPrefix(line, "data: {")
		if !ok {
			continue
		}
		if strings.Contains(data, "tool_calls") {
			t.Errorf("the new form: %s", line)
		}
		var c struct {
			Choices []struct {
				Delta  said
				Finish string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal([]byte("{"+data), &c); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got.Content += c.Choices[0].Delta.Content
		got.Call.Name += c.Choices[0].Delta.Call.Name
		got.Call.Arguments += c.Choices[0].Delta.Call.Arguments
		reason += c.Choices[0].Finish
	}
	if got != want || reason != finish {
		t.Errorf("streamed %+v %s, want %+v %s", got, reason, want, finish)
	}
}

// TestFieldName: what OpenAI's callers call the hub's fields.
func TestFieldName(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, field, want string
		reasoning         *llm.Reasoning
	}{
		{"as the hub does", "stop", "stop", nil},
		{"an effort", "reasoning_effort", "reasoning_effort", &llm.Reasoning{Effort: "low"}},
		{"the extension", "reasoning_effort", "thinking", &llm.Reasoning{Mode: "enabled", Budget: ptr[int64](1024)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := (openai.Dialect{}).FieldName(&llm.Request{Reasoning: tc.reasoning}, tc.field); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
