package openai_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
	"manti/proxy/sse"
)

// recording is one recorded exchange of a provider's.
type recording struct {
	ID       string
	Provider string
	Wire     string
	Kind     string
	Stream   bool
	Request  struct{ Body json.RawMessage }
	Response struct {
		Status int
		Body   string
	}
	Usage *struct {
		Raw        json.RawMessage
		Normalised struct {
			Input, Output, Reasoning int64
			CacheRead                int64 `json:"cache_read"`
			CacheWrite               int64 `json:"cache_write"`
		}
	}
	UsageAbsent string `json:"usage_absent"`
}

var wires = map[string]dialect.Endpoint{
	"openai-chat":        dialect.ChatCompletions,
	"openai-completions": dialect.Completions,
	"openai-embeddings":  dialect.Embeddings,
	"openai-responses":   dialect.Responses,
}

// recordings reads the exchanges of OpenAI's shape; they aren't part of the
// repository.
func recordings(t *testing.T) []recording {
	t.Helper()
	dir := os.Getenv("MANTI_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "recordings")
	}
	files, err := filepath.Glob(filepath.Join(dir, "public", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Skip("no recorded exchanges here; set MANTI_RECORDINGS to their folder")
	}
	var all []recording
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		for dec := json.NewDecoder(bufio.NewReader(f)); ; {
			var r recording
			if err := dec.Decode(&r); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, ok := wires[r.Wire]; ok && r.Kind != "responses.input_tokens" {
				all = append(all, r)
			}
		}
		_ = f.Close() // read to its end
	}
	return all
}

// frames cuts a recorded stream into frames.
func frames(body string) []sse.Frame {
	var all []sse.Frame
	var s sse.Scanner
	s.Feed([]byte(body))
	for f, ok := s.Next(); ok; f, ok = s.Next() {
		all = append(all, f)
	}
	if f, ok := s.Close(); ok {
		all = append(all, f)
	}
	return all
}

// wantUsage puts a recording's own figures into meters.
func wantUsage(t *testing.T, r recording) domain.Usage {
	t.Helper()
	var want domain.Usage
	if r.Usage == nil {
		return want
	}
	var details struct {
		In struct {
			Audio int64 `json:"audio_tokens"`
			Image int64 `json:"image_tokens"`
		} `json:"prompt_tokens_details"`
		Out struct {
			Audio int64 `json:"audio_tokens"`
			Image int64 `json:"image_tokens"`
		} `json:"completion_tokens_details"`
	}
	if err := json.Unmarshal(r.Usage.Raw, &details); err != nil {
		t.Fatal(err)
	}
	n := r.Usage.Normalised
	want[domain.CacheReadTokens] = n.CacheRead
	n.CacheWrite = min(n.CacheWrite, n.Input-n.CacheRead) // OpenRouter has said both of the same tokens
	want[domain.CacheWrite5mTokens] = n.CacheWrite
	want[domain.InputAudioTokens], want[domain.InputImageTokens] = details.In.Audio, details.In.Image
	want[domain.InputTokens] = n.Input - n.CacheRead - n.CacheWrite - details.In.Audio - details.In.Image
	want[domain.ReasoningTokens] = min(n.Reasoning, n.Output) // OpenRouter: 11 of 10
	want[domain.OutputAudioTokens], want[domain.OutputImageTokens] = details.Out.Audio, details.Out.Image
	want[domain.OutputTokens] = n.Output - want[domain.ReasoningTokens] - details.Out.Audio - details.Out.Image
	searches, files := billedCalls(r)
	want[domain.WebSearches], want[domain.FileSearches] = searches, files
	return want
}

// billedCalls counts the calls in the final output of a recorded response.
func billedCalls(r recording) (searches, files int64) {
	if r.Wire != "openai-responses" {
		return 0, 0
	}
	doc := r.Response.Body
	if r.Stream {
		for _, f := range frames(r.Response.Body) {
			var event struct{ Response json.RawMessage }
			if json.Unmarshal(f.Data, &event) == nil && event.Response != nil {
				doc = string(event.Response)
			}
		}
	}
	var response struct{ Output []struct{ Type string } }
	if json.Unmarshal([]byte(doc), &response) != nil {
		return 0, 0
	}
	for _, item := range response.Output {
		switch item.Type {
		case "web_search_call":
			searches++
		case "file_search_call":
			files++
		}
	}
	return searches, files
}

func TestMeterRecordings(t *testing.T) {
	t.Parallel()
	replayed := 0
	for _, r := range recordings(t) {
		replayed++
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			m := openai.Dialect{}.Meter(wires[r.Wire])
			ends := 0
			if r.Stream && r.Response.Status == 200 {
				for _, f := range frames(r.Response.Body) {
					if note := m.Frame(f.Event, f.Data); note.End {
						ends++
					}
				}
			} else {
				m.Body([]byte(r.Response.Body))
			}
			got := m.Reading()
			if got.Found != (r.Usage != nil) {
				t.Errorf("found usage: %v, but the recording's is absent: %q", got.Found, r.UsageAbsent)
			}
			if diff := cmp.Diff(wantUsage(t, r), got.Usage); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
			if r.Usage != nil {
				if diff := cmp.Diff(compact(t, r.Usage.Raw), compact(t, got.Raw)); diff != "" {
					t.Errorf("raw usage (-want +got):\n%s", diff)
				}
			}
			if r.Response.Status != 200 {
				checkError(t, r)
				return
			}
			failed := strings.Contains(r.Response.Body, `"error":{`)
			if (m.Err() != nil) != failed {
				t.Errorf("error %+v, want one: %v", m.Err(), failed)
			}
			if done := strings.Contains(r.Response.Body, "[DONE]"); done && ends == 0 || ends > 1 && !failed {
				t.Errorf("%d ends", ends)
			}
		})
	}
	t.Logf("%d exchanges replayed", replayed)
}

// checkError reads a recorded error: its message must be found.
func checkError(t *testing.T, r recording) {
	t.Helper()
	e := openai.Dialect{}.ParseError(r.Response.Status, nil, []byte(r.Response.Body))
	if e.Message == "" || !strings.Contains(r.Response.Body, e.Message[:min(10, len(e.Message))]) {
		t.Errorf("message %q of %s", e.Message, r.Response.Body)
	}
	if e.Code == domain.CodeUpstream || e.Code == "" {
		t.Errorf("class %q of %s", e.Code, r.Response.Body)
	}
}

func compact(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// heard is what a caller takes from an answer.
type heard struct {
	Text, Refusal, Thinking string
	Calls                   []call
	Finish                  string
}

type call struct{ ID, Name, Args string }

// wireMessage is a message or delta of a chat completion, read independently
// of the package under test.
type wireMessage struct {
	Content          json.RawMessage
	Refusal          string
	ReasoningContent string `json:"reasoning_content"`
	Reasoning        json.RawMessage
	ToolCalls        []struct {
		Index    *int
		ID       string
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
	FunctionCall *struct{ Name, Arguments string } `json:"function_call"`
}

func (h *heard) add(m wireMessage) {
	var text, reasoning string
	if json.Unmarshal(m.Content, &text) != nil {
		var parts []struct {
			Text     string
			Thinking []struct{ Text string }
		}
		_ = json.Unmarshal(m.Content, &parts)
		for _, p := range parts {
			text += p.Text
			for _, inner := range p.Thinking {
				h.Thinking += inner.Text
			}
		}
	}
	_ = json.Unmarshal(m.Reasoning, &reasoning)
	if m.ReasoningContent != "" {
		reasoning = m.ReasoningContent
	}
	h.Text += text
	h.Refusal += m.Refusal
	h.Thinking += reasoning
	if m.FunctionCall != nil && m.FunctionCall.Name != "" {
		h.Calls = append(h.Calls, call{Name: m.FunctionCall.Name, Args: m.FunctionCall.Arguments})
	}
	for _, c := range m.ToolCalls {
		at := len(h.Calls) - 1
		if c.Index != nil {
			if at = *c.Index; at >= len(h.Calls) {
				at = -1
			}
		}
		if at < 0 || c.ID != "" && c.ID != h.Calls[at].ID {
			h.Calls = append(h.Calls, call{c.ID, c.Function.Name, c.Function.Arguments})
			continue
		}
		h.Calls[at].Args += c.Function.Arguments
	}
}

// said is what a recorded chat answer says.
func said(t *testing.T, r recording) heard {
	t.Helper()
	docs := []string{r.Response.Body}
	if r.Stream {
		docs = nil
		for _, f := range frames(r.Response.Body) {
			if len(f.Data) > 0 && string(f.Data) != "[DONE]" {
				docs = append(docs, string(f.Data))
			}
		}
	}
	var h heard
	for _, doc := range docs {
		var chunk struct {
			Choices []struct {
				Index          int
				Delta, Message wireMessage
				FinishReason   string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal([]byte(doc), &chunk); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		for _, c := range chunk.Choices {
			if c.Index != 0 {
				continue
			}
			if r.Stream { // Writer's chunks say it twice
				h.add(c.Delta)
			} else {
				h.add(c.Message)
			}
			if c.FinishReason != "" {
				h.Finish = c.FinishReason
			}
		}
	}
	return h
}

// understood is what the hub has of an answer.
func understood(a *llm.Answer) heard {
	h := heard{Finish: a.Stop.Native}
	for _, p := range a.Parts {
		switch p.Kind {
		case llm.Text:
			h.Text += p.Text
		case llm.Refusal:
			h.Refusal += p.Text
		case llm.Thinking:
			h.Thinking += p.Text
		case llm.ToolUse:
			h.Calls = append(h.Calls, call{p.ToolID, p.ToolName, p.Args})
		}
	}
	return h
}

// collect puts a stream's chunks together, and fails on what breaks their
// contract.
func collect(t testing.TB, chunks []llm.Chunk) *llm.Answer {
	t.Helper()
	a := &llm.Answer{}
	part := func(c llm.Chunk, kind llm.PartKind) *llm.Part {
		if c.Index == len(a.Parts) {
			a.Parts = append(a.Parts, llm.Part{Kind: kind})
		}
		if c.Index >= len(a.Parts) || a.Parts[c.Index].Kind != kind {
			t.Fatalf("chunk %+v after %+v", c, a.Parts)
		}
		return &a.Parts[c.Index]
	}
	for i, c := range chunks {
		if (c.Kind == llm.Begin) != (i == 0) && c.Kind != llm.ChunkError {
			t.Fatalf("chunk %d: %+v", i, c)
		}
		switch c.Kind {
		case llm.Begin:
			a.ID, a.Model, a.Created = c.ID, c.Model, c.Created
		case llm.TextDelta:
			part(c, llm.Text).Text += c.Text
		case llm.RefusalDelta:
			part(c, llm.Refusal).Text += c.Text
		case llm.ThinkingDelta:
			part(c, llm.Thinking).Text += c.Text
		case llm.SignatureDelta:
			part(c, llm.Thinking).Signature += c.Text
		case llm.PartBegin:
			*part(c, c.Part.Kind) = c.Part
		case llm.ArgsDelta:
			part(c, llm.ToolUse).Args += c.Text
		case llm.LogProbsDelta:
			a.LogProbs = c.Raw
		case llm.Finish:
			a.Stop = c.Stop
		case llm.UsageReport:
			a.Usage = c.Reading
		}
	}
	return a
}

// parse reads a stream.
func parse(t testing.TB, body string) []llm.Chunk {
	t.Helper()
	p := openai.Dialect{}.Parser()
	var chunks []llm.Chunk
	for _, f := range frames(body) {
		var err error
		if chunks, err = p.Frame(f.Event, f.Data, chunks); err != nil {
			t.Fatalf("%s: %v", f.Raw, err)
		}
	}
	return chunks
}

func TestParseRecordings(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		if r.Wire != "openai-chat" || r.Response.Status != 200 || r.UsageAbsent == "error_response" {
			continue
		}
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			var a *llm.Answer
			if r.Stream {
				a = collect(t, parse(t, r.Response.Body))
			} else {
				var err error
				if a, err = (openai.Dialect{}).ParseAnswer([]byte(r.Response.Body)); err != nil {
					t.Fatal(err)
				}
			}
			want, got := said(t, r), understood(a)
			for i := range want.Calls {
				if want.Calls[i].ID == "" && i < len(got.Calls) {
					want.Calls[i].ID = got.Calls[i].ID
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-said +understood):\n%s", diff)
			}
			if diff := cmp.Diff(wantUsage(t, r), a.Usage.Usage); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
			sameAfterRendering(t, a)
		})
	}
}

// sameAfterRendering renders an answer, whole and as a stream, and reads it
// back.
func sameAfterRendering(t *testing.T, a *llm.Answer) {
	t.Helper()
	body, err := openai.Dialect{}.RenderAnswer(a)
	if err != nil || !json.Valid(body) {
		t.Fatalf("%v: %s", err, body)
	}
	back, err := openai.Dialect{}.ParseAnswer(body)
	if err != nil {
		t.Fatal(err)
	}
	want, got := understood(a), understood(back)
	want.Finish, got.Finish = "", ""
	for i := range want.Calls {
		if want.Calls[i].Args == "" {
			want.Calls[i].Args = "{}"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rendered (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(a.Usage.Usage.PromptTokens(), back.Usage.Usage.PromptTokens()); diff != "" {
		t.Errorf("rendered prompt tokens: %s", diff)
	}
	if a.Stop.Reason != back.Stop.Reason && a.Stop.Reason != llm.StopUncertain && a.Stop.Reason != llm.StopRefusal {
		t.Errorf("stop %q became %q", a.Stop.Reason, back.Stop.Reason)
	}
}

func TestStripRecordings(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		if r.Wire != "openai-chat" && r.Wire != "openai-completions" || !r.Stream || r.Response.Status != 200 {
			continue
		}
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			for _, f := range frames(r.Response.Body) {
				stripped := string(openai.Dialect{}.StripUsage(f.Raw, nil))
				if !strings.HasPrefix(string(f.Data), "{") {
					if stripped != string(f.Raw) {
						t.Errorf("%q became %q", f.Raw, stripped)
					}
					continue
				}
				var want map[string]any
				if err := json.Unmarshal(f.Data, &want); err != nil {
					t.Fatal(err)
				}
				_, counted := want["usage"].(map[string]any)
				if choices, _ := want["choices"].([]any); counted && len(choices) == 0 {
					if stripped != "" {
						t.Errorf("a frame of usage alone became %q", stripped)
					}
					continue
				}
				delete(want, "usage")
				var got map[string]any
				if err := json.Unmarshal(frames(stripped)[0].Data, &got); err != nil {
					t.Fatalf("%q: %v", stripped, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}
