package openai_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/openai"
)

// TestUsage is how each provider's counters become meters.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, usage string
		want        domain.Usage
	}{
		{
			"all of OpenAI's", `{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":20,"audio_tokens":10,"image_tokens":5},` +
				`"completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":5,"accepted_prediction_tokens":3,"rejected_prediction_tokens":4}}`,
			domain.Usage{
				domain.InputTokens: 25, domain.CacheReadTokens: 40, domain.CacheWrite5mTokens: 20, domain.InputAudioTokens: 10, domain.InputImageTokens: 5,
				domain.OutputTokens: 25, domain.ReasoningTokens: 20, domain.OutputAudioTokens: 5,
			},
		},
		{
			"a cached prompt (recorded)", `{"prompt_tokens":4020,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":4012}}`,
			domain.Usage{domain.InputTokens: 8, domain.CacheWrite5mTokens: 4012, domain.OutputTokens: 4},
		},
		{
			"responses", `{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":17}`,
			domain.Usage{domain.InputTokens: 6, domain.CacheReadTokens: 4, domain.ReasoningTokens: 7},
		},
		{"embeddings", `{"prompt_tokens":5,"total_tokens":5}`, domain.Usage{domain.InputTokens: 5}},
		{"Voyage", `{"total_tokens":5}`, domain.Usage{domain.InputTokens: 5}},
		{
			"DeepSeek", `{"prompt_tokens":563,"completion_tokens":116,"total_tokens":679,"prompt_tokens_details":{"cached_tokens":512},"completion_tokens_details":{"reasoning_tokens":60},"prompt_cache_hit_tokens":512,"prompt_cache_miss_tokens":51}`,
			domain.Usage{domain.InputTokens: 51, domain.CacheReadTokens: 512, domain.OutputTokens: 56, domain.ReasoningTokens: 60},
		},
		{
			"xAI counts reasoning outside", `{"prompt_tokens":10,"completion_tokens":23,"total_tokens":270,"completion_tokens_details":{"reasoning_tokens":237}}`,
			domain.Usage{domain.InputTokens: 10, domain.OutputTokens: 23, domain.ReasoningTokens: 237},
		},
		{
			"more reasoning than completion", `{"prompt_tokens":43,"completion_tokens":10,"total_tokens":53,"completion_tokens_details":{"reasoning_tokens":11}}`,
			domain.Usage{domain.InputTokens: 43, domain.ReasoningTokens: 10},
		},
		{
			"more cached than prompt", `{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9,"cache_write_tokens":9}}`,
			domain.Usage{domain.CacheReadTokens: 5, domain.OutputTokens: 1},
		},
		{"nulls and nonsense", `{"prompt_tokens":null,"completion_tokens":-5,"prompt_tokens_details":null,"completion_tokens_details":"x"}`, domain.Usage{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := openai.Dialect{}.Meter(dialect.ChatCompletions)
			m.Body([]byte(`{"choices":[],"usage":` + tc.usage + `}`))
			got := m.Reading()
			if diff := cmp.Diff(tc.want, got.Usage); !got.Found || diff != "" {
				t.Errorf("found %v (-want +got):\n%s", got.Found, diff)
			}
			if string(got.Raw) != tc.usage {
				t.Errorf("raw %s", got.Raw)
			}
		})
	}
}

// TestResponsesMeter follows a stream of the responses endpoint.
func TestResponsesMeter(t *testing.T) {
	t.Parallel()
	m := openai.Dialect{}.Meter(dialect.Responses)
	for _, tc := range []struct {
		event, data string
		want        dialect.FrameNote
	}{
		{"response.created", `{"type":"response.created","response":{"id":"resp_1","model":"gpt-5","status":"in_progress","service_tier":"auto","usage":null}}`, dialect.FrameNote{}},
		{"response.output_item.done", `{"type":"response.output_item.done","item":{"type":"web_search_call"}}`, dialect.FrameNote{}},
		{"response.output_text.delta", `{"type":"response.output_text.delta","delta":"Hello"}`, dialect.FrameNote{Token: true, TextBytes: 5}},
		{"", `{"type":"response.output_text.delta","delta":"!"}`, dialect.FrameNote{Token: true, TextBytes: 1}},
		{"response.unheard_of", `{"type":"response.unheard_of"}`, dialect.FrameNote{}},
		{
			"response.incomplete", `{"type":"response.incomplete","response":{"id":"resp_1","model":"gpt-5-1","status":"incomplete","service_tier":"default","incomplete_details":{"reason":"max_output_tokens"},` +
				`"output":[{"type":"web_search_call"},{"type":"web_search_call"},{"type":"file_search_call"},{"type":"message"}],"usage":{"input_tokens":3,"output_tokens":2}}}`,
			dialect.FrameNote{End: true},
		},
	} {
		if diff := cmp.Diff(tc.want, m.Frame([]byte(tc.event), []byte(tc.data))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.data, diff)
		}
	}
	r := m.Reading()
	want := domain.Usage{domain.InputTokens: 3, domain.OutputTokens: 2, domain.WebSearches: 2, domain.FileSearches: 1}
	if diff := cmp.Diff(want, r.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if r.AnswerID != "resp_1" || r.Tier != "default" || r.Stop != "max_output_tokens" || r.Text.Tokens() != 3 {
		t.Errorf("reading %+v, text %d", r, r.Text.Tokens())
	}
}

// TestResponsesErrors: each way for a response to fail ends the stream.
func TestResponsesErrors(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"type":"error","code":"server_error","message":"Oops","param":null}`,
		`{"type":"error","error":{"type":"server_error","code":"server_error","message":"Oops"}}`,
		`{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"Oops"},"usage":{"input_tokens":3,"output_tokens":0}}}`,
		`{"error":{"message":"Oops","code":"server_error"}}`,
	} {
		m := openai.Dialect{}.Meter(dialect.Responses)
		note := m.Frame(nil, []byte(data))
		if e := m.Err(); !note.End || !note.Failed || e == nil || e.Message != "Oops" || e.NativeCode != "server_error" {
			t.Errorf("%s: %+v, %+v", data, note, e)
		}
	}
	m := openai.Dialect{}.Meter(dialect.Responses)
	m.Body([]byte(`{"status":"failed","error":{"code":"server_error","message":"Oops"},"output":[],"usage":{"input_tokens":3,"output_tokens":0}}`))
	if e, r := m.Err(), m.Reading(); e == nil || e.Message != "Oops" || !r.Found || r.Usage[domain.InputTokens] != 3 {
		t.Errorf("%+v, %+v", e, r)
	}
}

// TestText: the text of an answer without usage is weighed alike, whole or streamed.
func TestText(t *testing.T) {
	t.Parallel()
	whole := openai.Dialect{}.Meter(dialect.ChatCompletions)
	whole.Body([]byte(`{"choices":[{"message":{"content":"Hello, w\u00f6rld","tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}}]}}]}`))
	stream := openai.Dialect{}.Meter(dialect.ChatCompletions)
	for _, data := range []string{
		`{"choices":[{"delta":{"role":"assistant","content":""}}]}`, `{"choices":[{"delta":{"content":"Hello, "}}]}`,
		`{"choices":[{"delta":{"content":"w\u00f6rld"}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"x\":1}"}}]}}]}`,
	} {
		stream.Frame(nil, []byte(data))
	}
	a, b := whole.Reading(), stream.Reading()
	if a.Found || b.Found || a.Text.Tokens() == 0 || !a.Text.Equal(b.Text) {
		t.Errorf("whole %d tokens, streamed %d", a.Text.Tokens(), b.Text.Tokens())
	}
	twice := openai.Dialect{}.Meter(dialect.ChatCompletions)
	if note := twice.Frame(nil, []byte(`{"choices":[{"delta":{"content":"Hello"},"message":{"content":"Hello"}}]}`)); note.TextBytes != 5 {
		t.Errorf("a chunk that says it twice counts %d bytes", note.TextBytes)
	}
	counted := openai.Dialect{}.Meter(dialect.ChatCompletions)
	counted.Body([]byte(`{"choices":[{"message":{"content":"Hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`))
	if n := counted.Reading().Text.Tokens(); n != 0 {
		t.Errorf("%d tokens estimated of an answer with usage", n)
	}
}

// TestBrokenBody: what isn't JSON is the provider's fault, and has no usage.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []dialect.Endpoint{dialect.ChatCompletions, dialect.Responses} {
		for _, body := range []string{"", "<html>", `{"usage":{"prompt_tokens":1}`, `[]`} {
			m := openai.Dialect{}.Meter(endpoint)
			m.Body([]byte(body))
			if e := m.Err(); e == nil || e.Code != domain.CodeUpstream || m.Reading().Found {
				t.Errorf("%s of %q: %+v, %+v", endpoint, body, e, m.Reading())
			}
		}
	}
}
