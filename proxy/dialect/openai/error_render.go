package openai

import (
	"net/http"
	"strings"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/sse"
)

// errorForm is how a class of errors looks to OpenAI's clients. They retry
// 408, 409, 429 and 5xx by themselves.
type errorForm struct {
	status     int
	kind, code string
}

var errorForms = map[domain.Code]errorForm{
	domain.CodeInvalid:          {http.StatusBadRequest, "invalid_request_error", ""},
	domain.CodeUnauthenticated:  {http.StatusUnauthorized, "invalid_request_error", "invalid_api_key"},
	domain.CodeExhausted:        {http.StatusPaymentRequired, "insufficient_quota", "budget_exhausted"},
	domain.CodePermission:       {http.StatusForbidden, "permission_error", ""},
	domain.CodeNotFound:         {http.StatusNotFound, "invalid_request_error", ""},
	domain.CodeMethod:           {http.StatusMethodNotAllowed, "invalid_request_error", "method_not_supported"},
	domain.CodeRequestTimeout:   {http.StatusRequestTimeout, "invalid_request_error", "timeout"},
	domain.CodeConflict:         {http.StatusConflict, "invalid_request_error", "conflict"},
	domain.CodeTooLarge:         {http.StatusRequestEntityTooLarge, "invalid_request_error", "request_too_large"},
	domain.CodeHeaderTooLarge:   {http.StatusRequestHeaderFieldsTooLarge, "invalid_request_error", "header_too_large"},
	domain.CodeRateLimited:      {http.StatusTooManyRequests, "requests", "rate_limit_exceeded"},
	domain.CodeInternal:         {http.StatusInternalServerError, "server_error", ""},
	domain.CodeUpstream:         {http.StatusBadGateway, "server_error", "upstream_error"},
	domain.CodeUnavailable:      {http.StatusServiceUnavailable, "server_error", "overloaded"},
	domain.CodeUpstreamTimeout:  {http.StatusGatewayTimeout, "server_error", "timeout"},
	domain.CodeUpstreamRejected: {http.StatusBadGateway, "server_error", "upstream_credentials"},
}

// ownCodes are OpenAI's codes that its clients look for. Another provider's word is
// put into OpenAI's terms instead.
var ownCodes = map[string]bool{
	"context_length_exceeded": true, "model_not_found": true, "content_filter": true,
	"content_policy_violation": true, "invalid_api_key": true, "rate_limit_exceeded": true,
	"insufficient_quota": true, "unsupported_parameter": true, "unsupported_value": true,
	"string_above_max_length": true, "invalid_value": true, "missing_required_parameter": true,
	"invalid_type": true, "tool_use_failed": true, "json_validate_failed": true,
}

// longPrompt begins Anthropic's message for what OpenAI's clients know by a code.
const longPrompt = "prompt is too long"

// RenderError writes an error body. The status follows from the class: a
// provider's 529 is a 503, and a provider's 402 or 401, which is the operator's
// trouble, a 502: what the provider says of the gateway's credential isn't the
// caller's to read, who would take it for its own.
func (Dialect) RenderError(e *llm.Error) (status int, body []byte) {
	form, body := renderError(e)
	return form.status, body
}

// StreamError writes an error as the chunk that ends a stream. No [DONE] follows: the
// stream isn't whole.
func (Dialect) StreamError(e *llm.Error) []byte { return appendStreamError(nil, e) }

func appendStreamError(out []byte, e *llm.Error) []byte {
	_, body := renderError(e)
	return sse.End(append(sse.Begin(out, ""), body...))
}

func renderError(e *llm.Error) (errorForm, []byte) {
	form, ok := errorForms[e.Code]
	if !ok {
		form = errorForms[domain.CodeInternal]
	}
	if ownCodes[e.NativeCode] && form.status < 500 {
		form.code = e.NativeCode
	}
	if e.Code == domain.CodeInvalid && strings.HasPrefix(e.Message, longPrompt) {
		form.code = "context_length_exceeded"
	}
	if e.Code == domain.CodeRateLimited && e.Type == "tokens" {
		form.kind = e.Type
	}
	message := e.Message
	if e.Code == domain.CodeUpstreamRejected {
		message = "The provider refused the gateway's own credential or account."
	}
	var w writer
	w.open('{')
	w.key("error")
	w.open('{')
	w.text("message", message)
	w.text("type", form.kind)
	w.optional("param", e.Param)
	w.optional("code", form.code)
	w.close('}')
	w.close('}')
	return form, w.out
}
