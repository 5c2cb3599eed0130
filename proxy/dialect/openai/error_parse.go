package openai

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// ParseError reads an error answer of any shape seen so far: OpenAI's
// {"error":{…}}, {"error":"text"}, the flat {"object":"error",…} and
// {"type":"error",…}, FastAPI's {"detail":…}, {"message":"text"}, any of these in a
// list, a page of HTML, plain text, nothing.
func (Dialect) ParseError(status int, header http.Header, body []byte) *llm.Error {
	return parseError(status, header, body)
}

func parseError(status int, header http.Header, body []byte) *llm.Error {
	e := &llm.Error{Status: status}
	for _, name := range [...]string{"X-Request-Id", "Request-Id", "Apim-Request-Id"} {
		if e.RequestID == "" {
			e.RequestID = header.Get(name)
		}
	}
	body = bytes.TrimSpace(body)
	switch {
	case scan.Valid(body) != nil:
		e.Message = plainMessage(body)
	case body[0] == '"':
		e.Message, _ = scan.String(body)
	default:
		errorDocument(e, body)
	}
	if e.Message == "" {
		e.Message = statusMessage(status)
	}
	e.Code = classify(errorStatus(e), e.Type, e.NativeCode, e.Message)
	return e
}

// errorDocument reads an error that is JSON.
func errorDocument(e *llm.Error, doc []byte) {
	if isKind(doc, '[') {
		w := walk(doc)
		doc, _ = w.element()
	}
	if inner := get(doc, "response"); isKind(inner, '{') { // response.failed
		doc = inner
	}
	switch inner := get(doc, "error"); {
	case isKind(inner, '{'):
		errorObject(e, inner)
	case isKind(inner, '"'):
		errorObject(e, doc)
		e.Message, _ = scan.String(inner)
	default:
		errorObject(e, doc)
	}
	if e.Message == "" {
		e.Message = detailMessage(get(doc, "detail"))
	}
}

// errorObject reads the object that has the message in it.
func errorObject(e *llm.Error, raw []byte) {
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "message":
			e.Message, _ = scan.String(value)
		case "type":
			if e.Type, _ = scan.String(value); e.Type == "error" {
				e.Type = ""
			}
		case "code": // OpenRouter and Gemini give the HTTP status as a number
			e.NativeCode = scalar(value)
		case "status": // Gemini's word
			if word, ok := scan.String(value); ok && e.Type == "" {
				e.Type = word
			}
		case "param":
			e.Param = scalar(value)
		}
	}
}

// scalar is a string or number as text, "" for anything else.
func scalar(raw []byte) string {
	if s, ok := scan.String(raw); ok {
		return s
	}
	if n, ok := scan.Int64(raw); ok {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// detailMessage reads FastAPI's detail: text, or a list of {loc, msg}.
func detailMessage(raw []byte) string {
	if s, ok := scan.String(raw); ok {
		return s
	}
	if isKind(raw, '{') {
		return firstOf(getString(raw, "message"), getString(raw, "msg"))
	}
	var all []string
	w := walk(raw)
	for d, ok := w.element(); ok; d, ok = w.element() {
		var path []string
		loc := walk(get(d, "loc"))
		for step, ok := loc.element(); ok; step, ok = loc.element() {
			path = append(path, scalar(step))
		}
		if msg := getString(d, "msg"); msg != "" {
			all = append(all, strings.TrimPrefix(strings.Join(path, ".")+": "+msg, ": "))
		}
	}
	return strings.Join(all, "; ")
}

// plainMessage is the message of an answer that isn't JSON: the title of a
// page, else the beginning of the text.
func plainMessage(body []byte) string {
	const most = 1000
	lower := bytes.ToLower(body[:min(len(body), 16<<10)])
	if from := bytes.Index(lower, []byte("<title>")); from >= 0 {
		from += len("<title>")
		if n := bytes.Index(lower[from:], []byte("</title>")); n >= 0 && from+n <= len(body) {
			return clean(body[from:from+n], most)
		}
	}
	if bytes.HasPrefix(lower, []byte("<")) {
		return ""
	}
	return clean(body, most)
}

// clean is text as one line of valid UTF-8, at most so many bytes.
func clean(text []byte, most int) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(text[:min(len(text), 2*most)]), "")), " ")
	if len(s) <= most {
		return s
	}
	for s = s[:most]; !utf8.ValidString(s); s = s[:len(s)-1] {
	}
	return s + "…"
}

func statusMessage(status int) string {
	if text := http.StatusText(status); text != "" {
		return "The provider answered " + strconv.Itoa(status) + " " + text + "."
	}
	if status != 0 {
		return "The provider answered " + strconv.Itoa(status) + "."
	}
	return "The provider reported an error without a message."
}

// errorStatus is the HTTP status, or the one that an error inside a 200 gives as its code.
func errorStatus(e *llm.Error) int {
	if e.Status >= 400 {
		return e.Status
	}
	if n, err := strconv.Atoi(e.NativeCode); err == nil && n >= 400 && n < 600 {
		return n
	}
	return 0
}

// nativeCodes are what codes and types mean, whatever the status is.
var nativeCodes = map[string]domain.Code{
	"invalid_api_key":              domain.CodeUpstreamRejected,
	"authentication_error":         domain.CodeUpstreamRejected,
	"UNAUTHENTICATED":              domain.CodeUpstreamRejected,
	"insufficient_quota":           domain.CodeUpstreamRejected,
	"billing_hard_limit_reached":   domain.CodeUpstreamRejected,
	"billing_not_active":           domain.CodeUpstreamRejected,
	"billing_error":                domain.CodeUpstreamRejected,
	"context_length_exceeded":      domain.CodeInvalid,
	"content_filter":               domain.CodeInvalid,
	"content_policy_violation":     domain.CodeInvalid,
	"invalid_request_error":        domain.CodeInvalid,
	"INVALID_ARGUMENT":             domain.CodeInvalid,
	"model_not_found":              domain.CodeNotFound,
	"not_found_error":              domain.CodeNotFound,
	"NOT_FOUND":                    domain.CodeNotFound,
	"rate_limit_exceeded":          domain.CodeRateLimited,
	"rate_limit_error":             domain.CodeRateLimited,
	"RESOURCE_EXHAUSTED":           domain.CodeRateLimited,
	"overloaded":                   domain.CodeUnavailable,
	"overloaded_error":             domain.CodeUnavailable,
	"engine_overloaded":            domain.CodeUnavailable,
	"insufficient_system_resource": domain.CodeUnavailable,
	"capacity_exceeded":            domain.CodeUnavailable,
	"UNAVAILABLE":                  domain.CodeUnavailable,
	"permission_error":             domain.CodePermission,
	"PERMISSION_DENIED":            domain.CodePermission,
	"timeout_error":                domain.CodeUpstreamTimeout,
	"server_error":                 domain.CodeUpstream,
	"api_error":                    domain.CodeUpstream,
}

// classify puts an error into the hub's terms: the code says most, then the
// status, then the type.
//
// A refused key and an empty account are the operator's trouble, not the
// caller's: CodeUpstreamRejected.
func classify(status int, kind, code, message string) domain.Code {
	if c, ok := nativeCodes[code]; ok {
		return c
	}
	if c, ok := nativeCodes[kind]; ok && (status < 400 || c == domain.CodeUpstreamRejected) {
		return c
	}
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired:
		return domain.CodeUpstreamRejected
	case http.StatusForbidden:
		return domain.CodePermission
	case http.StatusNotFound:
		return domain.CodeNotFound
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return domain.CodeUpstreamTimeout
	case http.StatusConflict:
		return domain.CodeConflict
	case http.StatusRequestEntityTooLarge:
		return domain.CodeTooLarge
	case http.StatusTooManyRequests:
		return domain.CodeRateLimited
	case http.StatusServiceUnavailable, statusOverloaded, statusFlexFull:
		return domain.CodeUnavailable
	case http.StatusFailedDependency:
		return domain.CodeUpstream
	}
	if status == http.StatusBadRequest && strings.Contains(message, "API key not valid") { // Gemini
		return domain.CodeUpstreamRejected
	}
	if status >= 400 && status < 500 {
		return domain.CodeInvalid
	}
	return domain.CodeUpstream
}

// Statuses that net/http has no name for.
const (
	statusOverloaded = 529 // Anthropic
	statusFlexFull   = 498 // Groq
)
