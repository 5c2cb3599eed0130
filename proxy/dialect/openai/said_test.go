package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

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
	body, err := openai.Dialect{}.RenderAnswer(a, &llm.Request{})
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
