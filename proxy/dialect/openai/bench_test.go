package openai_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"manti/proxy/dialect"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

// delta is an ordinary chunk of OpenAI's.
const delta = `{"id":"chatcmpl-CUN3vYkWbjYEYTzAj9B3nxVJcTzzz","object":"chat.completion.chunk","created":1761401211,` +
	`"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559",` +
	`"choices":[{"index":0,"delta":{"content":" the capital"},"logprobs":null,"finish_reason":null}],` +
	`"usage":null,"obfuscation":"Xk2PqZ8m"}`

const toolDelta = `{"id":"chatcmpl-CUN3vYkWbjYEYTzAj9B3nxVJcTzzz","object":"chat.completion.chunk","created":1761401211,` +
	`"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559",` +
	`"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]},"logprobs":null,"finish_reason":null}],` +
	`"usage":null}`

const responsesDelta = `{"type":"response.output_text.delta","item_id":"msg_0123456789abcdef0123456789abcdef","output_index":0,` +
	`"content_index":0,"delta":" the capital","logprobs":[],"sequence_number":17,"obfuscation":"Xk2PqZ8m"}`

var meterFrames = []struct {
	name     string
	endpoint dialect.Endpoint
	event    string
	data     string
}{
	{"chat", dialect.ChatCompletions, "", delta},
	{"tool", dialect.ChatCompletions, "", toolDelta},
	{"responses", dialect.Responses, "response.output_text.delta", responsesDelta},
}

func BenchmarkMeterFrame(b *testing.B) {
	for _, bc := range meterFrames {
		b.Run(bc.name, func(b *testing.B) {
			m := openai.Dialect{}.Meter(bc.endpoint)
			event, data := []byte(bc.event), []byte(bc.data)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				m.Frame(event, data)
			}
		})
	}
}

func TestMeterFrameDoesNotAllocate(t *testing.T) {
	for _, tc := range meterFrames {
		t.Run(tc.name, func(t *testing.T) {
			m := openai.Dialect{}.Meter(tc.endpoint)
			event, data := []byte(tc.event), []byte(tc.data)
			m.Frame(event, data) // id, model and tier are kept once
			if n := testing.AllocsPerRun(100, func() { m.Frame(event, data) }); n != 0 {
				t.Errorf("%v allocations per frame", n)
			}
		})
	}
}

// request is a chat request of about so many bytes.
func request(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"messages":[{"role":"system","content":"You are terse."}`)
	for i := 0; b.Len() < size-200; i++ {
		text := strings.Repeat("Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy.\\n", min(16, 1+(size-200-b.Len())/80))
		fmt.Fprintf(&b, `,{"role":"user","content":"%d %s"}`, i, text)
	}
	b.WriteString(`],"model":"gpt-4o-mini","stream":true,"max_completion_tokens":100}`)
	return b.Bytes()
}

func BenchmarkHead(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			body := request(size)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (openai.Dialect{}).Head(dialect.ChatCompletions, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseRequest(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			body := request(size)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (openai.Dialect{}).ParseRequest(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTranslate is one chunk through Parser and Printer.
func BenchmarkTranslate(b *testing.B) {
	parser := openai.Dialect{}.Parser()
	printer := openai.Dialect{}.Printer(&llm.Request{})
	var chunks []llm.Chunk
	var out []byte
	data := []byte(delta)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if chunks, err = parser.Frame(nil, data, chunks[:0]); err != nil {
			b.Fatal(err)
		}
		out = out[:0]
		for i := range chunks {
			out = printer.Chunk(&chunks[i], out)
		}
	}
}

func BenchmarkStripUsage(b *testing.B) {
	frame := []byte("data: " + delta + "\n\n")
	var out []byte
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		out = openai.Dialect{}.StripUsage(frame, out[:0])
	}
}
