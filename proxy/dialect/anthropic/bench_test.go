package anthropic_test

import (
	"strings"
	"testing"

	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/llm"
)

const textDelta = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" significant events that"}           }`

func BenchmarkMeterFrame(b *testing.B) {
	meter := anthropic.Dialect{}.Meter(dialect.Messages)
	event, data := []byte("content_block_delta"), []byte(textDelta)
	b.ReportAllocs()
	for b.Loop() {
		meter.Frame(event, data)
	}
}

func BenchmarkTranslateFrame(b *testing.B) {
	d := anthropic.Dialect{}
	parser, printer := d.Parser(), d.Printer(nil)
	feed := func(event, data string, chunks []llm.Chunk) []llm.Chunk {
		chunks, err := parser.Frame([]byte(event), []byte(data), chunks)
		if err != nil {
			b.Fatal(err)
		}
		return chunks
	}
	feed("message_start", `{"type":"message_start","message":{}}`, nil)
	feed("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`, nil)
	var chunks []llm.Chunk
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		chunks = feed("content_block_delta", textDelta, chunks[:0])
		out = printer.Chunk(&chunks[0], out[:0])
	}
}

func BenchmarkHead(b *testing.B) {
	for _, bc := range []struct {
		name  string
		bytes int
	}{{"1KB", 1 << 10}, {"1MB", 1 << 20}} {
		b.Run(bc.name, func(b *testing.B) {
			text := strings.Repeat("The ledger is append-only. ", bc.bytes/27)
			body := []byte(`{"messages":[{"role":"user","content":"` + text + `"}],"max_tokens":10,"model":"m","stream":true}`)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (anthropic.Dialect{}).Head(dialect.Messages, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTranslateRequest(b *testing.B) {
	text := strings.Repeat("The ledger is append-only. ", 40)
	body := []byte(`{"messages":[{"role":"user","content":"` + text + `"}],"max_tokens":10,"model":"m","stream":true}`)
	d := anthropic.Dialect{}
	b.ReportAllocs()
	for b.Loop() {
		req, err := d.ParseRequest(body)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := d.RenderRequest(req, modern); err != nil {
			b.Fatal(err)
		}
	}
}
