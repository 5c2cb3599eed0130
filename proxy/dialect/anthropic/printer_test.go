package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/llm"
)

// reported is a usage as OpenAI reports it: at the end only.
var reported = llm.Reading{Found: true, Usage: domain.Usage{
	domain.InputTokens: 8, domain.InputAudioTokens: 1, domain.CacheReadTokens: 100, domain.CacheWrite5mTokens: 4,
	domain.OutputTokens: 20, domain.ReasoningTokens: 5,
}}

const reportedJSON = `{"input_tokens":9,"cache_creation_input_tokens":4,"cache_read_input_tokens":100,` +
	`"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":0},"output_tokens":25,` +
	`"output_tokens_details":{"thinking_tokens":5}}`

const noUsageJSON = `{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,` +
	`"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0}`

func start(usage string) string {
	return `message_start {"type":"message_start","message":{"id":"msg_9Zx","type":"message","role":"assistant","model":"gpt-x",` +
		`"content":[],"stop_reason":null,"stop_sequence":null,"usage":` + usage + `}}`
}

// TestPrinter: streams of dialects that say less of where parts end, and of usage.
func TestPrinter(t *testing.T) {
	t.Parallel()
	begin := llm.Chunk{Kind: llm.Begin, ID: "chatcmpl-9Zx", Model: "gpt-x"}
	usage := llm.Chunk{Kind: llm.UsageReport, Reading: reported}
	end := llm.Chunk{Kind: llm.End}
	finish := func(r llm.StopReason) llm.Chunk { return llm.Chunk{Kind: llm.Finish, Stop: llm.Stop{Reason: r}} }
	piece := func(k llm.ChunkKind, i int, s string) llm.Chunk { return llm.Chunk{Kind: k, Index: i, Text: s} }
	tool := func(i int, id string) llm.Chunk {
		return llm.Chunk{Kind: llm.PartBegin, Index: i, Part: llm.Part{Kind: llm.ToolUse, ToolID: id, ToolName: "f"}}
	}
	textStart := `content_block_start {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	stopBlock0 := `content_block_stop {"type":"content_block_stop","index":0}`
	stopBlock1 := `content_block_stop {"type":"content_block_stop","index":1}`
	finished := func(reason, usage string) string {
		return `message_delta {"type":"message_delta","delta":{"stop_reason":` + reason + `,"stop_sequence":null},"usage":` + usage + `}`
	}
	stop := `message_stop {"type":"message_stop"}`
	for _, tc := range []struct {
		name   string
		chunks []llm.Chunk
		want   []string
	}{
		{
			"text; the usage comes last",
			[]llm.Chunk{begin, piece(llm.TextDelta, 0, "Hi"), piece(llm.TextDelta, 0, ""), finish(llm.StopEnd), usage, end},
			[]string{
				start(noUsageJSON), textStart,
				`content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}`,
				stopBlock0, finished(`"end_turn"`, reportedJSON), stop,
			},
		},
		{
			"usage before the stop reason, and again behind it",
			[]llm.Chunk{begin, usage, finish(llm.StopLength), usage, usage, end},
			[]string{start(noUsageJSON), finished(`"max_tokens"`, reportedJSON), stop},
		},
		{
			"no usage at all",
			[]llm.Chunk{begin, finish(llm.StopFiltered), end},
			[]string{start(noUsageJSON), finished(`"refusal"`, noUsageJSON), stop},
		},
		{
			"no stop reason",
			[]llm.Chunk{begin, usage, end},
			[]string{start(noUsageJSON), finished(`null`, reportedJSON), stop},
		},
		{
			"thinking, then two calls without ends, the last pieces mixed",
			[]llm.Chunk{
				begin, piece(llm.ThinkingDelta, 0, "hm"), tool(1, "a"), piece(llm.ArgsDelta, 1, "{"), tool(2, "b"),
				piece(llm.ArgsDelta, 2, "{}"), piece(llm.ArgsDelta, 1, "}"), finish(llm.StopToolUse), usage, end,
			},
			[]string{
				start(noUsageJSON),
				`content_block_start {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
				`content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`,
				stopBlock0,
				`content_block_start {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}`,
				`content_block_delta {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{"}}`,
				stopBlock1,
				`content_block_start {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"b","name":"f","input":{}}}`,
				`content_block_delta {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}`,
				`content_block_delta {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"}"}}`,
				`content_block_stop {"type":"content_block_stop","index":2}`,
				finished(`"tool_use"`, reportedJSON), stop,
			},
		},
		{
			"a refusal",
			[]llm.Chunk{begin, piece(llm.RefusalDelta, 0, "No."), finish(llm.StopEnd), usage, end},
			[]string{
				start(noUsageJSON), textStart,
				`content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"No."}}`,
				stopBlock0, finished(`"refusal"`, reportedJSON), stop,
			},
		},
		{
			"what Anthropic has no block for is left out, and the blocks are numbered anew",
			[]llm.Chunk{
				begin, {Kind: llm.PartBegin, Index: 0, Part: llm.Part{Kind: llm.Opaque}}, {Kind: llm.PartEnd, Index: 0},
				piece(llm.ArgsDelta, 0, "{}"), {Kind: llm.LogProbsDelta, Raw: json.RawMessage(`{}`)},
				piece(llm.TextDelta, 1, "Hi"), {Kind: llm.PartEnd, Index: 1}, finish(llm.StopEnd), usage, end,
			},
			[]string{
				start(noUsageJSON), textStart,
				`content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}`,
				stopBlock0, finished(`"end_turn"`, reportedJSON), stop,
			},
		},
		{
			"an error",
			[]llm.Chunk{begin, {Kind: llm.ChunkError, Err: &llm.Error{Code: domain.CodeUpstream, Message: "It broke."}}},
			[]string{start(noUsageJSON), `error {"type":"error","error":{"type":"api_error","message":"It broke."}}`},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range frames(printStream(tc.chunks)) {
				got = append(got, f.event+" "+f.data)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPrinterEnd: an SDK sees the end only in End's bytes.
func TestPrinterEnd(t *testing.T) {
	t.Parallel()
	printer := anthropic.Dialect{}.Printer(nil)
	chunks := []llm.Chunk{
		{Kind: llm.Begin}, {Kind: llm.TextDelta, Text: "Hi"}, {Kind: llm.Finish, Stop: llm.Stop{Reason: llm.StopEnd}},
		{Kind: llm.UsageReport, Reading: reported},
	}
	for i := range chunks {
		if out := printer.Chunk(&chunks[i], nil); strings.Contains(string(out), "message_stop") {
			t.Errorf("chunk %d ends the stream: %s", i, out)
		}
	}
	want := "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	if got := string(printer.Chunk(&llm.Chunk{Kind: llm.End}, nil)); got != want {
		t.Errorf("end = %q", got)
	}
}

// TestRenderAnswer: answers of other APIs.
func TestRenderAnswer(t *testing.T) {
	t.Parallel()
	answer := &llm.Answer{
		ID: "chatcmpl-9Z-x", Model: "gpt-x", Usage: reported, Stop: llm.Stop{Reason: llm.StopEnd, Native: "stop"},
		Parts: []llm.Part{
			{Kind: llm.Thinking, Text: "hm"}, {Kind: llm.Text}, {Kind: llm.Refusal, Text: "No <b>\"x\"</b>."},
			{Kind: llm.ToolUse, ToolID: "a", ToolName: "f", Args: ""},
			{Kind: llm.ToolUse, ToolID: "b", ToolName: "f", Args: ` {"x": 1.0} `},
			{Kind: llm.ToolUse, ToolID: "c", ToolName: "f", Args: `{"x": "cu`},
			{Kind: llm.Opaque, Raw: json.RawMessage(`{"type":"custom"}`)},
		},
	}
	got, err := anthropic.Dialect{}.RenderAnswer(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"msg_9Zx","type":"message","role":"assistant","model":"gpt-x","content":[` +
		`{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"No <b>\"x\"</b>."},` +
		`{"type":"tool_use","id":"a","name":"f","input":{}},{"type":"tool_use","id":"b","name":"f","input":{"x": 1.0}},` +
		`{"type":"tool_use","id":"c","name":"f","input":{"INVALID_JSON":"{\"x\": \"cu"}}],` +
		`"stop_reason":"refusal","stop_sequence":null,"usage":` + reportedJSON + `}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestParseAnswerRefuses(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, `{`, `[]`, `{}`, `<html>`, `{"content":"text"`, `{"content":[{"type":"text","text":1}]}`, `{"content":[1]}`,
		`{"type":"error","error":{"type":"api_error","message":"x"}}`,
	} {
		if answer, err := (anthropic.Dialect{}).ParseAnswer([]byte(body)); err == nil {
			t.Errorf("%s was read as %+v", body, answer)
		} else if domain.ErrorOf(err).Code != domain.CodeUpstream {
			t.Errorf("%s: %v", body, err)
		}
	}
}
