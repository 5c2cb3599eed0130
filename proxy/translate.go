package proxy

import (
	"fmt"
	"strings"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// translateRequest writes the call for a target of another dialect. What it
// cannot express is dropped and named in manti-dropped if it is a hint, refused
// if it changes the meaning; the caller's manti-lossy header says otherwise.
func (c *call) translateRequest() ([][]byte, error) {
	req, err := c.caller.ParseRequest(c.body)
	if err != nil {
		return nil, err
	}
	card := c.target.Model
	body, losses, err := c.upstream.RenderRequest(req, dialect.Model{
		Name: card.Name, OutputLimit: card.OutputLimit, Reasoning: card.Reasoning, Effort: card.Effort,
		Sampling: !card.NoSampling, StructuredOutput: card.StructuredOutput,
	})
	if err := c.judge(req, losses); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, c.named(req, err)
	}
	c.request = req
	return [][]byte{body}, nil
}

// named is an error of a translation with the caller's name for the field.
func (c *call) named(req *llm.Request, err error) error {
	e := *domain.ErrorOf(err)
	e.Field = c.caller.FieldName(req, e.Field)
	return &e
}

// judge refuses a translation's losses, or notes them, by the caller's names.
func (c *call) judge(req *llm.Request, losses []llm.Loss) error {
	policy := c.r.Header.Get("Manti-Lossy")
	switch policy {
	case "", "allow", "refuse":
	default:
		return domain.Invalid("manti-lossy", "The header manti-lossy is `refuse` or `allow`.")
	}
	var names []string
	for _, l := range losses {
		field := c.caller.FieldName(req, l.Field)
		if policy == "refuse" || (l.Meaning && policy != "allow") {
			msg := fmt.Sprintf("`%s` can't be translated for %s: %s", field, c.target.Model.Name, l.Why)
			if policy != "refuse" {
				msg += " Leave it out, or send the header `manti-lossy: allow` to have it dropped."
			}
			return domain.Invalid(field, msg)
		}
		names = append(names, field)
	}
	c.dropped = strings.Join(names, ", ")
	return nil
}

// translateAnswer writes a provider's whole answer in the caller's dialect.
func (c *call) translateAnswer(body []byte) ([]byte, error) {
	answer, err := c.upstream.ParseAnswer(body)
	if err != nil {
		c.outcome = domain.UpstreamFailed
		return nil, &domain.Error{Code: domain.CodeUpstream, Message: "The provider's answer can't be understood.", Cause: err}
	}
	if answer.Created == 0 {
		answer.Created = c.begun.Unix()
	}
	out, err := c.caller.RenderAnswer(answer, c.request)
	if err != nil {
		return nil, fmt.Errorf("render answer: %w", err)
	}
	return out, nil
}
