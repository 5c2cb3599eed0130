package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"manti/domain"
	"manti/proxy/host/wire"
	"manti/proxy/llm"
)

// statusOf is the HTTP status of each code.
var statusOf = map[domain.Code]int{
	domain.CodeInvalid:          http.StatusBadRequest,
	domain.CodeUnauthenticated:  http.StatusUnauthorized,
	domain.CodeExhausted:        http.StatusPaymentRequired,
	domain.CodePermission:       http.StatusForbidden,
	domain.CodeNotFound:         http.StatusNotFound,
	domain.CodeMethod:           http.StatusMethodNotAllowed,
	domain.CodeRequestTimeout:   http.StatusRequestTimeout,
	domain.CodeConflict:         http.StatusConflict,
	domain.CodeTooLarge:         http.StatusRequestEntityTooLarge,
	domain.CodeHeaderTooLarge:   http.StatusRequestHeaderFieldsTooLarge,
	domain.CodeRateLimited:      http.StatusTooManyRequests,
	domain.CodeInternal:         http.StatusInternalServerError,
	domain.CodeUpstream:         http.StatusBadGateway,
	domain.CodeUnavailable:      http.StatusServiceUnavailable,
	domain.CodeUpstreamTimeout:  http.StatusGatewayTimeout,
	domain.CodeUpstreamRejected: http.StatusBadGateway,
}

// fail ends a call with an error of manti's own.
func (c *call) fail(err error) {
	c.err = domain.ErrorOf(err)
	if c.err.Code == domain.CodeInternal {
		c.g.cfg.Log.Error("a call failed", "request", c.id, "err", err)
	}
	if c.committed {
		c.failStream()
		return
	}
	c.status = statusOf[c.err.Code]
	if c.admitted && !c.ended {
		if c.outcome == "" {
			c.outcome = domain.Failed
		}
		if c.complete() != nil {
			c.abort()
		}
	}
	c.sendError(c.err)
}

// failStream ends a stream that has begun with an error in it.
func (c *call) failStream() {
	if !c.ended && c.complete() != nil {
		c.abort()
	}
	c.write(c.caller.StreamError(c.hubError(c.err)))
	c.flush()
}

// sendError writes an error of manti's own in the caller's dialect.
func (c *call) sendError(e *domain.Error) {
	h := c.w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	_, body := c.caller.RenderError(c.hubError(e))
	c.sendBody(statusOf[e.Code], "application/json", body)
}

// hubError is an error of manti's own in the hub's form.
func (c *call) hubError(e *domain.Error) *llm.Error {
	return &llm.Error{Status: statusOf[e.Code], Code: e.Code, Message: e.Message, Param: e.Field, RequestID: c.id.String()}
}

// upstreamError says to the caller what went wrong on the way to the provider.
func upstreamError(err error) error {
	e := &domain.Error{Code: domain.CodeUpstream, Cause: err}
	switch wire.KindOf(err) {
	case wire.ErrConnect:
		e.Message = "The provider can't be reached."
	case wire.ErrHeaderTimeout, wire.ErrIdle:
		e.Code, e.Message = domain.CodeUpstreamTimeout, "The provider didn't answer in time."
	case wire.ErrMalformed, wire.ErrHeaderTooLarge:
		e.Message = "The provider's answer can't be understood."
	case wire.ErrCanceled:
		if errors.Is(err, errStopping) {
			return &domain.Error{Code: domain.CodeUnavailable, Message: errStopping.Message, Cause: err}
		}
		e.Message = "The call was cancelled."
	default:
		e.Message = "The connection to the provider broke."
	}
	return e
}
