package wire

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Kind says how a call failed, by what its caller may conclude. Each is an
// error: errors.Is(err, wire.ErrConnect).
type Kind uint8

const (
	// ErrRequest: the request can't be sent as it is; nothing was.
	ErrRequest Kind = iota + 1
	// ErrConnect: no byte of the request was sent: the name did not resolve, the
	// peer or a proxy refused, the TLS handshake failed. The call may go elsewhere.
	ErrConnect
	// ErrAmbiguous: the request, or a part of it, was sent, and the connection
	// ended without one byte of an answer. It may have been worked on, and billed.
	ErrAmbiguous
	// ErrHeaderTimeout: the request was sent, and its answer did not begin (or its
	// head did not end) within Config.HeaderTimeout.
	ErrHeaderTimeout
	// ErrMalformed: what came is not HTTP/1.x, or its framing is broken.
	ErrMalformed
	// ErrHeaderTooLarge: the head or the trailer exceeds Config.MaxHeaderBytes.
	ErrHeaderTooLarge
	// ErrTruncated: the peer closed before the answer's end.
	ErrTruncated
	// ErrReset: the connection broke before the answer's end.
	ErrReset
	// ErrIdle: the body stood still for Config.IdleTimeout.
	ErrIdle
	// ErrCanceled: the caller's context ended; errors.Is also finds its cause.
	ErrCanceled
	// ErrClosed: the body was read after it had been closed.
	ErrClosed
)

// kindText is indexed by Kind.
var kindText = [...]string{
	ErrRequest:        "invalid request",
	ErrConnect:        "no connection",
	ErrAmbiguous:      "sent but not answered",
	ErrHeaderTimeout:  "no answer in time",
	ErrMalformed:      "malformed answer",
	ErrHeaderTooLarge: "answer's head too large",
	ErrTruncated:      "answer cut short",
	ErrReset:          "connection broke",
	ErrIdle:           "answer stood still",
	ErrCanceled:       "canceled",
	ErrClosed:         "body closed",
}

// Error returns what the kind means, in a few words.
func (k Kind) Error() string {
	if int(k) < len(kindText) && kindText[k] != "" {
		return kindText[k]
	}
	return "unknown failure"
}

// Error is every error of this package. It holds no secret.
type Error struct {
	Kind Kind
	Op   string // what was being done: "dial", "write request", "read body" …
	Err  error  // the cause; may be nil

	unsent bool // no byte of the request left this machine
}

// Error names the step, the kind and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Op + ": " + e.Kind.Error()
	}
	return e.Op + ": " + e.Kind.Error() + ": " + e.Err.Error()
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns the kind of an error of this package, else 0.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}

func fail(kind Kind, op string, err error) *Error {
	return &Error{Kind: kind, Op: op, Err: err}
}

// invalid is an ErrRequest whose reason quotes nothing of the request.
func invalid(reason string) *Error {
	return fail(ErrRequest, "check request", errors.New(reason))
}

// left returns why the caller has left, if it has. A dialer keeps ctx's deadline by
// itself and may be a moment ahead of ctx.
func left(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

// readFault is the kind of a failed read: late is what running out of time
// means in this phase.
func readFault(err error, late Kind) Kind {
	if own, ok := errors.AsType[Kind](err); ok {
		return own
	}
	if _, ok := errors.AsType[malformed](err); ok {
		return ErrMalformed
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return late
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrTruncated
	default:
		return ErrReset
	}
}
