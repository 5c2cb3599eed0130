package openai_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"manti/proxy/dialect"
	"manti/proxy/dialect/openai"
)

func ptr[T any](v T) *T { return &v }

func TestHead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		endpoint dialect.Endpoint
		body     string
		want     dialect.Head
		// spliced is the body sent upstream for the model "up"; "" if only the
		// model differs.
		spliced string
	}{
		{
			name: "plain", endpoint: dialect.ChatCompletions,
			body: `{"model":"m","messages":[]}`,
			want: dialect.Head{Model: "m", N: 1},
		},
		{
			name: "everything", endpoint: dialect.ChatCompletions,
			body: ` {"max_tokens":5, "max_completion_tokens":10,"n":3,"service_tier":"flex","user":"u","safety_identifier":"s",` +
				`"metadata":{"session_id":"sess","user_id":"meta"},"prompt_cache_key":"k","model":"m\u00e9","stream":false}`,
			want: dialect.Head{Model: "mé", MaxTokens: ptr[int64](10), N: 3, Tier: "flex", EndUser: "u", Session: "sess"},
			spliced: ` {"max_tokens":5, "max_completion_tokens":10,"n":3,"service_tier":"flex","user":"u","safety_identifier":"s",` +
				`"metadata":{"session_id":"sess","user_id":"meta"},"prompt_cache_key":"k","model":"up","stream":false}`,
		},
		{
			name: "nulls", endpoint: dialect.ChatCompletions,
			body: `{"model":"m","stream":null,"n":null,"max_tokens":null,"user":null,"metadata":null,"stream_options":null,"service_tier":null}`,
			want: dialect.Head{Model: "m", N: 1},
		},
		{
			name: "other names for the same", endpoint: dialect.ChatCompletions,
			body: `{"model":"m","metadata":{"user_id":"meta"},"prompt_cache_key":"k","max_tokens":1e2}`,
			want: dialect.Head{Model: "m", N: 1, MaxTokens: ptr[int64](100), EndUser: "meta", Session: "k"},
		},
		{
			name: "stream", endpoint: dialect.ChatCompletions,
			body:    `{ "stream" : true, "model" : "m" }`,
			want:    dialect.Head{Model: "m", N: 1, Stream: true},
			spliced: `{"stream_options":{"include_usage":true}, "stream" : true, "model" : "up" }`,
		},
		{
			name: "stream with usage", endpoint: dialect.ChatCompletions,
			body: `{"model":"m","stream":true,"stream_options": { "include_obfuscation": false, "include_usage": true }}`,
			want: dialect.Head{Model: "m", N: 1, Stream: true, IncludeUsage: true},
		},
		{
			name: "stream with other options", endpoint: dialect.ChatCompletions,
			body:    `{"stream":true,"stream_options":{"include_usage":false, "include_obfuscation": false},"model":"m"}`,
			want:    dialect.Head{Model: "m", N: 1, Stream: true},
			spliced: `{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"up"}`,
		},
		{
			name: "escaped option", endpoint: dialect.ChatCompletions,
			body:    `{"stream":true,"stream_options":{"include\u005fusage":false},"model":"m"}`,
			want:    dialect.Head{Model: "m", N: 1, Stream: true},
			spliced: `{"stream":true,"stream_options":{"include_usage":true},"model":"up"}`,
		},
		{
			name: "stream with null options", endpoint: dialect.Completions,
			body:    `{"model":"m","stream":true,"stream_options":null,"best_of":4,"n":2}`,
			want:    dialect.Head{Model: "m", N: 4, Stream: true},
			spliced: `{"model":"up","stream":true,"stream_options":{"include_usage":true},"best_of":4,"n":2}`,
		},
		{
			name: "responses", endpoint: dialect.Responses,
			body: `{"model":"m","stream":true,"max_output_tokens":7,"input":"x"}`,
			want: dialect.Head{Model: "m", N: 1, Stream: true, MaxTokens: ptr[int64](7), IncludeUsage: true},
		},
		{
			name: "embeddings", endpoint: dialect.Embeddings,
			body: `{"model":"m","input":["a","b"]}`,
			want: dialect.Head{Model: "m", N: 1, IncludeUsage: true},
		},
		{
			name: "only the outermost members count", endpoint: dialect.ChatCompletions,
			body: `{"messages":[{"model":"x","stream":true}],"model":"m","tools":[{"n":9}]}`,
			want: dialect.Head{Model: "m", N: 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := openai.Dialect{}.Head(tc.endpoint, []byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(dialect.Head{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			spliced := string(bytes.Join(got.Splice([]byte(tc.body), "up", true), nil))
			if !json.Valid([]byte(spliced)) {
				t.Errorf("not JSON: %s", spliced)
			}
			want := tc.spliced
			if want == "" {
				want = strings.Replace(tc.body, `"model":"m"`, `"model":"up"`, 1)
			}
			if spliced != want {
				t.Errorf("upstream's body\n got %s\nwant %s", spliced, want)
			}
		})
	}
}

func TestHeadRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, field string }{
		{"nothing", ``, ""},
		{"no object", `[]`, ""},
		{"malformed at the end", `{"model":"m","messages":[}`, ""},
		{"bytes after", `{"model":"m"} x`, ""},
		{"no model", `{"messages":[]}`, "model"},
		{"null model", `{"model":null}`, "model"},
		{"empty model", `{"model":""}`, "model"},
		{"model isn't a string", `{"model":["m"]}`, "model"},
		{"two models", `{"model":"a","model":"b"}`, "model"},
		{"stream isn't a boolean", `{"model":"m","stream":"true"}`, "stream"},
		{"stream_options isn't an object", `{"model":"m","stream":true,"stream_options":true}`, "stream_options"},
		{"include_usage isn't a boolean", `{"model":"m","stream":true,"stream_options":{"include_usage":1}}`, "stream_options"},
		{"include_usage twice", `{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}`, "stream_options"},
		{"max_tokens is a string", `{"model":"m","max_tokens":"5"}`, "max_tokens"},
		{"max_tokens is a fraction", `{"model":"m","max_completion_tokens":5.5}`, "max_completion_tokens"},
		{"max_tokens is negative", `{"model":"m","max_tokens":-1}`, "max_tokens"},
		{"max_tokens is huge", `{"model":"m","max_tokens":1e30}`, "max_tokens"},
		{"n is 0", `{"model":"m","n":0}`, "n"},
		{"user isn't a string", `{"model":"m","user":5}`, "user"},
		{"metadata isn't an object", `{"model":"m","metadata":[]}`, "metadata"},
		{"service_tier isn't a string", `{"model":"m","service_tier":true}`, "service_tier"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := openai.Dialect{}.Head(dialect.ChatCompletions, []byte(tc.body))
			checkInvalid(t, err, tc.field)
		})
	}
}

func FuzzHead(f *testing.F) {
	f.Add([]byte(`{"model":"m","stream":true,"stream_options":{"include_usage":false,"x":1}}`))
	f.Add([]byte(` {"stream" : true,"model":"\u00e9","n":2,"metadata":{"user_id":"x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := openai.Dialect{}.Head(dialect.ChatCompletions, body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted %q", body)
		}
		up := bytes.Join(h.Splice(body, "up", true), nil)
		again, err := openai.Dialect{}.Head(dialect.ChatCompletions, up)
		if err != nil {
			t.Fatalf("%q became %q: %v", body, up, err)
		}
		h.Model, h.IncludeUsage = "up", h.Stream
		if diff := cmp.Diff(h, again, cmpopts.IgnoreUnexported(dialect.Head{})); diff != "" {
			t.Fatalf("%q became %q:\n%s", body, up, diff)
		}
	})
}
