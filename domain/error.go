package domain

import (
	"errors"
	"time"
)

// Code classes an Error for whoever renders it: the HTTP status and the type
// in a dialect's error body follow from it.
type Code string

// The codes, with the HTTP status that they become.
const (
	CodeInvalid          Code = "invalid_request"   // 400
	CodeUnauthenticated  Code = "unauthenticated"   // 401
	CodeExhausted        Code = "exhausted"         // 402: a budget has no room
	CodePermission       Code = "permission_denied" // 403
	CodeNotFound         Code = "not_found"         // 404
	CodeMethod           Code = "method_not_allowed"
	CodeRequestTimeout   Code = "request_timeout"      // 408: the caller was too slow
	CodeConflict         Code = "conflict"             // 409
	CodeTooLarge         Code = "request_too_large"    // 413
	CodeHeaderTooLarge   Code = "header_too_large"     // 431
	CodeRateLimited      Code = "rate_limited"         // 429: manti's own limit
	CodeInternal         Code = "internal"             // 500
	CodeUpstream         Code = "upstream_error"       // 502: the provider broke the protocol or the connection
	CodeUnavailable      Code = "unavailable"          // 503: manti can't take the call now
	CodeUpstreamTimeout  Code = "upstream_timeout"     // 504
	CodeUpstreamRejected Code = "upstream_credentials" // 502: the provider refused manti's own credential
)

// Error is the only error that is shown to the outside. Message is written for
// the caller: it says what to do and holds no secret. The cause stays inside.
type Error struct {
	Code    Code
	Message string
	// Field is the name of the request's field at fault, "" if none.
	Field string
	// RetryAfter is how long to wait before trying again; 0 says nothing.
	RetryAfter time.Duration
	// Cause is for logs; it is never rendered.
	Cause error
}

// Error is the message followed by the cause, for logs.
func (e *Error) Error() string {
	if e.Cause != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Cause.Error()
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Invalid is a CodeInvalid error about a field ("" if none).
func Invalid(field, message string) *Error {
	return &Error{Code: CodeInvalid, Field: field, Message: message}
}

// ErrorOf finds the Error in err's chain. Anything else becomes CodeInternal
// with err as its cause and nothing of it in the message.
func ErrorOf(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: "Internal error.", Cause: err}
}
