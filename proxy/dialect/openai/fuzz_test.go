package openai_test

import (
	"encoding/json"
	"errors"
	"testing"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

func checkInvalid(t *testing.T, err error, field string) {
	t.Helper()
	e, ok := errors.AsType[*domain.Error](err)
	if !ok || e.Code != domain.CodeInvalid || e.Field != field || e.Message == "" {
		t.Errorf("got %#v, want an error about %q", err, field)
	}
}

// FuzzParseRequest: what is accepted can be written, and reads the same again.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"\u00e9"}]}],"stop":"x","n":2,"temperature":0.5}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}]}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"file","file":{"file_id":"file-1"}}]}],"response_format":{"type":"json_object"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := openai.Dialect{}.ParseRequest(body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted %q", body)
		}
		once, _, err := openai.Dialect{}.RenderRequest(req, able)
		if err != nil || !json.Valid(once) {
			t.Fatalf("%q became %q: %v", body, once, err)
		}
		again, err := openai.Dialect{}.ParseRequest(once)
		if err != nil {
			return // what was left out may have been needed
		}
		if twice, _, _ := (openai.Dialect{}).RenderRequest(again, able); !json.Valid(twice) {
			t.Fatalf("%q became %q", once, twice)
		}
	})
}

// FuzzStream: no stream breaks Meter, Parser or Printer; what Parser accepts
// is printed as a stream that reads the same.
func FuzzStream(f *testing.F) {
	f.Add("data: " + delta + "\n\ndata: [DONE]\n\n")
	f.Add("data: " + toolDelta + "\n\n")
	f.Add(`data: {"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}` + "\n\ndata: [DONE]\n\n")
	f.Add(`data: {"choices":[{"delta":{"thinking_blocks":[{"type":"thinking","thinking":"x","signature":"s"}],"content":[{"type":"text","text":"x"}]}}]}` + "\n\n")
	f.Add(`data: {"error":{"message":"x"}}` + "\n\n")
	f.Add("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1},\"output\":[{\"type\":\"web_search_call\"}]}}\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		for _, endpoint := range []dialect.Endpoint{dialect.ChatCompletions, dialect.Responses} {
			m := openai.Dialect{}.Meter(endpoint)
			for _, fr := range frames(stream) {
				if note := m.Frame(fr.Event, fr.Data); note.TextBytes < 0 {
					t.Fatalf("%q: %+v", fr.Raw, note)
				}
			}
			for _, n := range m.Reading().Usage {
				if n < 0 {
					t.Fatalf("%q: %+v", stream, m.Reading())
				}
			}
			m.Body([]byte(stream))
		}
		parser := openai.Dialect{}.Parser()
		var chunks []llm.Chunk
		for _, fr := range frames(stream) {
			var err error
			if chunks, err = parser.Frame(fr.Event, fr.Data, chunks); err != nil {
				return
			}
		}
		printer := openai.Dialect{}.Printer(&llm.Request{IncludeUsage: true})
		var out []byte
		for i := range chunks {
			out = printer.Chunk(&chunks[i], out)
		}
		for _, fr := range frames(string(out)) {
			if string(fr.Data) != "[DONE]" && !json.Valid(fr.Data) {
				t.Fatalf("printed %q", fr.Raw)
			}
		}
		if len(chunks) == 0 || chunks[0].Kind != llm.Begin {
			return // an end or an error from the beginning
		}
		want, got := understood(collect(t, chunks)), understood(collect(t, parse(t, string(out))))
		if want.Text != got.Text || want.Refusal != got.Refusal || want.Thinking != got.Thinking || len(want.Calls) != len(got.Calls) {
			t.Fatalf("%+v became %+v", want, got)
		}
	})
}
