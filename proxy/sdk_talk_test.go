package proxy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"
)

// ask is one turn of a conversation, in no dialect.
type ask struct {
	system, text string
	image        string // base64 of a PNG
	tools        []string
	force        string // the tool that must be called
	serial       bool   // one tool call at a time
	schema       map[string]any
	stop         string
	think        bool
	cache        bool
	results      []string // of the tools that the last answer called, in order
}

// talker is a conversation by an SDK.
type talker interface {
	// say makes a call and returns what the SDK says that was answered.
	say(t *testing.T, a ask) said
}

var weather = map[string]any{"city": map[string]any{"type": "string"}}

// openaiTalk talks by OpenAI's SDK.
type openaiTalk struct {
	client openai.Client
	stream bool
	params openai.ChatCompletionNewParams
	calls  []string // ids of the last answer's tool calls
}

func (o *openaiTalk) say(t *testing.T, a ask) said {
	t.Helper()
	o.prepare(a)
	var answer openai.ChatCompletion
	var thinking string
	if o.stream {
		o.params.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := o.client.Chat.Completions.NewStreaming(t.Context(), o.params)
		var acc openai.ChatCompletionAccumulator
		for stream.Next() {
			chunk := stream.Current()
			if !acc.AddChunk(chunk) {
				t.Fatalf("the SDK can't add the chunk %s", chunk.RawJSON())
			}
			if len(chunk.Choices) > 0 {
				thinking += extra(chunk.Choices[0].Delta.JSON.ExtraFields["reasoning_content"].Raw())
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		answer = acc.ChatCompletion
	} else {
		got, err := o.client.Chat.Completions.New(t.Context(), o.params)
		if err != nil {
			t.Fatal(err)
		}
		answer = *got
		thinking = extra(answer.Choices[0].Message.JSON.ExtraFields["reasoning_content"].Raw())
	}
	message := answer.Choices[0].Message
	o.params.Messages = append(o.params.Messages, message.ToParam())
	o.calls = nil
	s := said{
		Text: message.Content + message.Refusal, Thinking: thinking, Stop: openaiStops[answer.Choices[0].FinishReason],
		Input: answer.Usage.PromptTokens, Output: answer.Usage.CompletionTokens,
		Read: answer.Usage.PromptTokensDetails.CachedTokens, Written: answer.Usage.PromptTokensDetails.CacheWriteTokens,
	}
	for _, c := range message.ToolCalls {
		o.calls = append(o.calls, c.ID)
		s.Tools = append(s.Tools, toolCall{c.Function.Name, value(t, c.Function.Arguments)})
	}
	return s
}

// extra is a string that the SDK has no field for.
func extra(raw string) string {
	var s string
	_ = json.Unmarshal([]byte(raw), &s) // absent is ""
	return s
}

func (o *openaiTalk) prepare(a ask) {
	p := &o.params
	if a.system != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(a.system))
	}
	for i, result := range a.results {
		p.Messages = append(p.Messages, openai.ToolMessage(result, o.calls[i]))
	}
	switch {
	case a.image != "":
		p.Messages = append(p.Messages, openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.TextContentPart(a.text),
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + a.image}),
		}))
	case a.text != "":
		p.Messages = append(p.Messages, openai.UserMessage(a.text))
	}
	for _, name := range a.tools {
		p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: name, Description: openai.String("The tool " + name), Parameters: map[string]any{"type": "object", "properties": weather, "required": []string{"city"}},
		}))
	}
	if a.force != "" {
		p.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: a.force})
	}
	if a.serial {
		p.ParallelToolCalls = openai.Bool(false)
	}
	if a.schema != nil {
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "answer", Strict: openai.Bool(true), Schema: a.schema,
		}}
	}
	if a.stop != "" {
		p.Stop.OfStringArray = []string{a.stop}
	}
	if a.think {
		p.ReasoningEffort = shared.ReasoningEffortLow
	}
	p.MaxCompletionTokens = openai.Int(2048)
}

// anthropicTalk talks by Anthropic's SDK.
type anthropicTalk struct {
	client anthropic.Client
	stream bool
	params anthropic.MessageNewParams
	calls  []string
}

func (o *anthropicTalk) say(t *testing.T, a ask) said {
	t.Helper()
	o.prepare(a)
	var answer anthropic.Message
	if o.stream {
		stream := o.client.Messages.NewStreaming(t.Context(), o.params)
		for stream.Next() {
			if err := answer.Accumulate(stream.Current()); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
	} else {
		got, err := o.client.Messages.New(t.Context(), o.params)
		if err != nil {
			t.Fatal(err)
		}
		answer = *got
	}
	o.params.Messages = append(o.params.Messages, answer.ToParam())
	o.calls = nil
	u := answer.Usage
	s := said{
		Stop: anthropicStops[string(answer.StopReason)], Output: u.OutputTokens,
		Input: u.InputTokens + u.CacheReadInputTokens + u.CacheCreationInputTokens, Read: u.CacheReadInputTokens, Written: u.CacheCreationInputTokens,
	}
	for _, b := range answer.Content {
		switch b := b.AsAny().(type) {
		case anthropic.TextBlock:
			s.Text += b.Text
		case anthropic.ThinkingBlock:
			s.Thinking += b.Thinking
		case anthropic.ToolUseBlock:
			o.calls = append(o.calls, b.ID)
			s.Tools = append(s.Tools, toolCall{b.Name, value(t, string(b.Input))})
		}
	}
	return s
}

func (o *anthropicTalk) prepare(a ask) {
	p := &o.params
	p.MaxTokens = 2048
	if a.system != "" {
		p.System = []anthropic.TextBlockParam{{Text: a.system}}
		if a.cache {
			p.System[0].CacheControl = anthropic.NewCacheControlEphemeralParam()
		}
	}
	var blocks []anthropic.ContentBlockParamUnion
	for i, result := range a.results {
		blocks = append(blocks, anthropic.NewToolResultBlock(o.calls[i], result, false))
	}
	if a.text != "" {
		blocks = append(blocks, anthropic.NewTextBlock(a.text))
	}
	if a.image != "" {
		blocks = append(blocks, anthropic.NewImageBlockBase64("image/png", a.image))
	}
	p.Messages = append(p.Messages, anthropic.NewUserMessage(blocks...))
	for _, name := range a.tools {
		tool := anthropic.ToolUnionParamOfTool(anthropic.ToolInputSchemaParam{Properties: weather, Required: []string{"city"}}, name)
		tool.OfTool.Description = anthropic.String("The tool " + name)
		p.Tools = append(p.Tools, tool)
	}
	switch {
	case a.force != "":
		p.ToolChoice = anthropic.ToolChoiceParamOfTool(a.force)
	case a.serial:
		p.ToolChoice.OfAuto = &anthropic.ToolChoiceAutoParam{DisableParallelToolUse: anthropic.Bool(true)}
	}
	if a.schema != nil {
		p.OutputConfig.Format = anthropic.JSONOutputFormatParam{Schema: a.schema}
	}
	if a.stop != "" {
		p.StopSequences = []string{a.stop}
	}
	if a.think {
		p.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	}
}

// wantAsked is what a provider must have been asked in a conversation's last
// turn, from what the caller asked and was answered.
func wantAsked(turns []ask, answers []said) prompt {
	var p prompt
	text := func(s string) string { return strings.Join(strings.Fields(s), "") }
	for i, a := range turns {
		p.System += text(a.system)
		for j, r := range a.results {
			p.Answered = append(p.Answered, len(p.Calls)-len(a.results)+j)
			p.Text += text(r)
		}
		p.Text += text(a.text)
		if a.image != "" {
			p.Images = append(p.Images, a.image)
		}
		p.Tools = append(p.Tools, a.tools...)
		if i < len(answers)-1 {
			p.Text += text(answers[i].Text)
			p.Calls = append(p.Calls, answers[i].Tools...)
		}
	}
	p.Tools = slices.Compact(p.Tools)
	return p
}
