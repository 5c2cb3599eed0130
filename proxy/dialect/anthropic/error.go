package anthropic

import (
	"net/http"
	"strconv"
	"strings"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// maxMessage bounds what is kept of an error's message, in bytes.
const maxMessage = 2000

// ParseError reads an error answer. Message is never empty.
func (Dialect) ParseError(status int, header http.Header, body []byte) *llm.Error {
	e := parseError(status, body)
	for _, name := range []string{"Request-Id", "X-Request-Id"} {
		if e.RequestID == "" {
			e.RequestID = header.Get(name)
		}
	}
	return e
}

// parseError reads an error's body: Anthropic's own, OpenAI's, or whatever a
// proxy on the way answers.
func parseError(status int, body []byte) *llm.Error {
	e := &llm.Error{Status: status}
	str := func(object []byte, key string) string {
		s, _ := scan.String(scan.Get(object, key))
		return s
	}
	inner := scan.Get(body, "error")
	if text, ok := scan.String(inner); ok { // {"error": "text"}
		e.Message = text
	}
	e.Type, e.NativeCode = str(inner, "type"), str(inner, "code")
	e.Param = str(inner, "param")
	for _, message := range []string{str(inner, "message"), str(body, "message"), str(body, "detail")} {
		if e.Message == "" {
			e.Message = message
		}
	}
	e.RequestID = str(body, "request_id")
	if e.Message == "" {
		e.Message = "The provider answered with an error"
		if status != 0 {
			e.Message = "The provider answered with " + strings.TrimSpace("HTTP "+strconv.Itoa(status)+" "+http.StatusText(status))
		}
		e.Message += " and no message."
	}
	e.Message = truncate(e.Message, maxMessage)
	e.Code = codeOf(status, e.Type)
	return e
}

// errorClass is one kind of error: its HTTP status and Anthropic's type.
type errorClass struct {
	code   domain.Code
	status int
	kind   string
}

// errorClasses says how the hub's codes look in Anthropic's API. The first row
// of a code is how it is rendered. What concerns manti's own credential or
// bill with the provider isn't the caller's fault, so not a 401 or 402.
var errorClasses = [...]errorClass{
	{domain.CodeInvalid, http.StatusBadRequest, "invalid_request_error"},
	{domain.CodeUnauthenticated, http.StatusUnauthorized, "authentication_error"},
	{domain.CodeExhausted, http.StatusPaymentRequired, "billing_error"},
	{domain.CodePermission, http.StatusForbidden, "permission_error"},
	{domain.CodeNotFound, http.StatusNotFound, "not_found_error"},
	{domain.CodeMethod, http.StatusMethodNotAllowed, "invalid_request_error"},
	{domain.CodeRequestTimeout, http.StatusRequestTimeout, "timeout_error"},
	{domain.CodeConflict, http.StatusConflict, "invalid_request_error"},
	{domain.CodeTooLarge, http.StatusRequestEntityTooLarge, "request_too_large"},
	{domain.CodeHeaderTooLarge, http.StatusRequestHeaderFieldsTooLarge, "request_too_large"},
	{domain.CodeRateLimited, http.StatusTooManyRequests, "rate_limit_error"},
	{domain.CodeInternal, http.StatusInternalServerError, "api_error"},
	{domain.CodeUpstream, http.StatusBadGateway, "api_error"},
	{domain.CodeUpstreamRejected, http.StatusBadGateway, "api_error"},
	{domain.CodeUnavailable, http.StatusServiceUnavailable, "overloaded_error"},
	{domain.CodeUpstreamTimeout, http.StatusGatewayTimeout, "timeout_error"},
}

// statusOverloaded is Anthropic's own status for overloaded_error.
const statusOverloaded = 529

// codeOf classes a provider's error by its status, inside a stream by its
// type.
func codeOf(status int, kind string) domain.Code {
	switch kind {
	case "authentication_error", "billing_error":
		return domain.CodeUpstreamRejected
	case "overloaded_error":
		return domain.CodeUnavailable
	}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusPaymentRequired:
		return domain.CodeUpstreamRejected
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return domain.CodeUpstreamTimeout
	case status == statusOverloaded, status == http.StatusServiceUnavailable:
		return domain.CodeUnavailable
	case status >= 500:
		return domain.CodeUpstream
	case status >= 400:
		for _, c := range errorClasses {
			if c.status == status {
				return c.code
			}
		}
		return domain.CodeInvalid
	}
	switch kind {
	case "invalid_request_error":
		return domain.CodeInvalid
	case "timeout_error":
		return domain.CodeUpstreamTimeout
	case "", "api_error":
		return domain.CodeUpstream
	}
	for _, c := range errorClasses {
		if c.kind == kind {
			return c.code
		}
	}
	return domain.CodeUpstream
}

// RenderError writes an error as Anthropic does. A provider that was
// overloaded becomes a 529, manti itself a 503. What a provider says of
// manti's own credential isn't the caller's to read.
func (Dialect) RenderError(e *llm.Error) (status int, body []byte) {
	class := errorClass{domain.CodeInternal, http.StatusInternalServerError, "api_error"}
	for _, c := range errorClasses {
		if c.code == e.Code {
			class = c
			break
		}
	}
	if e.Code == domain.CodeUnavailable && e.Status != 0 {
		class.status = statusOverloaded
	}
	return class.status, appendError(nil, class.kind, e)
}

// StreamError writes an error as the event that ends a stream.
func (d Dialect) StreamError(e *llm.Error) []byte {
	_, body := d.RenderError(e)
	out := append([]byte(nil), "event: error\ndata: "...)
	out = append(out, body...)
	return append(out, "\n\n"...)
}

// appendError writes the error object. Anthropic has no field for the
// parameter at fault, so the message names it.
func appendError(out []byte, kind string, e *llm.Error) []byte {
	message := e.Message
	switch {
	case e.Code == domain.CodeUpstreamRejected:
		message = "The provider refused the gateway's own credential or account."
	case message == "":
		message = "The call failed."
	}
	if e.Param != "" && !strings.Contains(message, e.Param) {
		message = e.Param + ": " + message
	}
	w := writer(out)
	w.open('{')
	w.strField("type", "error")
	w.key("error")
	w.open('{')
	w.strField("type", kind)
	w.strField("message", message)
	w.close('}')
	if e.RequestID != "" {
		w.strField("request_id", e.RequestID)
	}
	w.close('}')
	return w
}

// truncate cuts s to at most n bytes, between characters.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
