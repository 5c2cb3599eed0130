// Package admit decides whether a call may begin, and what it may cost at
// most.
package admit

import (
	"bytes"

	"github.com/shopspring/decimal"

	"manti/proxy/dialect"
	"manti/proxy/route"
)

// messageOverhead bounds the tokens that a provider adds around a request's
// own text.
const messageOverhead = 1024

// defaultAnswer stands for the output limit of a model that states none.
const defaultAnswer = 128_000

// Bound is the most that a call can be charged: its input at the dearest input
// rate, plus the output that it allows at the dearest output rate, for each answer.
// A token is at least one byte of text, so a body's length bounds its tokens,
// unless it refers to something that isn't in it: then the context window
// does. Fees of provider-side tools are not in it.
func Bound(head *dialect.Head, body []byte, d route.Dearest) decimal.Decimal {
	input := int64(len(body)) + messageOverhead
	if d.Context > 0 && (input > d.Context || refers(body)) {
		input = d.Context
	}
	output := d.Answer
	if output == 0 {
		output = defaultAnswer
	}
	if head.MaxTokens != nil && *head.MaxTokens >= 0 {
		output = *head.MaxTokens
	}
	return d.Input.Mul(decimal.NewFromInt(input)).
		Add(d.Output.Mul(decimal.NewFromInt(output)).Mul(decimal.NewFromInt(max(head.N, 1))))
}

// refers reports whether a request brings in what isn't in its body, or what
// isn't text. It looks from quote to quote: once through the body, whatever the
// number of names.
func refers(body []byte) bool {
	for {
		at := bytes.IndexByte(body, '"')
		if at < 0 {
			return false
		}
		body = body[at+1:]
		if isReference(body) {
			return true
		}
	}
}

// isReference reports whether what follows a quote begins with the name of a
// member, or a type, that stands for a reference.
func isReference(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case 'i':
		return begins(b, "image") || begins(b, `input_image"`) || begins(b, `input_audio"`)
	case 'f':
		return begins(b, "file")
	case 'u':
		return begins(b, `url"`)
	case 'd':
		return begins(b, `document"`)
	case 'p':
		return begins(b, `previous_response_id"`) || begins(b, `prompt_id"`)
	case 'c':
		return begins(b, `conversation"`)
	}
	return false
}

func begins(b []byte, name string) bool { return len(b) >= len(name) && string(b[:len(name)]) == name }
