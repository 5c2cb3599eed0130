package anthropic_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/llm"
)

// recording is an exchange with Anthropic that somebody recorded.
type recording struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Stream  bool   `json:"stream"`
	Request struct {
		Body json.RawMessage `json:"body"`
	} `json:"request"`
	Response struct {
		Status int    `json:"status"`
		Body   string `json:"body"`
	} `json:"response"`
	Usage *struct {
		Events []struct {
			Usage json.RawMessage `json:"usage"`
		} `json:"events"`
	} `json:"usage"`
}

// recordings reads all exchanges of a file. They aren't part of the
// project: MANTI_RECORDINGS names their folder.
func recordings(tb testing.TB, file string) []recording {
	tb.Helper()
	folder := os.Getenv("MANTI_RECORDINGS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "recordings")
	}
	f, err := os.Open(filepath.Join(folder, "public", file))
	if err != nil {
		tb.Skipf("no recordings to replay (set MANTI_RECORDINGS to their folder): %v", err)
	}
	defer f.Close()
	var all []recording
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var r recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			tb.Fatal(err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestRecordings replays every recorded exchange: the usage that is read is the
// provider's, class by class, and what the parser reads is what the answer says. Both are
// worked out here again, from the raw JSON and in another way.
func TestRecordings(t *testing.T) {
	t.Parallel()
	count := 0
	for _, r := range recordings(t, "anthropic.jsonl") {
		if r.Kind != "messages" && r.Kind != "messages.count_tokens" {
			continue // the API before Messages
		}
		count++
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			replayRequest(t, r)
			switch {
			case r.Response.Status >= 400:
				replayError(t, r)
			case r.Kind == "messages.count_tokens":
				replayCount(t, r)
			case r.Stream:
				replayStream(t, r)
			default:
				replayAnswer(t, r)
			}
		})
	}
	t.Logf("replayed %d exchanges", count)
}

func replayRequest(t *testing.T, r recording) {
	d := anthropic.Dialect{}
	if _, err := d.Head(dialect.Endpoint(r.Kind), r.Request.Body); err != nil {
		t.Fatalf("Head: %v", err)
	}
	req, err := d.ParseRequest(r.Request.Body)
	if err != nil {
		t.Fatalf("ParseRequest: %v", err)
	}
	body, _, err := d.RenderRequest(req, modern)
	if err != nil || !json.Valid(body) {
		t.Fatalf("RenderRequest: %v: %s", err, body)
	}
	if diff := cmp.Diff(texts(t, r.Request.Body), texts(t, body)); diff != "" {
		t.Errorf("the messages' text (-want +got):\n%s", diff)
	}
}

// texts joins all text of the messages but the system's, which moves.
func texts(t *testing.T, body []byte) string {
	t.Helper()
	var top map[string]any
	if err := json.Unmarshal(body, &top); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			switch v["type"] {
			case nil, "text", "tool_result":
			default:
				return // only Anthropic's own
			}
			if v["role"] == "system" {
				return
			}
			if s, ok := v["text"].(string); ok && v["type"] == "text" {
				b.WriteString(s)
			}
			walk(v["content"])
		case string: // content in its short form
			b.WriteString(v)
		}
	}
	walk(top["messages"])
	return b.String()
}

func replayError(t *testing.T, r recording) {
	var want struct {
		Error     struct{ Type, Message string }
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(r.Response.Body), &want); err != nil {
		t.Fatal(err)
	}
	d := anthropic.Dialect{}
	e := d.ParseError(r.Response.Status, http.Header{}, []byte(r.Response.Body))
	got := []string{e.Type, e.Message, e.RequestID}
	if diff := cmp.Diff([]string{want.Error.Type, want.Error.Message, want.RequestID}, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	status, _ := d.RenderError(e)
	if status != r.Response.Status {
		t.Errorf("rendered with %d, want %d", status, r.Response.Status)
	}
	meter := d.Meter(dialect.Endpoint(r.Kind))
	meter.Body([]byte(r.Response.Body))
	if meter.Err() == nil || meter.Reading().Found {
		t.Errorf("meter: error %v, usage found %v", meter.Err(), meter.Reading().Found)
	}
}

func replayCount(t *testing.T, r recording) {
	meter := anthropic.Dialect{}.Meter(dialect.CountTokens)
	meter.Body([]byte(r.Response.Body))
	if got := meter.Reading(); !got.Found || !got.Usage.IsZero() || !bytes.Equal(got.Raw, []byte(r.Response.Body)) {
		t.Errorf("reading = %+v", got)
	}
}

// said is what an answer says.
type said struct {
	Text, Thinking, Signatures, Redacted, Stop string
	Tools                                      []string // name and input
}

func replayAnswer(t *testing.T, r recording) {
	var want said
	var raw struct {
		Content []rawBlock
		Stop    string `json:"stop_reason"`
	}
	if err := json.Unmarshal([]byte(r.Response.Body), &raw); err != nil {
		t.Fatal(err)
	}
	for _, b := range raw.Content {
		want.add(b)
	}
	want.Stop = raw.Stop
	d := anthropic.Dialect{}
	answer, err := d.ParseAnswer([]byte(r.Response.Body))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, saidBy(answer.Parts, answer.Stop)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	meter := d.Meter(dialect.Messages)
	meter.Body([]byte(r.Response.Body))
	checkUsage(t, r, meter.Reading())
	checkUsage(t, r, answer.Usage)
	printed, err := d.RenderAnswer(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.ParseAnswer(printed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, saidBy(again.Parts, again.Stop)); diff != "" {
		t.Errorf("rendered answer (-want +got):\n%s", diff)
	}
	if again.Usage.Usage != answer.Usage.Usage {
		t.Errorf("rendered usage %v, want %v", again.Usage.Usage, answer.Usage.Usage)
	}
}

type rawBlock struct {
	Type, Text, Thinking, Signature, Data, Name string
	Input                                       json.RawMessage
}

func (s *said) add(b rawBlock) {
	switch b.Type {
	case "text":
		s.Text += b.Text
	case "thinking":
		s.Thinking += b.Thinking
		s.Signatures += b.Signature
	case "redacted_thinking":
		s.Redacted += b.Data
	case "tool_use":
		s.Tools = append(s.Tools, b.Name+string(compact(b.Input)))
	}
}

func compact(raw []byte) []byte {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return raw
	}
	return out.Bytes()
}

func saidBy(parts []llm.Part, stop llm.Stop) said {
	s := said{Stop: stop.Native}
	for _, p := range parts {
		switch p.Kind {
		case llm.Text:
			s.Text += p.Text
		case llm.Thinking:
			s.Thinking += p.Text
			s.Signatures += p.Signature
		case llm.RedactedThinking:
			s.Redacted += p.Data
		case llm.ToolUse:
			s.Tools = append(s.Tools, p.ToolName+string(compact([]byte(p.Args))))
		}
	}
	return s
}

func replayStream(t *testing.T, r recording) {
	want := rawStream(t, r.Response.Body)
	chunks, err := parseStream(r.Response.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, reading := collect(chunks)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	checkUsage(t, r, reading)
	meter, notes := meterStream(r.Response.Body)
	checkUsage(t, r, meter.Reading())
	if !notes[len(notes)-1].End {
		t.Error("the last frame isn't the end")
	}
	again, err := parseStream(printStream(chunks))
	if err != nil {
		t.Fatal(err)
	}
	printed, printedReading := collect(again)
	if diff := cmp.Diff(want, printed); diff != "" {
		t.Errorf("printed stream (-want +got):\n%s", diff)
	}
	if printedReading.Usage != reading.Usage {
		t.Errorf("printed usage %v, want %v", printedReading.Usage, reading.Usage)
	}
}

// rawStream puts a stream's blocks together without the parser.
func rawStream(t *testing.T, body string) said {
	t.Helper()
	var blocks []rawBlock
	var want said
	for _, f := range frames(body) {
		var e struct {
			Index   int
			Content rawBlock `json:"content_block"`
			Delta   struct {
				Text, Thinking, Signature string
				PartialJSON               string `json:"partial_json"`
				Stop                      string `json:"stop_reason"`
			}
		}
		if err := json.Unmarshal([]byte(f.data), &e); err != nil {
			t.Fatal(err)
		}
		switch f.event {
		case "content_block_start":
			e.Content.Input = nil
			blocks = append(blocks, e.Content)
		case "content_block_delta":
			b := &blocks[e.Index]
			b.Text += e.Delta.Text
			b.Thinking += e.Delta.Thinking
			b.Signature += e.Delta.Signature
			b.Input = append(b.Input, e.Delta.PartialJSON...)
		case "message_delta":
			want.Stop = e.Delta.Stop
		}
	}
	for _, b := range blocks {
		want.add(b)
	}
	return want
}

// collect puts chunks together: what was said and the last usage.
func collect(chunks []llm.Chunk) (said, llm.Reading) {
	var parts []llm.Part
	var stop llm.Stop
	var reading llm.Reading
	at := func(i int, kind llm.PartKind) *llm.Part {
		for len(parts) <= i {
			parts = append(parts, llm.Part{Kind: kind})
		}
		return &parts[i]
	}
	for _, c := range chunks {
		switch c.Kind {
		case llm.TextDelta:
			at(c.Index, llm.Text).Text += c.Text
		case llm.ThinkingDelta:
			at(c.Index, llm.Thinking).Text += c.Text
		case llm.SignatureDelta:
			at(c.Index, llm.Thinking).Signature += c.Text
		case llm.PartBegin:
			*at(c.Index, c.Part.Kind) = c.Part
		case llm.ArgsDelta:
			at(c.Index, llm.ToolUse).Args += c.Text
		case llm.Finish:
			stop = c.Stop
		case llm.Begin, llm.UsageReport:
			reading = c.Reading
		}
	}
	return saidBy(parts, stop), reading
}

// checkUsage works the classes out from the recorded usage objects: a later
// one's figures replace an earlier one's.
func checkUsage(t *testing.T, r recording, got llm.Reading) {
	t.Helper()
	figures := map[string]int64{}
	for _, e := range r.Usage.Events {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(e.Usage, &object); err != nil {
			t.Fatal(err)
		}
		flatten(figures, "", object)
	}
	written := figures["cache_creation_input_tokens"]
	hour := figures["cache_creation.ephemeral_1h_input_tokens"]
	thinking := figures["output_tokens_details.thinking_tokens"]
	want := domain.Usage{
		domain.InputTokens:        figures["input_tokens"],
		domain.CacheReadTokens:    figures["cache_read_input_tokens"],
		domain.CacheWrite5mTokens: written - hour,
		domain.CacheWrite1hTokens: hour,
		domain.OutputTokens:       figures["output_tokens"] - thinking,
		domain.ReasoningTokens:    thinking,
		domain.WebSearches:        figures["server_tool_use.web_search_requests"],
	}
	if diff := cmp.Diff(want, got.Usage); diff != "" || !got.Found {
		t.Errorf("usage, found %v (-want +got):\n%s", got.Found, diff)
	}
}

func flatten(into map[string]int64, prefix string, object map[string]json.RawMessage) {
	for name, raw := range object {
		var n int64
		var child map[string]json.RawMessage
		if json.Unmarshal(raw, &n) == nil && string(raw) != "null" {
			into[prefix+name] = n
		} else if json.Unmarshal(raw, &child) == nil {
			flatten(into, prefix+name+".", child)
		}
	}
}
