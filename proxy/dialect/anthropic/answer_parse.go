package anthropic

import (
	"encoding/json"

	"manti/domain"
	"manti/proxy/llm"
)

// ParseAnswer reads a whole answer. What isn't a message is a *domain.Error
// with CodeUpstream.
func (Dialect) ParseAnswer(body []byte) (*llm.Answer, error) {
	r := &reader{}
	o := r.object("answer", body)
	if kind := o.str("type"); r.err != nil || kind == "error" || o.m["content"] == nil {
		e := &domain.Error{Code: domain.CodeUpstream, Message: "The provider's answer is no message."}
		if r.err != nil {
			e.Cause = r.err
		} else if kind == "error" {
			e.Message = "The provider answered with an error: " + parseError(0, body).Message
		}
		return nil, e
	}
	answer := &llm.Answer{ID: o.str("id"), Model: o.str("model")}
	answer.Parts = r.content(o.name("content"), o.take("content"))
	answer.Stop = stopOf(o.str("stop_reason"), o.str("stop_sequence"))
	answer.Usage = llm.Reading{AnswerID: answer.ID, Model: answer.Model, Stop: answer.Stop.Native}
	readUsage(&answer.Usage, o.take("usage"))
	if r.err != nil {
		return nil, &domain.Error{
			Code: domain.CodeUpstream, Message: "The provider's answer is no valid message.", Cause: r.err,
		}
	}
	for i := range answer.Parts {
		dropEmptyArrays(answer.Parts[i].Extra)
	}
	return answer, nil
}

// dropEmptyArrays removes fields like "citations": [] that say nothing.
func dropEmptyArrays(extra map[string]json.RawMessage) {
	for name, raw := range extra {
		if string(raw) == "[]" {
			delete(extra, name)
		}
	}
}
