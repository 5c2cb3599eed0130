package proxy_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/dialect/openai"
)

// TestRecordingsAcross replays each chat to a caller that speaks the other
// dialect: the answer says what the provider said, and the event says what it
// says to a caller of the same dialect.
func TestRecordingsAcross(t *testing.T) {
	t.Parallel()
	all := recordings(t)
	book := recordedBook(all)
	count := map[string]int{}
	for _, rec := range all {
		if rec.Kind != "chat" && rec.Kind != "messages" {
			continue
		}
		body, why := otherRequest(rec)
		if why != "" {
			t.Logf("%s: asked with a plain prompt: %s", rec.ID, why)
			count["asked with a plain prompt"]++
		}
		count["replayed"]++
		t.Run(rec.ID, func(t *testing.T) {
			t.Parallel()
			caller, path := "anthropic", msgPath
			if rec.Provider == "anthropic" {
				caller, path = "openai", chatPath
			}
			r, p := replay(t, book, rec)
			got := r.post(path, body)
			header := map[string]string{"openai": "X-Request-Id", "anthropic": "Request-Id"}[caller]
			if id := got.header.Get(header); id != "req_recorded" {
				t.Errorf("%s: got %q, want the provider's", header, id)
			}
			checkEvent(t, rec, r.only())
			if rec.Response.Status >= 400 {
				checkOtherError(t, rec, got)
				return
			}
			if got.status != 200 {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			want := inWordsOf(caller, read(t, rec.Provider, rec.Stream, rec.Response.Body))
			if diff := cmp.Diff(want, read(t, caller, rec.Stream, got.body)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if rec.Stream {
				checkEnd(t, caller, got.body)
			}
			if why == "" {
				_, sent := p.got()
				if diff := cmp.Diff(asked(t, rec.Provider, rec.Request.Body), asked(t, rec.Provider, sent), cmpopts.IgnoreUnexported(prompt{})); diff != "" {
					t.Errorf("the provider was asked (-want +got):\n%s", diff)
				}
			}
		})
	}
	t.Logf("%v", count)
	fmt.Printf("recordings in the other dialect: %d replayed, of which %d asked with a plain prompt\n", count["replayed"], count["asked with a plain prompt"])
}

// inWordsOf is what the other provider said in the words of the caller's
// dialect.
func inWordsOf(caller string, s said) said {
	switch {
	case caller == "openai" && (s.Stop == "sequence" || s.Stop == "pause"):
		s.Stop = "end"
	case caller == "anthropic" && s.Stop == "end" && len(s.Tools) > 0: // what OpenAI says of a call that was forced
		s.Stop = "tools"
	}
	return s
}

// otherRequest is the recorded request in the other dialect, or a plain
// prompt and why that.
func otherRequest(rec recording) (body, why string) {
	var from, to dialect.Dialect = openai.Dialect{}, anthropic.Dialect{}
	if rec.Provider == "anthropic" {
		from, to = to, from
	}
	plain := chat(rec.Model, rec.Stream)
	if rec.Provider == "anthropic" && rec.Stream {
		plain = strings.Replace(plain, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	}
	req, err := from.ParseRequest(rec.Request.Body)
	if err != nil {
		return plain, err.Error()
	}
	out, losses, err := to.RenderRequest(req, dialect.Model{Name: rec.Model, OutputLimit: 1 << 16, Reasoning: true, Sampling: true, StructuredOutput: true})
	if err != nil {
		return plain, err.Error()
	}
	for _, l := range losses {
		if l.Meaning {
			return plain, l.Field + ": " + l.Why
		}
	}
	return string(out), ""
}

// checkOtherError: a provider's error arrives with its status and message.
func checkOtherError(t *testing.T, rec recording, got answer) {
	t.Helper()
	var want, have struct {
		Type  string
		Error struct{ Type, Message string }
	}
	decode(t, rec.Response.Body, &want)
	decode(t, got.body, &have)
	if got.status != rec.Response.Status || have.Error.Message != want.Error.Message || have.Error.Type == "" {
		t.Errorf("got %d %s, want %d with %q", got.status, got.body, rec.Response.Status, want.Error.Message)
	}
	if anthropic := rec.Provider == "openai"; anthropic != (have.Type == "error") {
		t.Errorf("the error is in the wrong shape: %s", got.body)
	}
	if got.header.Get("Manti-Error-Source") != "provider" {
		t.Error("the error isn't said to be the provider's")
	}
}

func checkEnd(t *testing.T, caller, body string) {
	t.Helper()
	end := "data: [DONE]\n\n"
	if caller == "anthropic" {
		end = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	}
	if !strings.HasSuffix(body, end) {
		t.Errorf("the stream ends with %q, want %q", body[max(0, len(body)-80):], end)
	}
}

// prompt is what a request asks, in no dialect.
type prompt struct {
	System, Text string // without white space: how texts are joined doesn't matter
	Calls        []toolCall
	Answered     []int // which of Calls each tool's result answers
	Images       []string
	Tools        []string

	ids []string // of Calls
}

// answered notes a tool's result.
func (p *prompt) answered(id any) {
	p.Answered = append(p.Answered, slices.Index(p.ids, id.(string)))
}

func (p *prompt) call(t *testing.T, id, name any, args string) {
	t.Helper()
	p.ids = append(p.ids, id.(string))
	p.Calls = append(p.Calls, toolCall{name.(string), value(t, args)})
}

// asked reads a request in a dialect without any of the code under test.
func asked(t *testing.T, dialect string, body []byte) prompt {
	t.Helper()
	var p prompt
	top := object(t, body)
	if dialect == "anthropic" {
		p.add(t, "system", top["system"])
	}
	messages, _ := top["messages"].([]any)
	for _, m := range messages {
		m := m.(map[string]any)
		role, _ := m["role"].(string)
		if id, ok := m["tool_call_id"]; ok {
			p.answered(id)
		}
		p.add(t, role, m["content"])
		calls, _ := m["tool_calls"].([]any)
		for _, c := range calls {
			f := c.(map[string]any)["function"].(map[string]any)
			p.call(t, c.(map[string]any)["id"], f["name"], f["arguments"].(string))
		}
	}
	tools, _ := top["tools"].([]any)
	functions, _ := top["functions"].([]any) // what came before tools
	for _, tool := range append(tools, functions...) {
		tool := tool.(map[string]any)
		if f, ok := tool["function"].(map[string]any); ok {
			tool = f
		}
		p.Tools = append(p.Tools, tool["name"].(string))
	}
	p.ids = nil
	return p
}

// add takes a message's content, or a piece of it.
func (p *prompt) add(t *testing.T, role string, v any) {
	t.Helper()
	switch v := v.(type) {
	case string:
		text := strings.Join(strings.Fields(v), "")
		if role == "system" || role == "developer" {
			p.System += text
			return
		}
		p.Text += text
	case []any:
		for _, e := range v {
			p.add(t, role, e)
		}
	case map[string]any:
		switch v["type"] {
		case "text":
			p.add(t, role, v["text"])
		case "tool_result":
			p.answered(v["tool_use_id"])
			p.add(t, role, v["content"])
		case "tool_use":
			raw, _ := json.Marshal(v["input"])
			p.call(t, v["id"], v["name"], string(raw))
		case "image":
			source := v["source"].(map[string]any)
			for _, key := range []string{"url", "data"} {
				if s, ok := source[key].(string); ok {
					p.Images = append(p.Images, s)
				}
			}
		case "image_url":
			p.Images = append(p.Images, v["image_url"].(map[string]any)["url"].(string))
		}
	}
}
