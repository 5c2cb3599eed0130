package openai_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/dialect/openai"
)

func TestStripUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, frame, want string }{
		{"no usage", "data: {\"choices\":[]}\n\n", "data: {\"choices\":[]}\n\n"},
		{"null at the end", "data: {\"choices\":[{}],\"usage\":null}\n\n", "data: {\"choices\":[{}]}\n\n"},
		{"null in the middle", "data: {\"a\":1 , \"usage\" : null , \"b\":2}\r\n\r\n", "data: {\"a\":1 , \"b\":2}\r\n\r\n"},
		{"null at the beginning", "data: {\"usage\":null, \"choices\":[{}]}\n\n", "data: {\"choices\":[{}]}\n\n"},
		{"null alone", "data: {\"usage\":null}\n\n", "data: {}\n\n"},
		{"usage with the finish reason", "data: {\"choices\":[{\"x\":1}],\"usage\":{\"a\":{}}}\n\n", "data: {\"choices\":[{\"x\":1}]}\n\n"},
		{"usage alone", "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n", ""},
		{"nested usage stays", "data: {\"x\":{\"usage\":null},\"choices\":[{\"usage\":null}]}\n\n", "data: {\"x\":{\"usage\":null},\"choices\":[{\"usage\":null}]}\n\n"},
		{"usage in a string stays", `data: {"choices":[{"delta":{"content":"\"usage\":null"}}],"usage":null}` + "\n\n", `data: {"choices":[{"delta":{"content":"\"usage\":null"}}]}` + "\n\n"},
		{"event and id stay", "event: x\nid: 1\ndata:{\"choices\":[{}],\"usage\":null}\n\n", "event: x\nid: 1\ndata:{\"choices\":[{}]}\n\n"},
		{"filter results stay", "data: {\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\n\n", "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n"},
		{"comment", ": \"usage\":null\n\n", ": \"usage\":null\n\n"},
		{"end mark", "data: [DONE]\n\n", "data: [DONE]\n\n"},
		{"several data lines stay", "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n", "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n"},
		{"broken", "data: {\"usage\":nu\n\n", "data: {\"usage\":nu\n\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := string(openai.Dialect{}.StripUsage([]byte(tc.frame), []byte("x")))
			if got != "x"+tc.want {
				t.Errorf("got %q, want %q", got[1:], tc.want)
			}
		})
	}
}

func FuzzStripUsage(f *testing.F) {
	f.Add([]byte(`{"a":1,"usage":null,"choices":[{}]}`))
	f.Add([]byte(`{"usage":{"x":[1]} , "choices":[{}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		out := openai.Dialect{}.StripUsage(append(append([]byte("data: "), doc...), "\n\n"...), nil)
		var want map[string]json.RawMessage
		all := frames(string(out))
		if json.Unmarshal(doc, &want) != nil || len(all) != 1 {
			return
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(all[0].Data, &got); err != nil {
			t.Fatalf("%q became %q: %v", doc, out, err)
		}
		delete(want, "usage")
		delete(got, "usage") // one may be left of several
		if diff := cmp.Diff(len(want), len(got)); diff != "" {
			t.Fatalf("%q became %q", doc, out)
		}
	})
}
