package admit_test

import (
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"manti/proxy/admit"
	"manti/proxy/dialect"
	"manti/proxy/route"
)

func TestBound(t *testing.T) {
	t.Parallel()
	d := route.Dearest{Input: decimal.New(1, 0), Output: decimal.New(1000, 0), Context: 5000, Answer: 300}
	ten := int64(10)
	tests := []struct {
		name string
		head dialect.Head
		body string
		want int64
	}{
		{"a token is at least a byte", dialect.Head{MaxTokens: &ten}, strings.Repeat("x", 100), 100 + 1024 + 10_000},
		{"without max_tokens the model's limit", dialect.Head{}, "", 1024 + 300_000},
		{"times n", dialect.Head{MaxTokens: &ten, N: 3}, "", 1024 + 30_000},
		{"never above the context window", dialect.Head{MaxTokens: &ten}, strings.Repeat("x", 10_000), 5000 + 10_000},
		{"what is referred to may fill it", dialect.Head{MaxTokens: &ten}, `{"image_url":{"url":"https://x"}}`, 5000 + 10_000},
		{"so may a file", dialect.Head{MaxTokens: &ten}, `{"file_id":"f"}`, 5000 + 10_000},
		{"so may what came before", dialect.Head{MaxTokens: &ten}, `{"previous_response_id":"r"}`, 5000 + 10_000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := admit.Bound(&test.head, []byte(test.body), d); !got.Equal(decimal.NewFromInt(test.want)) {
				t.Errorf("got %s, want %d", got, test.want)
			}
		})
	}
}

func BenchmarkBound(b *testing.B) {
	d := route.Dearest{Input: decimal.New(1, -6), Output: decimal.New(1, -5), Context: 128000, Answer: 4096}
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("hello ", 150) + `"}]}`)
	for b.Loop() {
		admit.Bound(&dialect.Head{}, body, d)
	}
}

// TestBoundSeesEveryReference: what isn't in the body, or isn't text, may fill
// the context window; words in the text may not.
func TestBoundSeesEveryReference(t *testing.T) {
	t.Parallel()
	d := route.Dearest{Input: decimal.New(1, 0), Context: 5000}
	for body, fills := range map[string]bool{
		`{"a":"b","image_url":1}`: true, `{"image":1}`: true, `{"file_id":1}`: true, `{"type":"file"}`: true, `{"url":1}`: true,
		`{"document":1}`: true, `{"type":"document"}`: true, `{"type":"input_image"}`: true, `{"input_audio":1}`: true,
		`{"previous_response_id":1}`: true, `{"conversation":1}`: true, `{"prompt_id":1}`: true,
		`{"a":"an image, a file, a url"}`: false, `{"urls":1,"documents":1}`: false, `"`: false, `{"a":"\"`: false, ``: false,
	} {
		want := decimal.NewFromInt(5000)
		if !fills {
			want = decimal.NewFromInt(int64(len(body)) + 1024)
		}
		none := int64(0)
		if got := admit.Bound(&dialect.Head{MaxTokens: &none}, []byte(body), d); !got.Equal(want) {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
}
