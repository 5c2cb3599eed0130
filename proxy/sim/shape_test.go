package sim_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/sim"
)

const (
	userTurn = `"messages":[{"role":"user","content":"hello"}]`
	longTurn = `"messages":[{"role":"user","content":"%s"}]`
	tools    = `"tools":[
		{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}},
		{"type":"function","function":{"name":"time","parameters":{"type":"object","properties":{"zone":{"type":"string","enum":["UTC"]}}}}}]`
	claudeTools = `"tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}},{"name":"time","input_schema":{"type":"object"}}]`
)

// chatUsage is the usage object of chat, completions and embeddings.
type chatUsage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
	PromptMore struct {
		Cached int64 `json:"cached_tokens"`
		Write  int64 `json:"cache_write_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionMore struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

func (u chatUsage) tokens(t testing.TB) sim.Tokens {
	t.Helper()
	if u.Prompt+u.Completion != u.Total {
		t.Errorf("usage %+v doesn't add up", u)
	}
	return sim.Tokens{
		domain.InputTokens: u.Prompt - u.PromptMore.Cached - u.PromptMore.Write, domain.CacheReadTokens: u.PromptMore.Cached,
		domain.CacheWrite5mTokens: u.PromptMore.Write, domain.OutputTokens: u.Completion - u.CompletionMore.Reasoning,
		domain.ReasoningTokens: u.CompletionMore.Reasoning,
	}
}

// said is what a caller makes of an answer in any dialect.
type said struct {
	Text, Thinking, Stop string
	Tools                []string // name and arguments
	Usage                sim.Tokens
}

type chatDelta struct {
	Content   *string `json:"content"`
	Refusal   *string `json:"refusal"`
	ToolCalls []struct {
		Index    int    `json:"index"`
		ID       string `json:"id"`
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
}

type chatAnswer struct {
	ID, Object, Model string
	Choices           []struct {
		Index          int
		Message, Delta chatDelta
		FinishReason   *string         `json:"finish_reason"`
		LogProbs       json.RawMessage `json:"logprobs"`
	}
	Usage *chatUsage
}

func (s *said) add(d chatDelta) {
	if d.Content != nil {
		s.Text += *d.Content
	}
	if d.Refusal != nil {
		s.Text += *d.Refusal
	}
	for _, c := range d.ToolCalls {
		for len(s.Tools) <= c.Index {
			s.Tools = append(s.Tools, "")
		}
		if c.ID != "" {
			s.Tools[c.Index] = c.Function.Name + " "
		}
		s.Tools[c.Index] += c.Function.Arguments
	}
}

func readChat(t testing.TB, body string, stream bool) said {
	t.Helper()
	var s said
	if !stream {
		a := decode[chatAnswer](t, body)
		for i := range a.Choices[0].Message.ToolCalls {
			a.Choices[0].Message.ToolCalls[i].Index = i
		}
		s.add(a.Choices[0].Message)
		s.Stop, s.Usage = *a.Choices[0].FinishReason, a.Usage.tokens(t)
		return s
	}
	all := events(t, body)
	if last := all[len(all)-1].data; last != "[DONE]" {
		t.Errorf("stream ends with %q", last)
	}
	for _, e := range all[:len(all)-1] {
		a := decode[chatAnswer](t, e.data)
		if a.Usage != nil {
			s.Usage = a.Usage.tokens(t)
		}
		for _, c := range a.Choices {
			if c.Index != 0 {
				continue
			}
			s.add(c.Delta)
			if c.FinishReason != nil {
				s.Stop = *c.FinishReason
			}
		}
	}
	return s
}

// claudeUsage is Anthropic's.
type claudeUsage struct {
	Input    *int64 `json:"input_tokens"`
	Read     *int64 `json:"cache_read_input_tokens"`
	Write    *int64 `json:"cache_creation_input_tokens"`
	Creation *struct {
		Five int64 `json:"ephemeral_5m_input_tokens"`
		Hour int64 `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
	Output *int64 `json:"output_tokens"`
	More   struct {
		Thinking int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

func (u claudeUsage) into(s *sim.Tokens) {
	s[domain.InputTokens], s[domain.CacheReadTokens] = *u.Input, *u.Read
	if u.Creation != nil {
		s[domain.CacheWrite5mTokens], s[domain.CacheWrite1hTokens] = u.Creation.Five, u.Creation.Hour
	}
	s[domain.OutputTokens], s[domain.ReasoningTokens] = *u.Output-u.More.Thinking, u.More.Thinking
}

type claudeBlock struct {
	Type, Text, Thinking, Name string
	Input                      json.RawMessage
}

func (s *said) addBlock(b claudeBlock) {
	s.Text += b.Text
	s.Thinking += b.Thinking
	if b.Type == "tool_use" {
		s.Tools = append(s.Tools, b.Name+" ")
	}
}

func readMessage(t testing.TB, body string, stream bool) said {
	t.Helper()
	var s said
	if !stream {
		a := decode[struct {
			Content    []claudeBlock
			StopReason string `json:"stop_reason"`
			Usage      claudeUsage
		}](t, body)
		for _, b := range a.Content {
			s.addBlock(b)
			if b.Type == "tool_use" {
				s.Tools[len(s.Tools)-1] += string(b.Input)
			}
		}
		s.Stop = a.StopReason
		a.Usage.into(&s.Usage)
		return s
	}
	for _, e := range events(t, body) {
		a := decode[struct {
			Type    string
			Message struct{ Usage claudeUsage }
			Block   claudeBlock `json:"content_block"`
			Delta   struct {
				Text, Thinking string
				Partial        string `json:"partial_json"`
				StopReason     string `json:"stop_reason"`
			}
			Usage claudeUsage
		}](t, e.data)
		if a.Type != e.name {
			t.Errorf("event %q has type %q", e.name, a.Type)
		}
		switch a.Type {
		case "message_start":
			a.Message.Usage.into(&s.Usage)
		case "content_block_start":
			s.addBlock(a.Block)
		case "content_block_delta":
			s.Text += a.Delta.Text
			s.Thinking += a.Delta.Thinking
			if a.Delta.Partial != "" {
				s.Tools[len(s.Tools)-1] += a.Delta.Partial
			}
		case "message_delta":
			s.Stop = a.Delta.StopReason
			a.Usage.into(&s.Usage)
		}
	}
	return s
}

func readResponse(t testing.TB, body string, stream bool) said {
	t.Helper()
	if stream {
		all := events(t, body)
		var deltas string
		for i, e := range all {
			a := decode[struct {
				Type, Delta string
				Sequence    int `json:"sequence_number"`
			}](t, e.data)
			if a.Type != e.name || a.Sequence != i {
				t.Errorf("event %d %q has type %q and number %d", i, e.name, a.Type, a.Sequence)
			}
			deltas += a.Delta
		}
		last := decode[struct{ Response json.RawMessage }](t, all[len(all)-1].data)
		whole := readResponse(t, string(last.Response), false)
		want := whole.Text
		for _, tool := range whole.Tools {
			_, args, _ := strings.Cut(tool, " ")
			want += args
		}
		if deltas != want {
			t.Errorf("deltas say %q, the response %q", deltas, want)
		}
		return whole
	}
	a := decode[struct {
		Status string
		Output []struct {
			Type, Name, Arguments string
			Content               []struct{ Text, Refusal string }
		}
		Usage struct {
			Input     int64 `json:"input_tokens"`
			Output    int64 `json:"output_tokens"`
			Total     int64 `json:"total_tokens"`
			InputMore struct {
				Cached int64 `json:"cached_tokens"`
				Write  int64 `json:"cache_write_tokens"`
			} `json:"input_tokens_details"`
			OutputMore struct {
				Reasoning int64 `json:"reasoning_tokens"`
			} `json:"output_tokens_details"`
		}
	}](t, body)
	s := said{Stop: a.Status}
	for _, item := range a.Output {
		for _, c := range item.Content {
			s.Text += c.Text + c.Refusal
		}
		if item.Type == "function_call" {
			s.Tools = append(s.Tools, item.Name+" "+item.Arguments)
		}
	}
	u := chatUsage{Prompt: a.Usage.Input, Completion: a.Usage.Output, Total: a.Usage.Total}
	u.PromptMore.Cached, u.PromptMore.Write = a.Usage.InputMore.Cached, a.Usage.InputMore.Write
	u.CompletionMore.Reasoning = a.Usage.OutputMore.Reasoning
	s.Usage = u.tokens(t)
	return s
}

func readText(t testing.TB, body string, stream bool) said {
	t.Helper()
	var s said
	add := func(body string) {
		a := decode[struct {
			Choices []struct {
				Text         string
				FinishReason *string `json:"finish_reason"`
			}
			Usage *chatUsage
		}](t, body)
		for _, c := range a.Choices {
			s.Text += c.Text
			if c.FinishReason != nil {
				s.Stop = *c.FinishReason
			}
		}
		if a.Usage != nil {
			s.Usage = a.Usage.tokens(t)
		}
	}
	if !stream {
		add(body)
		return s
	}
	all := events(t, body)
	for _, e := range all[:len(all)-1] {
		add(e.data)
	}
	return s
}

// TestShapes makes each kind of call plain and streamed, in memory and through
// net/http: what was said is the same four times, and so are the books.
func TestShapes(t *testing.T) {
	t.Parallel()
	long := fmt.Sprintf(longTurn, strings.Repeat("word ", 2000))
	for _, tt := range []struct {
		name, path, body string
		read             func(testing.TB, string, bool) said
		check            func(said) bool
	}{
		{"chat", "/v1/chat/completions", `{"model":"fast",` + userTurn, readChat, func(s said) bool { return s.Stop == "stop" && s.Text != "" }},
		{"chat prefix", "/chat/completions", `{"model":"sim/fast",` + userTurn, readChat, func(s said) bool { return s.Stop == "stop" }},
		{"chat length", "/v1/chat/completions", `{"model":"fast","max_tokens":3,` + userTurn, readChat, func(s said) bool { return s.Stop == "length" && s.Usage[domain.OutputTokens] == 3 }},
		{"chat stop", "/v1/chat/completions", `{"model":"long","stop":["the"],` + userTurn, readChat, func(s said) bool { return s.Stop == "stop" && !strings.Contains(s.Text, "the") }},
		{"chat tools", "/v1/chat/completions", `{"model":"fast",` + tools + `,` + userTurn, readChat, func(s said) bool {
			return s.Stop == "tool_calls" && len(s.Tools) == 2 && s.Tools[1] == `time {"zone":"UTC"}`
		}},
		{"chat one tool", "/v1/chat/completions", `{"model":"fast","parallel_tool_calls":false,` + tools + `,` + userTurn, readChat, func(s said) bool { return len(s.Tools) == 1 }},
		{"chat named tool", "/v1/chat/completions", `{"model":"fast","tool_choice":{"type":"function","function":{"name":"time"}},` + tools + `,` + userTurn, readChat, func(s said) bool {
			return len(s.Tools) == 1 && strings.HasPrefix(s.Tools[0], "time")
		}},
		{"chat no tool", "/v1/chat/completions", `{"model":"fast","tool_choice":"none",` + tools + `,` + userTurn, readChat, func(s said) bool { return len(s.Tools) == 0 && s.Text != "" }},
		{"chat after tool", "/v1/chat/completions", `{"model":"fast",` + tools + `,"messages":[{"role":"user","content":"q"},{"role":"tool","tool_call_id":"x","content":"1"}]`, readChat, func(s said) bool { return len(s.Tools) == 0 }},
		{"chat structured", "/v1/chat/completions", `{"model":"fast","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","properties":{"ok":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}}}}}},` + userTurn, readChat, func(s said) bool {
			var v struct {
				OK   *bool
				Tags []string
			}
			return json.Unmarshal([]byte(s.Text), &v) == nil && v.OK != nil && len(v.Tags) == 1
		}},
		{"chat reasons", "/v1/chat/completions", `{"model":"thinks",` + userTurn, readChat, func(s said) bool { return s.Usage[domain.ReasoningTokens] > 0 }},
		{"chat caches", "/v1/chat/completions", `{"model":"caches",` + long, readChat, func(s said) bool {
			return s.Usage[domain.CacheReadTokens]+s.Usage[domain.CacheWrite5mTokens] > 0 && s.Usage[domain.InputTokens] > 0
		}},
		{"chat refuses", "/v1/chat/completions", `{"model":"fault-refuse",` + userTurn, readChat, func(s said) bool { return s.Stop == "stop" && strings.Contains(s.Text, "can't") }},
		{"chat filter", "/v1/chat/completions", `{"model":"fault-filter",` + userTurn, readChat, func(s said) bool { return s.Stop == "content_filter" }},
		{"load", "/v1/chat/completions", `{"model":"plainload",` + userTurn, readChat, func(s said) bool { return len(s.Text) == 200 && s.Usage[domain.OutputTokens] == 10 }},

		{"responses", "/v1/responses", `{"model":"fast","input":"hello"`, readResponse, func(s said) bool { return s.Stop == "completed" && s.Text != "" }},
		{"responses length", "/v1/responses", `{"model":"fast","max_output_tokens":2,"input":"hello"`, readResponse, func(s said) bool { return s.Stop == "incomplete" }},
		{"responses reasons", "/v1/responses", `{"model":"thinks","input":"hello"`, readResponse, func(s said) bool { return s.Usage[domain.ReasoningTokens] > 0 }},
		{"responses tools", "/v1/responses", `{"model":"fast","input":"hello","tools":[{"type":"function","name":"f","parameters":{"properties":{"q":{"type":"string"}}}}]`, readResponse, func(s said) bool {
			return len(s.Tools) == 1 && strings.HasPrefix(s.Tools[0], `f {"q":"a \"quoted\"`)
		}},
		{"responses refuse", "/v1/responses", `{"model":"fault-refuse","input":"hello"`, readResponse, func(s said) bool { return strings.Contains(s.Text, "can't") }},

		{"completions", "/v1/completions", `{"model":"fast","prompt":"hello"`, readText, func(s said) bool { return s.Stop == "stop" && s.Text != "" }},

		{"message", "/v1/messages", `{"model":"fast","max_tokens":500,` + userTurn, readMessage, func(s said) bool { return s.Stop == "end_turn" && s.Text != "" }},
		{"message length", "/v1/messages", `{"model":"fast","max_tokens":3,` + userTurn, readMessage, func(s said) bool { return s.Stop == "max_tokens" }},
		{"message stop", "/v1/messages", `{"model":"long","max_tokens":5000,"stop_sequences":["the"],` + userTurn, readMessage, func(s said) bool { return s.Stop == "stop_sequence" }},
		{"message thinks", "/v1/messages", `{"model":"fast","max_tokens":500,"thinking":{"type":"enabled","budget_tokens":1024},` + userTurn, readMessage, func(s said) bool {
			return s.Thinking != "" && s.Usage[domain.ReasoningTokens] > 0
		}},
		{"message tools", "/v1/messages", `{"model":"fast","max_tokens":500,` + claudeTools + `,` + userTurn, readMessage, func(s said) bool {
			return s.Stop == "tool_use" && len(s.Tools) == 2 && s.Tools[1] == "time {}"
		}},
		{"message after tool", "/v1/messages", `{"model":"fast","max_tokens":500,` + claudeTools + `,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"1"}]}]`, readMessage, func(s said) bool {
			return len(s.Tools) == 0
		}},
		{"message caches 1h", "/v1/messages", `{"model":"fast","max_tokens":500,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],` + userTurn, readMessage, func(s said) bool {
			return s.Usage[domain.CacheReadTokens]+s.Usage[domain.CacheWrite1hTokens] > 0
		}},
		{"message refuses", "/v1/messages", `{"model":"fault-refuse","max_tokens":500,` + userTurn, readMessage, func(s said) bool { return s.Stop == "refusal" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := sim.Config{Seed: 7, KeepCalls: true, Models: map[string]sim.Model{
				"long": {Output: 400}, "thinks": {Output: 20, Reasoning: 30}, "caches": {Output: 5, Caches: true},
				"plainload": {Chunks: 10, ChunkBytes: 20},
			}}
			var inMemory said
			for i, mode := range []string{"plain", "stream", "plain net/http", "stream net/http"} {
				p := start(t, cfg)
				c, url := client(t, p), "http://sim"
				if i > 1 {
					server := httptest.NewServer(p)
					t.Cleanup(server.Close)
					c, url = server.Client(), server.URL
				}
				stream := i%2 == 1
				body := tt.body + `}`
				if stream {
					body = tt.body + `,"stream":true,"stream_options":{"include_usage":true}}`
				}
				a := postCtx(t.Context(), c, url+tt.path, body)
				if a.err != nil || a.status != 200 {
					t.Fatalf("%s: status %d, error %v, body %s", mode, a.status, a.err, a.body)
				}
				got := tt.read(t, a.body, stream)
				if !tt.check(got) {
					t.Errorf("%s: got %+v", mode, got)
				}
				switch i {
				case 1:
					inMemory = got
				case 3:
					if diff := cmp.Diff(inMemory, got); diff != "" {
						t.Errorf("net/http says otherwise than memory (-memory +net/http):\n%s", diff)
					}
				}
				want := sim.Report{Begun: 1, Completed: 1, Reported: got.Usage}
				if diff := cmp.Diff(want, p.Books()); diff != "" {
					t.Errorf("%s: books (-seen by caller +books):\n%s", mode, diff)
				}
				call := p.Calls()[0]
				if id := a.header.Get("X-Request-Id") + a.header.Get("Request-Id"); call.RequestID != id || call.ClientID != "caller-1" || !strings.Contains(a.body, call.AnswerID) {
					t.Errorf("%s: call %+v doesn't match header %q", mode, call, id)
				}
			}
		})
	}
}

func TestEmbeddings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, input, more string
		want              int
	}{
		{"text", `"hello"`, ``, 1},
		{"texts", `["a","b","c"]`, ``, 3},
		{"tokens", `[1,2,3]`, ``, 1},
		{"base64", `["a","b"]`, `,"encoding_format":"base64"`, 2},
		{"dimensions", `"a"`, `,"dimensions":3`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sim.Config{})
			a := post(t, client(t, p), "/v1/embeddings", `{"model":"embed","input":`+tt.input+tt.more+`}`)
			got := decode[struct {
				Data []struct {
					Index     int
					Embedding json.RawMessage
				}
				Usage chatUsage
			}](t, a.body)
			if len(got.Data) != tt.want || len(got.Data[0].Embedding) < 5 {
				t.Errorf("got %s", a.body)
			}
			if books := p.Books(); books.Reported != got.Usage.tokens(t) || books.Completed != 1 {
				t.Errorf("books %+v, usage %+v", books, got.Usage)
			}
		})
	}
}

// TestCountTokens: what count_tokens says is what the message then costs.
func TestCountTokens(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{})
	c := client(t, p)
	counted := decode[struct {
		Input int64 `json:"input_tokens"`
	}](t, post(t, c, "/v1/messages/count_tokens", `{"model":"fast","system":"be brief",`+userTurn+`}`).body)
	if books := p.Books(); books.Completed != 1 || books.Reported != (sim.Tokens{}) {
		t.Errorf("counting is free; books %+v", books)
	}
	message := readMessage(t, post(t, c, "/v1/messages", `{"model":"fast","max_tokens":9,"system":"be brief",`+userTurn+`}`).body, false)
	if message.Usage[domain.InputTokens] != counted.Input || counted.Input == 0 {
		t.Errorf("counted %d, used %d", counted.Input, message.Usage[domain.InputTokens])
	}
}

func TestLogProbsAndChoices(t *testing.T) {
	t.Parallel()
	p := start(t, sim.Config{})
	for _, stream := range []string{"false", "true"} {
		a := post(t, client(t, p), "/v1/chat/completions", `{"model":"fast","n":2,"logprobs":true,"top_logprobs":2,"stream":`+stream+`,`+userTurn+`}`)
		bodies := []string{a.body}
		if stream == "true" {
			bodies = nil
			for _, e := range events(t, a.body) {
				if e.data != "[DONE]" {
					bodies = append(bodies, e.data)
				}
			}
		}
		tokens, content := map[int]string{}, map[int]string{}
		for _, body := range bodies {
			for _, c := range decode[chatAnswer](t, body).Choices {
				for _, s := range []*string{c.Message.Content, c.Delta.Content} {
					if s != nil {
						content[c.Index] += *s
					}
				}
				probs := decode[struct {
					Content []struct {
						Token string
						Bytes []byte
						Top   []struct{ Token string } `json:"top_logprobs"`
					}
				}](t, strings.ReplaceAll(string(c.LogProbs), `"bytes"`, `"-"`))
				for _, lp := range probs.Content {
					tokens[c.Index] += lp.Token
					if len(lp.Top) != 2 {
						t.Errorf("top_logprobs %+v", lp)
					}
				}
			}
		}
		if len(content) != 2 || !cmp.Equal(tokens, content) {
			t.Errorf("stream %s: logprobs spell %v, content is %v", stream, tokens, content)
		}
	}
}
