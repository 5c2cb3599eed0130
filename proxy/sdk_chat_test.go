package proxy_test

import (
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/openai/openai-go/v3"

	"manti/domain"
)

const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// conversations are what every SDK says to every provider.
var conversations = []struct {
	name  string
	think bool // by a model that thinks
	turns []ask
	// check is what the answers must have, besides that they are the provider's.
	check func(t *testing.T, answers []said)
}{
	{"text", false, []ask{{text: "Hello there, how are you?"}}, func(t *testing.T, s []said) {
		if s[0].Text == "" || s[0].Stop != "end" {
			t.Errorf("got %+v", s[0])
		}
	}},
	{"a system prompt and several turns", false, []ask{{system: "You are terse.", text: "Hello"}, {text: "And then?"}, {text: "And last?"}}, nil},
	{"an image", false, []ask{{text: "What is this?", image: onePixel}}, nil},
	{"one tool", false, []ask{{text: "How is the weather?", tools: []string{"weather"}}, {results: []string{"Sunny, 24 degrees"}}}, func(t *testing.T, s []said) {
		if len(s[0].Tools) != 1 || s[0].Stop != "tools" || s[1].Text == "" {
			t.Errorf("got %+v", s)
		}
	}},
	{"parallel tools", false, []ask{{text: "How is the weather?", tools: []string{"weather", "forecast"}}, {results: []string{"Sunny", "Rain"}}}, func(t *testing.T, s []said) {
		if len(s[0].Tools) != 2 {
			t.Errorf("got %+v", s)
		}
	}},
	{"one tool at a time", false, []ask{{text: "How is the weather?", tools: []string{"weather", "forecast"}, serial: true}}, func(t *testing.T, s []said) {
		if len(s[0].Tools) != 1 {
			t.Errorf("got %+v", s)
		}
	}},
	{"a forced tool", false, []ask{{text: "How is the weather?", tools: []string{"weather", "forecast"}, force: "forecast"}}, func(t *testing.T, s []said) {
		if len(s[0].Tools) == 0 || s[0].Tools[0].Name != "forecast" {
			t.Errorf("got %+v", s)
		}
	}},
	{"structured output", false, []ask{{text: "Name a city.", schema: map[string]any{
		"type": "object", "properties": weather, "required": []string{"city"}, "additionalProperties": false,
	}}}, func(t *testing.T, s []said) {
		if city, _ := value(t, s[0].Text).(map[string]any)["city"].(string); city == "" || s[0].Stop != "end" {
			t.Errorf("got %+v", s)
		}
	}},
	{"a stop sequence", false, []ask{{text: "Hello there", stop: " the"}}, func(t *testing.T, s []said) {
		if strings.Contains(s[0].Text, " the") {
			t.Errorf("got %+v", s)
		}
	}},
	{"thinking", true, []ask{{text: "Think hard.", think: true}, {text: "And then?", think: true}}, func(t *testing.T, s []said) {
		if s[0].Output <= int64(len(strings.Fields(s[0].Text)))/2 {
			t.Errorf("got %+v", s)
		}
	}},
	{"prompt caching", false, []ask{{system: strings.Repeat("You are an assistant that knows much. ", 300), text: "Hello", cache: true}, {text: "Again", cache: true}}, nil},
}

// TestSDKs drives the gateway by both official SDKs, to providers of both
// dialects: what the SDK says is what the provider said, the provider was asked
// what the SDK was, and the events are the provider's books.
func TestSDKs(t *testing.T) {
	t.Parallel()
	for _, c := range conversations {
		for _, way := range [][2]string{{"openai", "openai"}, {"openai", "anthropic"}, {"anthropic", "openai"}, {"anthropic", "anthropic"}} {
			for _, stream := range []bool{false, true} {
				name := c.name + "/" + way[0] + " to " + way[1]
				if stream {
					name += ", streamed"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					d := newDesk(t)
					var answers []said
					talk := d.talker(way[0], modelOf(way[1], c.think), stream)
					for i, a := range c.turns {
						answers = append(answers, talk.say(t, a))
						d.checkTurn(t, way, stream, c.turns[:i+1], answers)
					}
					if c.check != nil {
						c.check(t, answers)
					}
					d.check()
				})
			}
		}
	}
}

func modelOf(provider string, think bool) string {
	switch {
	case provider == "openai" && think:
		return "gpt-think"
	case provider == "openai":
		return "gpt-4o"
	case think:
		return "claude-think"
	}
	return "claude-3-5-haiku-20241022"
}

func (d *desk) talker(sdk, model string, stream bool) talker {
	if sdk == "openai" {
		return &openaiTalk{client: d.openai, stream: stream, params: openai.ChatCompletionNewParams{Model: model}}
	}
	return &anthropicTalk{client: d.anthropic, stream: stream, params: anthropic.MessageNewParams{Model: model}}
}

// checkTurn holds the last turn against what the provider was asked and answered.
func (d *desk) checkTurn(t *testing.T, way [2]string, stream bool, turns []ask, answers []said) {
	t.Helper()
	n := len(answers)
	call := d.tap.last()
	want := read(t, way[1], stream, string(call.answer))
	if way[0] != way[1] {
		want = inWordsOf(way[0], want)
	} else if way[0] == "openai" && len(want.Tools) > 0 && answers[n-1].Stop == "end" {
		want.Stop = "end" // as OpenAI says of a forced call
	}
	if diff := cmp.Diff(want, answers[n-1]); diff != "" {
		t.Errorf("turn %d: the SDK says (-want +got):\n%s", n, diff)
	}
	got := asked(t, way[1], call.request)
	for i, image := range got.Images {
		got.Images[i] = strings.TrimPrefix(image, "data:image/png;base64,")
	}
	if diff := cmp.Diff(wantAsked(turns, answers), got, cmpopts.IgnoreUnexported(prompt{})); diff != "" {
		t.Errorf("turn %d: the provider was asked (-want +got):\n%s", n, diff)
	}
	var sum domain.Usage
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	for i := range n {
		e := d.recorder.ended[i].Body.(*domain.RequestCompleted)
		if e.Outcome != domain.Completed || e.Provenance != domain.Reported {
			t.Errorf("turn %d: event: %+v", n, e.RequestPublic)
		}
		sum = sum.Add(domain.Usage(e.Usage))
	}
	if books := domain.Usage(d.provider.Books().Reported); sum != books {
		t.Errorf("turn %d: usage: the events say %v, the provider's books %v", n, sum, books)
	}
}
