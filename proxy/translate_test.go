package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestLossesInTheCallersTerms: a refusal names the field as the caller wrote it,
// and says what to do.
func TestLossesInTheCallersTerms(t *testing.T) {
	t.Parallel()
	const claude = "claude-3-5-haiku-20241022"
	audio := `{"model":"` + claude + `","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]}]}`
	with := func(model, field string) string { return strings.Replace(chat(model, false), "{", "{"+field+",", 1) }
	for _, tc := range []struct {
		name, path, body, lossy string
		status                  int
		says, dropped           string
	}{
		{
			"five stop sequences", msgPath, with("gpt-4o", `"stop_sequences":["a","b","c","d","e"]`), "", 400,
			"`stop_sequences` can't be translated for gpt-4o: OpenAI's API takes at most four stop sequences. Leave it out", "",
		},
		{"five stop sequences, allowed", msgPath, with("gpt-4o", `"stop_sequences":["a","b","c","d","e"]`), "allow", 200, "", "stop_sequences"},
		{"a long user", msgPath, with("gpt-4o", `"metadata":{"user_id":"`+strings.Repeat("u", 65)+`"}`), "", 200, "", "metadata.user_id"},
		{"web search", chatPath, with(claude, `"web_search_options":{}`), "", 400, "`web_search_options` can't be translated", ""},
		{"no metadata", chatPath, with(claude, `"metadata":{}`), "refuse", 200, "", ""},
		{"nothing but audio", chatPath, audio, "", 400, `"param":"messages[0].content[0].input_audio"`, ""},
		{"nothing but audio, dropped", chatPath, audio, "allow", 400, `"param":"messages"`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var header []string
			if tc.lossy != "" {
				header = []string{"Manti-Lossy", tc.lossy}
			}
			got := newRig(t, rigConfig{}).post(tc.path, tc.body, header...)
			if got.status != tc.status || !strings.Contains(got.body, tc.says) {
				t.Errorf("got %d %s, want %d with %q", got.status, got.body, tc.status, tc.says)
			}
			if dropped := got.header.Get("Manti-Dropped"); dropped != tc.dropped {
				t.Errorf("dropped %q, want %q", dropped, tc.dropped)
			}
		})
	}
}

// TestLegacyFunctions: who asks with functions is answered with function_call,
// plain and streamed.
func TestLegacyFunctions(t *testing.T) {
	t.Parallel()
	plain := `{"id":"msg_1","type":"message","role":"assistant","model":"claude-3-5-haiku-20241022","content":[{"type":"tool_use","id":"t","name":"f","input":{"x":1}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4}}`
	var stream strings.Builder
	for _, data := range []string{
		`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-3-5-haiku-20241022","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"x\":1}"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":4}}`,
		`{"type":"message_stop"}`,
	} {
		kind, _, _ := strings.Cut(strings.TrimPrefix(data, `{"type":"`), `"`)
		stream.WriteString("event: " + kind + "\ndata: " + data + "\n\n")
	}
	for _, streamed := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "streamed"}[streamed], func(t *testing.T) {
			t.Parallel()
			upstream := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if streamed {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = w.Write([]byte(stream.String()))
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(plain))
			})
			body := strings.Replace(chat("claude-3-5-haiku-20241022", streamed), "{", `{"functions":[{"name":"f"}],`, 1)
			got := newRig(t, rigConfig{upstream: upstream}).post(chatPath, body)
			if got.status != 200 || strings.Contains(got.body, "tool_calls") ||
				!strings.Contains(got.body, `"function_call":{"name":"f"`) || !strings.Contains(got.body, `"finish_reason":"function_call"`) {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
}
