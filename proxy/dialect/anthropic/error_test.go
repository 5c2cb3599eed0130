package anthropic_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/llm"
)

func TestParseError(t *testing.T) {
	t.Parallel()
	header := http.Header{"Request-Id": {"req_h"}}
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   llm.Error
	}{
		{
			"Anthropic's own", 400, header, `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"},"request_id":"req_b"}`,
			llm.Error{Code: domain.CodeInvalid, Type: "invalid_request_error", Message: "max_tokens: Field required", RequestID: "req_b"},
		},
		{
			"the id in a header", 404, header, `{"type":"error","error":{"type":"not_found_error","message":"model: x"}}`,
			llm.Error{Code: domain.CodeNotFound, Type: "not_found_error", Message: "model: x", RequestID: "req_h"},
		},
		{
			"overloaded", 529, nil, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`,
			llm.Error{Code: domain.CodeUnavailable, Type: "overloaded_error", Message: "Overloaded"},
		},
		{
			"our key", 401, nil, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`,
			llm.Error{Code: domain.CodeUpstreamRejected, Type: "authentication_error", Message: "invalid x-api-key"},
		},
		{
			"our bill", 402, nil, `{"type":"error","error":{"type":"billing_error","message":"no credit"}}`,
			llm.Error{Code: domain.CodeUpstreamRejected, Type: "billing_error", Message: "no credit"},
		},
		{
			"OpenAI's", 429, http.Header{"X-Request-Id": {"req_x"}}, `{"error":{"message":"slow down","type":"requests","param":"model","code":"rate_limit_exceeded"}}`,
			llm.Error{Code: domain.CodeRateLimited, Type: "requests", NativeCode: "rate_limit_exceeded", Param: "model", Message: "slow down", RequestID: "req_x"},
		},
		{"text as the error", 500, nil, `{"error":"boom"}`, llm.Error{Code: domain.CodeUpstream, Message: "boom"}},
		{"a message alone", 403, nil, `{"message":"denied"}`, llm.Error{Code: domain.CodePermission, Message: "denied"}},
		{"HTML", 502, nil, `<html>Bad Gateway</html>`, llm.Error{Code: domain.CodeUpstream, Message: "The provider answered with HTTP 502 Bad Gateway and no message."}},
		{"nothing", 503, nil, ``, llm.Error{Code: domain.CodeUnavailable, Message: "The provider answered with HTTP 503 Service Unavailable and no message."}},
		{"a status that nobody knows", 499, nil, `null`, llm.Error{Code: domain.CodeInvalid, Message: "The provider answered with HTTP 499 and no message."}},
		{"too large", 413, nil, `{"error":{"type":"request_too_large","message":"big"}}`, llm.Error{Code: domain.CodeTooLarge, Type: "request_too_large", Message: "big"}},
		{"timeout", 504, nil, `{"error":{"type":"timeout_error","message":"late"}}`, llm.Error{Code: domain.CodeUpstreamTimeout, Type: "timeout_error", Message: "late"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.want.Status = tc.status
			got := anthropic.Dialect{}.ParseError(tc.status, tc.header, []byte(tc.body))
			if diff := cmp.Diff(&tc.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseErrorBounds: a provider's page of megabytes doesn't become a message.
func TestParseErrorBounds(t *testing.T) {
	t.Parallel()
	body := `{"error":{"message":"` + strings.Repeat("é", 5000) + `"}}`
	got := anthropic.Dialect{}.ParseError(500, nil, []byte(body))
	if n := len(got.Message); n > 2000 || n < 1990 || strings.ToValidUTF8(got.Message, "?") != got.Message {
		t.Errorf("a message of %d bytes", n)
	}
}

func TestRenderError(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		err    llm.Error
		status int
		body   string
	}{
		{"a field", llm.Error{Code: domain.CodeInvalid, Message: "must be at most 4", Param: "n", RequestID: "r"}, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"n: must be at most 4"},"request_id":"r"}`},
		{"a field that the message names", llm.Error{Code: domain.CodeInvalid, Message: "messages.0: bad", Param: "messages.0"}, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"messages.0: bad"}}`},
		{"no key", llm.Error{Code: domain.CodeUnauthenticated, Message: "m"}, 401, `{"type":"error","error":{"type":"authentication_error","message":"m"}}`},
		{"no budget", llm.Error{Code: domain.CodeExhausted, Message: "m"}, 402, `{"type":"error","error":{"type":"billing_error","message":"m"}}`},
		{"forbidden", llm.Error{Code: domain.CodePermission, Message: "m"}, 403, `{"type":"error","error":{"type":"permission_error","message":"m"}}`},
		{"not found", llm.Error{Code: domain.CodeNotFound, Message: "m"}, 404, `{"type":"error","error":{"type":"not_found_error","message":"m"}}`},
		{"too large", llm.Error{Code: domain.CodeTooLarge, Message: "m"}, 413, `{"type":"error","error":{"type":"request_too_large","message":"m"}}`},
		{"too fast", llm.Error{Code: domain.CodeRateLimited, Message: "m"}, 429, `{"type":"error","error":{"type":"rate_limit_error","message":"m"}}`},
		{"ours", llm.Error{Code: domain.CodeInternal}, 500, `{"type":"error","error":{"type":"api_error","message":"The call failed."}}`},
		{"unknown code", llm.Error{Code: "new", Message: "m"}, 500, `{"type":"error","error":{"type":"api_error","message":"m"}}`},
		{"the provider's", llm.Error{Code: domain.CodeUpstream, Status: 500, Message: "m"}, 502, `{"type":"error","error":{"type":"api_error","message":"m"}}`},
		{"our key at the provider", llm.Error{Code: domain.CodeUpstreamRejected, Status: 401, Message: "Incorrect API key sk-1"}, 502, `{"type":"error","error":{"type":"api_error","message":"The provider refused the gateway's own credential or account."}}`},
		{"we are busy", llm.Error{Code: domain.CodeUnavailable, Message: "m"}, 503, `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`},
		{"the provider is busy", llm.Error{Code: domain.CodeUnavailable, Status: 503, Message: "m"}, 529, `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`},
		{"the provider is late", llm.Error{Code: domain.CodeUpstreamTimeout, Message: "m"}, 504, `{"type":"error","error":{"type":"timeout_error","message":"m"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			status, body := anthropic.Dialect{}.RenderError(&tc.err)
			if status != tc.status || string(body) != tc.body {
				t.Errorf("got %d %s\nwant %d %s", status, body, tc.status, tc.body)
			}
			want := "event: error\ndata: " + tc.body + "\n\n"
			if got := string(anthropic.Dialect{}.StreamError(&tc.err)); got != want {
				t.Errorf("in a stream %q", got)
			}
		})
	}
}
