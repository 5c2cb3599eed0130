package sim

import (
	"strconv"

	"manti/proxy/dialect"
)

// problem is an error answer, with the words of one API.
type problem struct {
	status              int
	kind, code, message string
	param               string
}

// kinds are the error types of both APIs by status.
var kinds = map[int]struct{ openAI, openAICode, anthropic string }{
	400: {"invalid_request_error", "", "invalid_request_error"},
	401: {"invalid_request_error", "invalid_api_key", "authentication_error"},
	402: {"billing_error", "", "billing_error"},
	403: {"permission_error", "", "permission_error"},
	404: {"invalid_request_error", "model_not_found", "not_found_error"},
	405: {"invalid_request_error", "method_not_supported", "invalid_request_error"},
	413: {"invalid_request_error", "", "request_too_large"},
	429: {"requests", "rate_limit_exceeded", "rate_limit_error"},
	503: {"server_error", "service_unavailable", "api_error"},
	504: {"server_error", "", "timeout_error"},
	529: {"server_error", "", "overloaded_error"},
}

// worded fills in what the API calls a problem of that status.
func (p problem) worded(api dialect.Name) problem {
	k, ok := kinds[p.status]
	switch {
	case p.kind != "":
	case api == dialect.Anthropic && ok:
		p.kind = k.anthropic
	case api == dialect.Anthropic && p.status >= 500:
		p.kind = "api_error"
	case ok && api == dialect.OpenAI:
		p.kind = k.openAI
		if p.code == "" {
			p.code = k.openAICode
		}
	case p.status >= 500:
		p.kind = "server_error"
	default:
		p.kind = "invalid_request_error"
	}
	return p
}

// problemOf is the error answer of a fault.
func problemOf(api dialect.Name, f Fault) problem {
	switch f {
	case FaultQuota:
		if api == dialect.Anthropic {
			return problem{status: 402, message: "Simulated: your credit balance is too low."}
		}
		return problem{status: 429, kind: "insufficient_quota", code: "insufficient_quota", message: "Simulated: you exceeded your current quota."}
	case FaultContext:
		if api == dialect.Anthropic {
			return problem{status: 400, message: "prompt is too long: 250000 tokens > 200000 maximum (simulated)"}
		}
		return problem{status: 400, code: "context_length_exceeded", param: "messages",
			message: "Simulated: this model's maximum context length is 128000 tokens."}
	default:
		return problem{status: f.status(), message: "Simulated error " + string(f) + "."}
	}
}

// overloaded is the error that comes under status 200.
func overloaded(api dialect.Name) problem {
	if api == dialect.Anthropic {
		return problem{status: 529, message: "Overloaded (simulated)"}
	}
	return problem{status: 500, message: "The server had an error while processing your request (simulated)."}
}

// appendProblem renders a problem in its API's shape.
func appendProblem(b []byte, api dialect.Name, p problem, requestID string) []byte {
	p = p.worded(api)
	if api == dialect.Anthropic {
		b = append(b, `{"type":"error","error":{"type":`...)
		b = appendString(b, p.kind)
		b = append(b, `,"message":`...)
		b = appendString(b, p.message)
		b = append(b, `},"request_id":`...)
		b = appendString(b, requestID)
		return append(b, '}')
	}
	b = append(b, `{"error":{"message":`...)
	b = appendString(b, p.message)
	b = append(b, `,"type":`...)
	b = appendString(b, p.kind)
	b = append(b, `,"param":`...)
	b = appendNullable(b, p.param)
	b = append(b, `,"code":`...)
	b = appendNullable(b, p.code)
	return append(b, "}}"...)
}

// appendNullable appends null for "".
func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// fail answers a call in the books with an error.
func (c *call) fail(p problem) {
	c.end(verdict{outcome: Failed})
	c.sendProblem(p)
}

// refuse answers a request that doesn't become a call.
func (c *call) refuse(p problem) {
	c.id = mix(c.p.seed - uint64(c.p.books.refused.Add(1))*golden)
	c.sendProblem(p)
}

func (c *call) sendProblem(p problem) {
	c.retryAfter = p.status == 429 || p.status == 503 || p.status == 529
	c.out = appendProblem(c.out[:0], c.api, p, c.requestID())
	c.send(p.status, "application/json", c.out)
}

// header is the header of every answer: what the two providers send that a
// gateway reads or passes on.
func (c *call) header(contentType string) []field {
	h := append(c.head[:0], field{"Content-Type", contentType})
	if c.api == dialect.Anthropic {
		h = append(h, field{"request-id", c.requestID()},
			field{"anthropic-ratelimit-requests-limit", "4000"}, field{"anthropic-ratelimit-requests-remaining", "3999"})
	} else {
		h = append(h, field{"x-request-id", c.requestID()}, field{"openai-version", "2020-10-01"},
			field{"x-ratelimit-limit-requests", "10000"}, field{"x-ratelimit-remaining-requests", "9999"})
	}
	if c.retryAfter {
		h = append(h, field{"retry-after", strconv.Itoa(retryAfterSeconds)})
	}
	c.head = h
	return h
}

// retryAfterSeconds is what errors say that may be tried again.
const retryAfterSeconds = 1
