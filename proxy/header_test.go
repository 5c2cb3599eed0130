package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

// A header that is too large is refused in the caller's dialect, whatever it is
// large with, and leaves no event. One just below the limit is none of it.
func TestHeaderTooLarge(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	body := `{"model":"sim/fast","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	tests := []struct {
		name   string
		path   string
		header []string
		status int
		want   string
	}{
		{"openai", "/v1/chat/completions", []string{"X-Large", strings.Repeat("x", limit)}, http.StatusRequestHeaderFieldsTooLarge, `"code":"header_too_large"`},
		{"anthropic", "/v1/messages", []string{"Anthropic-Beta", strings.Repeat("x", limit)}, http.StatusRequestHeaderFieldsTooLarge, `"type":"error"`},
		{"no route", "/" + strings.Repeat("x", limit), nil, http.StatusRequestHeaderFieldsTooLarge, `"code":"header_too_large"`},
		{"just below", "/v1/chat/completions", []string{"X-Large", strings.Repeat("x", limit-512)}, http.StatusOK, `"object":"chat.completion"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{})
			got := r.post(test.path, body, test.header...)
			if got.status != test.status || !strings.Contains(strings.ReplaceAll(got.body, `": `, `":`), test.want) {
				t.Errorf("got %d %s, want %d and %s", got.status, got.body, test.status, test.want)
			}
			if got.header.Get("Manti-Request-Id") == "" {
				t.Error("there is no request id")
			}
			if n := r.events(); (n == 1) != (test.status == http.StatusOK) {
				t.Errorf("there are %d events", n)
			}
		})
	}
}
