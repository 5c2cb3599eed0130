package anthropic_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

// TestOpenAIRecordings replays recorded exchanges with OpenAI for a caller of
// Anthropic's API: what is said, and the usage by class, arrive as they were.
func TestOpenAIRecordings(t *testing.T) {
	t.Parallel()
	count := 0
	for _, r := range recordings(t, "openai.jsonl") {
		if r.Kind != "chat" || r.Response.Status != 200 {
			continue
		}
		count++
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			want, wantUsage := openAISaid(t, r)
			got, gotUsage := anthropicSaid(t, r)
			want.Stop, got.Stop = "", "" // native words
			if want.Text == "" && got.Text != "" {
				got.Text = "" // a refusal
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
			if wantUsage != gotUsage {
				t.Errorf("usage %v, want %v", gotUsage, wantUsage)
			}
		})
	}
	t.Logf("replayed %d exchanges", count)
}

func openAISaid(t *testing.T, r recording) (said, [3]int64) {
	t.Helper()
	var s said
	var usage struct {
		Prompt, Completion int64
		Cached             int64
	}
	read := func(data []byte) {
		var d struct {
			Choices []struct {
				Index          int
				Message, Delta struct {
					Content string
					Tools   []struct {
						Index    int
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
					Old *struct{ Name, Arguments string } `json:"function_call"`
				}
			}
			Usage *struct {
				Prompt     int64 `json:"prompt_tokens"`
				Completion int64 `json:"completion_tokens"`
				Details    struct {
					Cached int64 `json:"cached_tokens"`
				} `json:"prompt_tokens_details"`
			}
		}
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		if d.Usage != nil {
			usage.Prompt, usage.Completion, usage.Cached = d.Usage.Prompt, d.Usage.Completion, d.Usage.Details.Cached
		}
		for _, c := range d.Choices {
			if c.Index != 0 {
				continue
			}
			s.Text += c.Message.Content + c.Delta.Content
			for _, call := range c.Message.Tools {
				s.Tools = append(s.Tools, call.Function.Name+call.Function.Arguments)
			}
			for _, call := range []*struct{ Name, Arguments string }{c.Message.Old, c.Delta.Old} {
				if call != nil && len(s.Tools) == 0 {
					s.Tools = []string{call.Name}
				}
				if call != nil {
					s.Tools[0] += call.Arguments
				}
			}
			for _, call := range c.Delta.Tools {
				for len(s.Tools) <= call.Index {
					s.Tools = append(s.Tools, "")
				}
				s.Tools[call.Index] += call.Function.Name + call.Function.Arguments
			}
		}
	}
	if !r.Stream {
		read([]byte(r.Response.Body))
	}
	for _, f := range frames(r.Response.Body) {
		if r.Stream && f.data != "[DONE]" {
			read([]byte(f.data))
		}
	}
	for i, call := range s.Tools {
		name, args, _ := strings.Cut(call, "{")
		s.Tools[i] = name + string(compact([]byte("{"+args)))
	}
	return s, [3]int64{usage.Prompt - usage.Cached, usage.Cached, usage.Completion}
}

func anthropicSaid(t *testing.T, r recording) (said, [3]int64) {
	t.Helper()
	var got said
	var reading llm.Reading
	if r.Stream {
		chunks := openAIChunks(t, r.Response.Body)
		again, err := parseStream(printStream(chunks))
		if err != nil {
			t.Fatal(err)
		}
		got, reading = collect(again)
	} else {
		answer, err := openai.Dialect{}.ParseAnswer([]byte(r.Response.Body))
		if err != nil {
			t.Fatal(err)
		}
		body, err := anthropic.Dialect{}.RenderAnswer(answer, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := anthropic.Dialect{}.ParseAnswer(body)
		if err != nil {
			t.Fatal(err)
		}
		got, reading = saidBy(again.Parts, again.Stop), again.Usage
	}
	u := reading.Usage
	prompt := u.PromptTokens()
	var raw struct {
		Cached int64 `json:"cache_read_input_tokens"`
	}
	if reading.Found {
		if err := json.Unmarshal(reading.Raw, &raw); err != nil {
			t.Fatal(err)
		}
	}
	return got, [3]int64{prompt - raw.Cached, raw.Cached, u.CompletionTokens()}
}

func openAIChunks(t *testing.T, body string) []llm.Chunk {
	t.Helper()
	parser := openai.Dialect{}.Parser()
	var chunks []llm.Chunk
	for _, f := range frames(body) {
		var err error
		if chunks, err = parser.Frame([]byte(f.event), []byte(f.data), chunks); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.ContainsFunc(chunks, func(c llm.Chunk) bool { return c.Kind == llm.End }) {
		chunks = append(chunks, llm.Chunk{Kind: llm.End})
	}
	return chunks
}

// TestFromOpenAI translates requests of OpenAI's API.
func TestFromOpenAI(t *testing.T) {
	t.Parallel()
	each(t, "openai_*.txtar", func(t *testing.T, a *archive) {
		req, err := openai.Dialect{}.ParseRequest([]byte(a.sections["request"]))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []struct {
			suffix string
			model  dialect.Model
		}{{"", modern}, {" for an older model", old}} {
			body, losses, err := anthropic.Dialect{}.RenderRequest(req, m.model)
			if err != nil {
				t.Fatal(err)
			}
			a.golden(t, "rendered"+m.suffix, indent(t, body))
			a.golden(t, "losses"+m.suffix, lines(losses))
		}
	})
}

// TestOpenAIRequests: every recorded request to OpenAI can be written for
// Anthropic, with its losses named.
func TestOpenAIRequests(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t, "openai.jsonl") {
		if r.Kind != "chat" || r.Response.Status != 200 {
			continue
		}
		req, err := openai.Dialect{}.ParseRequest(r.Request.Body)
		if err != nil {
			t.Errorf("%s: %v", r.ID, err)
			continue
		}
		body, losses, err := anthropic.Dialect{}.RenderRequest(req, modern)
		if err != nil || !json.Valid(body) {
			t.Errorf("%s: %v: %s", r.ID, err, body)
		}
		for _, l := range losses {
			t.Logf("%s: %+v", r.ID, l)
		}
	}
}
