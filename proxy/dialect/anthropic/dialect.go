// Package anthropic speaks Anthropic's Messages API: requests, answers,
// streams and errors of POST /v1/messages, and what a relay must know of
// /v1/messages/count_tokens.
//
// It promises that usage is read as Anthropic counts it: cache reads and
// writes stand beside input_tokens, thinking inside output_tokens, and the
// usage of a stream is cumulative, so a later figure replaces an earlier one.
// Fields and event types that it doesn't know never fail a call. It keeps no
// state between calls, so a crash loses nothing.
//
// The wire's facts come from Anthropic's SDKs and from recorded exchanges.
package anthropic

import (
	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// Dialect is Anthropic's wire shape. The zero value works.
type Dialect struct{}

var _ dialect.Dialect = Dialect{}

// Name is dialect.Anthropic.
func (Dialect) Name() dialect.Name { return dialect.Anthropic }

// StripUsage appends frame as it is: Anthropic's streams always report usage,
// so every caller expects it.
func (Dialect) StripUsage(frame, out []byte) []byte { return append(out, frame...) }

// Meter reads usage on the side of an answer.
func (Dialect) Meter(endpoint dialect.Endpoint) dialect.Meter {
	return &meter{counting: endpoint == dialect.CountTokens}
}

// Parser reads a stream.
func (Dialect) Parser() dialect.Parser { return &parser{} }

// Printer writes a stream. Nothing of the request changes how.
func (Dialect) Printer(*llm.Request) dialect.Printer { return &printer{} }
