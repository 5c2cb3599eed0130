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

// references are the member names by which a request brings in what isn't in
// its body, or what isn't text.
var references = [][]byte{
	[]byte(`"image`), []byte(`"file`), []byte(`"url"`), []byte(`"document"`), []byte(`"input_image"`),
	[]byte(`"input_audio"`), []byte(`"previous_response_id"`), []byte(`"conversation"`), []byte(`"prompt_id"`),
}

func refers(body []byte) bool {
	for _, r := range references {
		if bytes.Contains(body, r) {
			return true
		}
	}
	return false
}
