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
