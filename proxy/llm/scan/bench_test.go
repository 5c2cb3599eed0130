package scan_test

import (
	"encoding/json"
	"strings"
	"testing"

	"manti/proxy/llm/scan"
)

const code = "func (s *scanner) str(i int) int {\n\tfor i++; ; {\n\t\tif s.doc[i] == '\"' {\n\t\t\treturn i // \"done\"\n\t\t}\n\t}\n}\n"

const prose = "The ledger is append-only; what was written once is never changed, and every balance follows from it. "

// request is a chat request with n bytes of text in it.
func request(text string, n int) []byte {
	content := scan.AppendString(nil, strings.Repeat(text, n/len(text)+1)[:n])
	return []byte(`{"messages":[{"role":"user","content":` + string(content) + `}],"model":"claude-sonnet-5","stream":true,"max_tokens":4096}`)
}

// turns is a chat request of many small messages, about n bytes.
func turns(n int) []byte {
	const turn = `{"role":"user","content":[{"type":"text","text":"Weather in Paris?","n":12.5,"x":[true,null]}]},`
	return []byte(`{"messages":[` + strings.Repeat(turn, n/len(turn)) + `{}],"model":"m"}`)
}

func BenchmarkObject(b *testing.B) {
	for _, bc := range []struct {
		name string
		doc  []byte
	}{
		{"1MB prose", request(prose, 1<<20)},
		{"1MB code", request(code, 1<<20)},
		{"1MB escapes", request("\n\t\"", 1<<19)},
		{"1MB structure", turns(1 << 20)},
		{"1KB", request(prose, 1000)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.SetBytes(int64(len(bc.doc)))
			b.ReportAllocs()
			for b.Loop() {
				want := [...]scan.Member{{Key: "model"}, {Key: "stream"}, {Key: "max_tokens"}}
				if _, err := scan.Object(bc.doc, want[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("encoding/json.Valid 1MB prose", func(b *testing.B) {
		doc := request(prose, 1<<20)
		b.SetBytes(int64(len(doc)))
		for b.Loop() {
			json.Valid(doc)
		}
	})
}

func BenchmarkAppendString(b *testing.B) {
	for _, bc := range []struct{ name, text string }{{"prose", prose}, {"code", code}, {"French", strings.Repeat("Été à Évry. ", 8)}} {
		b.Run(bc.name, func(b *testing.B) {
			b.SetBytes(int64(len(bc.text)))
			b.ReportAllocs()
			buf := make([]byte, 0, 4*len(bc.text))
			for b.Loop() {
				buf = scan.AppendString(buf[:0], bc.text)
			}
		})
	}
}
