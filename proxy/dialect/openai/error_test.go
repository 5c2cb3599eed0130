package openai_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

func TestParseError(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   llm.Error
	}{
		{
			"OpenAI", 400, `{"error":{"message":"Too long.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`,
			llm.Error{Code: domain.CodeInvalid, Type: "invalid_request_error", NativeCode: "context_length_exceeded", Message: "Too long.", Param: "messages"},
		},
		{
			"wrong key", 401, `{"error":{"message":"Incorrect API key.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`,
			llm.Error{Code: domain.CodeUpstreamRejected, Type: "invalid_request_error", NativeCode: "invalid_api_key", Message: "Incorrect API key."},
		},
		{
			"no credit", 429, `{"error":{"message":"Quota.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`,
			llm.Error{Code: domain.CodeUpstreamRejected, Type: "insufficient_quota", NativeCode: "insufficient_quota", Message: "Quota."},
		},
		{
			"rate limit", 429, `{"error":{"message":"Slow.","type":"tokens","code":"rate_limit_exceeded"}}`,
			llm.Error{Code: domain.CodeRateLimited, Type: "tokens", NativeCode: "rate_limit_exceeded", Message: "Slow."},
		},
		{"text", 500, `{"error":"model runner crashed"}`, llm.Error{Code: domain.CodeUpstream, Message: "model runner crashed"}},
		{
			"flat, as vLLM", 404, `{"object":"error","message":"No such model.","type":"NotFoundError","param":null,"code":404}`,
			llm.Error{Code: domain.CodeNotFound, Type: "NotFoundError", NativeCode: "404", Message: "No such model."},
		},
		{
			"FastAPI's list", 422, `{"detail":[{"loc":["body","messages",0,"role"],"msg":"Input should be 'user'","type":"enum"},{"msg":"second"}]}`,
			llm.Error{Code: domain.CodeInvalid, Message: "body.messages.0.role: Input should be 'user'; second"},
		},
		{"FastAPI's text", 404, `{"detail":"Not Found"}`, llm.Error{Code: domain.CodeNotFound, Message: "Not Found"}},
		{"message", 498, `{"message":"capacity"}`, llm.Error{Code: domain.CodeUnavailable, Message: "capacity"}},
		{
			"Gemini's list", 429, `[{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}]`,
			llm.Error{Code: domain.CodeRateLimited, Type: "RESOURCE_EXHAUSTED", NativeCode: "429", Message: "Quota"},
		},
		{
			"OpenRouter in a 200", 200, `{"error":{"code":402,"message":"Credits"}}`,
			llm.Error{Code: domain.CodeUpstreamRejected, NativeCode: "402", Message: "Credits"},
		},
		{
			"a failed response", 0, `{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"Slow."}}}`,
			llm.Error{Code: domain.CodeRateLimited, NativeCode: "rate_limit_exceeded", Message: "Slow."},
		},
		{
			"an error event", 0, `{"type":"error","code":"server_error","message":"Oops","param":null}`,
			llm.Error{Code: domain.CodeUpstream, NativeCode: "server_error", Message: "Oops"},
		},
		{
			"a page", 502, "<!DOCTYPE html><html><head><title>502 Bad\n Gateway</title></head></html>",
			llm.Error{Code: domain.CodeUpstream, Message: "502 Bad Gateway"},
		},
		{"a page without a title", 403, "<html></html>", llm.Error{Code: domain.CodePermission, Message: "The provider answered 403 Forbidden."}},
		{"plain text", 504, "upstream request timeout", llm.Error{Code: domain.CodeUpstreamTimeout, Message: "upstream request timeout"}},
		{"nothing", 529, "", llm.Error{Code: domain.CodeUnavailable, Message: "The provider answered 529."}},
		{"a JSON string", 400, `"no"`, llm.Error{Code: domain.CodeInvalid, Message: "no"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{"X-Request-Id": {"req_1"}}
			tc.want.Status, tc.want.RequestID = tc.status, "req_1"
			got := openai.Dialect{}.ParseError(tc.status, header, []byte(tc.body))
			if diff := cmp.Diff(&tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderError(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		e      llm.Error
		status int
		want   string
	}{
		{
			"bad request", llm.Error{Code: domain.CodeInvalid, Message: "No \"x\".", Param: "x"}, 400,
			`{"error":{"message":"No \"x\".","type":"invalid_request_error","param":"x","code":null}}`,
		},
		{
			"context too long", llm.Error{Code: domain.CodeInvalid, NativeCode: "context_length_exceeded", Message: "m"}, 400,
			`{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}`,
		},
		{
			"context too long for Anthropic", llm.Error{Code: domain.CodeInvalid, Message: "prompt is too long: 9 tokens > 8 maximum"}, 400,
			`{"error":{"message":"prompt is too long: 9 tokens > 8 maximum","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}`,
		},
		{
			"Anthropic's 529", llm.Error{Status: 529, Code: domain.CodeUnavailable, Type: "overloaded_error", Message: "Overloaded"}, 503,
			`{"error":{"message":"Overloaded","type":"server_error","param":null,"code":"overloaded"}}`,
		},
		{
			"our key refused", llm.Error{Status: 401, Code: domain.CodeUpstreamRejected, NativeCode: "invalid_api_key", Message: "m"}, 502,
			`{"error":{"message":"The provider refused the gateway's own credential or account.","type":"server_error","param":null,"code":"upstream_credentials"}}`,
		},
		{
			"the caller's key refused", llm.Error{Code: domain.CodeUnauthenticated, Message: "m"}, 401,
			`{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`,
		},
		{
			"unknown model", llm.Error{Code: domain.CodeNotFound, NativeCode: "model_not_found", Message: "m"}, 404,
			`{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"model_not_found"}}`,
		},
		{
			"rate limit", llm.Error{Code: domain.CodeRateLimited, Type: "rate_limit_error", Message: "m"}, 429,
			`{"error":{"message":"m","type":"requests","param":null,"code":"rate_limit_exceeded"}}`,
		},
		{
			"unknown class", llm.Error{Message: "m"}, 500,
			`{"error":{"message":"m","type":"server_error","param":null,"code":null}}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			status, body := openai.Dialect{}.RenderError(&tc.e)
			if status != tc.status || string(body) != tc.want {
				t.Errorf("got %d %s, want %d %s", status, body, tc.status, tc.want)
			}
			if got := string(openai.Dialect{}.StreamError(&tc.e)); got != "data: "+tc.want+"\n\n" {
				t.Errorf("in a stream: %q", got)
			}
		})
	}
}
