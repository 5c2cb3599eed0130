package proxy_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"

	"manti/domain"
	"manti/proxy/host/wire"
)

// TestSDKEndpoints calls what is relayed in its own dialect.
func TestSDKEndpoints(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		call func(t *testing.T, d *desk) string // what the SDK says
	}{
		{"responses", func(t *testing.T, d *desk) string {
			got, err := d.openai.Responses.New(t.Context(), responses.ResponseNewParams{Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello")}})
			if err != nil {
				t.Fatal(err)
			}
			return got.OutputText()
		}},
		{"responses streamed", func(t *testing.T, d *desk) string {
			stream := d.openai.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello")}})
			var text, whole string
			for stream.Next() {
				text += stream.Current().AsResponseOutputTextDelta().Delta
				if e := stream.Current(); e.Type == "response.completed" {
					whole = e.Response.OutputText()
				}
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			if text == "" || !strings.HasPrefix(text, whole) {
				t.Errorf("the pieces say %q, the end %q", text, whole)
			}
			return whole
		}},
		{"completions", func(t *testing.T, d *desk) string {
			got, err := d.openai.Completions.New(t.Context(), openai.CompletionNewParams{Model: "gpt-instruct", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Hello")}})
			if err != nil {
				t.Fatal(err)
			}
			return got.Choices[0].Text
		}},
		{"completions streamed", func(t *testing.T, d *desk) string {
			stream := d.openai.Completions.NewStreaming(t.Context(), openai.CompletionNewParams{Model: "gpt-instruct", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Hello")}})
			var text string
			for stream.Next() {
				if c := stream.Current().Choices; len(c) > 0 {
					text += c[0].Text
				}
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			return text
		}},
		{"embeddings", func(t *testing.T, d *desk) string {
			got, err := d.openai.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Data) != 2 || len(got.Data[1].Embedding) == 0 || got.Usage.PromptTokens == 0 {
				t.Errorf("got %s", got.RawJSON())
			}
			return got.RawJSON()
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			text := test.call(t, d)
			if text == "" || !strings.Contains(joined(string(d.tap.last().answer)), text) {
				t.Errorf("the SDK says %q, the provider said %s", text, d.tap.last().answer)
			}
			e := d.event(1)
			if books := domain.Usage(d.provider.Books().Reported); domain.Usage(e.Usage) != books || books.IsZero() || e.Provenance != domain.Reported {
				t.Errorf("the event says %s %v, the books %v", e.Provenance, e.Usage, books)
			}
		})
	}
}

// joined is an answer together with the text of its completion chunks.
func joined(answer string) string {
	var text strings.Builder
	for _, data := range frameData(answer) {
		for _, piece := range strings.Split(data, `"text":"`)[1:] {
			text.WriteString(extra(`"` + piece[:strings.Index(piece, `"`)] + `"`))
		}
	}
	return answer + text.String()
}

func TestSDKCountTokens(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got, err := d.anthropic.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
		Model: "claude-3-5-haiku-20241022", Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Hello there"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.InputTokens == 0 || !strings.Contains(string(d.tap.last().answer), got.RawJSON()) {
		t.Errorf("got %s, the provider said %s", got.RawJSON(), d.tap.last().answer)
	}
	if e := d.event(1); e.Outcome != domain.Completed || !e.Charge.Amount.IsZero() {
		t.Errorf("event: %+v", e.RequestPublic)
	}
}

func TestSDKModels(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var listed []string
	for pages := d.openai.Models.ListAutoPaging(t.Context()); pages.Next(); {
		m := pages.Current()
		if m.OwnedBy == "" || m.Object != "model" {
			t.Errorf("got %s", m.RawJSON())
		}
		listed = append(listed, m.ID)
	}
	var also []string
	for pages := d.anthropic.Models.ListAutoPaging(t.Context(), anthropic.ModelListParams{}); pages.Next(); {
		m := pages.Current()
		if m.DisplayName == "" || m.Type != "model" {
			t.Errorf("got %s", m.RawJSON())
		}
		also = append(also, m.ID)
	}
	if !slices.Contains(listed, "gpt-4o") || !slices.Contains(listed, "claude-3-5-haiku-20241022") || !slices.Equal(listed, also) {
		t.Errorf("OpenAI's SDK lists %q, Anthropic's %q", listed, also)
	}
	if m, err := d.openai.Models.Get(t.Context(), "gpt-4o"); err != nil || m.ID != "gpt-4o" || m.OwnedBy != "openai" {
		t.Errorf("got %+v, %v", m, err)
	}
	if m, err := d.anthropic.Models.Get(t.Context(), "claude-3-5-haiku-20241022", anthropic.ModelGetParams{}); err != nil || m.ID != "claude-3-5-haiku-20241022" || m.DisplayName == "" {
		t.Errorf("got %+v, %v", m, err)
	}
	var missing *openai.Error
	if _, err := d.openai.Models.Get(t.Context(), "nonsense"); !errors.As(err, &missing) || missing.StatusCode != http.StatusNotFound {
		t.Errorf("got %v", err)
	}
}

// askOpenAI and askAnthropic make a small call and return the SDK's error.
func askOpenAI(t *testing.T, d *desk, model string, stream bool) error {
	params := openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello there")}}
	if !stream {
		_, err := d.openai.Chat.Completions.New(t.Context(), params)
		return err
	}
	s := d.openai.Chat.Completions.NewStreaming(t.Context(), params)
	for s.Next() {
		_ = s.Current() // only the end counts
	}
	return s.Err()
}

func askAnthropic(t *testing.T, d *desk, model string, stream bool) error {
	params := anthropic.MessageNewParams{Model: anthropic.Model(model), MaxTokens: 200, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Hello there"))}}
	if !stream {
		_, err := d.anthropic.Messages.New(t.Context(), params)
		return err
	}
	s := d.anthropic.Messages.NewStreaming(t.Context(), params)
	for s.Next() {
		_ = s.Current() // only the end counts
	}
	return s.Err()
}

// TestSDKErrors: the SDKs' typed errors carry status, message and request id,
// whoever made the error.
func TestSDKErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, model string
		status      int
		kind        anthropic.ErrorType
		message     string
		own         bool
	}{
		{"a bad request, by OpenAI", "gpt-fault-400", 400, anthropic.ErrorTypeInvalidRequestError, "", false},
		{"a bad request, by Anthropic", "claude-fault-400", 400, anthropic.ErrorTypeInvalidRequestError, "", false},
		{"too many, by OpenAI", "gpt-fault-429", 429, anthropic.ErrorTypeRateLimitError, "", false},
		{"too many, by Anthropic", "claude-fault-429", 429, anthropic.ErrorTypeRateLimitError, "", false},
		{"broken, by OpenAI", "gpt-fault-500", 500, anthropic.ErrorTypeAPIError, "", false},
		{"broken, by Anthropic", "claude-fault-500", 500, anthropic.ErrorTypeAPIError, "", false},
		{"an unknown model", "nonsense", 404, anthropic.ErrorTypeNotFoundError, "nonsense", true},
		{"a provider that isn't set up", "other-model", 404, anthropic.ErrorTypeNotFoundError, "MANTI_PROVIDERS_ELSEWHERE_API_KEY", true},
	}
	for _, test := range tests {
		for _, stream := range []bool{false, true} {
			name := test.name
			if stream {
				name += ", streamed"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				d := newDesk(t)
				message := func() string {
					if test.own {
						return test.message
					}
					var body struct{ Error struct{ Message string } }
					decode(t, string(d.tap.last().answer), &body)
					return body.Error.Message
				}
				var byOpenAI *openai.Error
				if err := askOpenAI(t, d, test.model, stream); !errors.As(err, &byOpenAI) {
					t.Fatalf("OpenAI's SDK: got %T %v", err, err)
				}
				id := byOpenAI.Response.Header.Get("X-Request-Id")
				if want := message(); byOpenAI.StatusCode != test.status || byOpenAI.Message == "" || !strings.Contains(byOpenAI.Message, want) || byOpenAI.Type == "" || id == "" {
					t.Errorf("OpenAI's SDK: got %d %s (request %q), want %d with %q", byOpenAI.StatusCode, byOpenAI.RawJSON(), id, test.status, want)
				}
				var byAnthropic *anthropic.Error
				if err := askAnthropic(t, d, test.model, stream); !errors.As(err, &byAnthropic) {
					t.Fatalf("Anthropic's SDK: got %T %v", err, err)
				}
				if want := message(); byAnthropic.StatusCode != test.status || byAnthropic.Type() != test.kind || !strings.Contains(byAnthropic.RawJSON(), want) || byAnthropic.RequestID == "" {
					t.Errorf("Anthropic's SDK: got %d %s (request %q), want %d %s with %q", byAnthropic.StatusCode, byAnthropic.RawJSON(), byAnthropic.RequestID, test.status, test.kind, want)
				}
			})
		}
	}
}

// TestSDKBrokenStreams: a stream that breaks off is the SDK's error, in all four
// ways, never an end.
func TestSDKBrokenStreams(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"cut", "hangup-mid", "reset-mid", "error-mid", "garbage", "stall-mid"} {
		for _, model := range []string{"gpt-fault-" + fault, "claude-fault-" + fault} {
			t.Run(model, func(t *testing.T) {
				t.Parallel()
				d := listen(t, &desk{rig: newRig(t, rigConfig{wire: wire.Config{IdleTimeout: 300 * time.Millisecond}})})
				if err := askOpenAI(t, d, model, true); err == nil {
					t.Error("OpenAI's SDK saw a good end")
				}
				if err := askAnthropic(t, d, model, true); err == nil {
					t.Error("Anthropic's SDK saw a good end")
				}
				d.recorder.mu.Lock()
				defer d.recorder.mu.Unlock()
				if n := len(d.recorder.ended); n != 2 {
					t.Errorf("got %d events, want 2", n)
				}
				for n := range d.recorder.ended {
					if e := d.recorder.ended[n].Body.(*domain.RequestCompleted); e.Outcome != domain.Broken {
						t.Errorf("outcome: %s", e.Outcome)
					}
				}
			})
		}
	}
}
