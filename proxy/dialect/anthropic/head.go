package anthropic

import (
	"errors"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm/scan"
)

// The members of a request that Head reads.
const (
	headModel = iota
	headStream
	headMaxTokens
	headMetadata
	headTier
	headSpeed
	headMembers
)

// Head reads what manti must know of a request to messages or
// messages.count_tokens. As Anthropic itself, it refuses a call to messages
// without max_tokens; 0 is allowed, it fills the prompt cache.
func (Dialect) Head(endpoint dialect.Endpoint, body []byte) (dialect.Head, error) {
	want := [headMembers]scan.Member{
		headModel: {Key: "model"}, headStream: {Key: "stream"}, headMaxTokens: {Key: "max_tokens"},
		headMetadata: {Key: "metadata"}, headTier: {Key: "service_tier"}, headSpeed: {Key: "speed"},
	}
	if _, err := scan.Object(body, want[:]); err != nil {
		return dialect.Head{}, malformed(err)
	}
	raw := func(i int) []byte { return want[i].Value.Of(body) }
	h, err := readHead(endpoint, raw)
	if err != nil {
		return dialect.Head{}, err
	}
	model := want[headModel].Value
	return dialect.NewHead(h, dialect.Edits{
		ModelFrom: model.From, ModelTo: model.To, UsageFrom: -1, UsageTo: -1,
	}), nil
}

// readHead reads the members that raw gives.
func readHead(endpoint dialect.Endpoint, raw func(member int) []byte) (h dialect.Head, err error) {
	h = dialect.Head{N: 1, IncludeUsage: true}
	var ok bool
	if h.Model, ok = scan.String(raw(headModel)); !ok || h.Model == "" {
		return h, missing("model", raw(headModel), "a string")
	}
	if v := raw(headStream); !scan.IsNull(v) {
		if h.Stream, ok = scan.Bool(v); !ok {
			return h, wrongType("stream", "true or false")
		}
	}
	switch v := raw(headMaxTokens); {
	case !scan.IsNull(v):
		n, ok := scan.Int64(v)
		if !ok || n < 0 {
			return h, wrongType("max_tokens", "a whole number, 0 or more")
		}
		h.MaxTokens = &n
	case endpoint == dialect.Messages:
		return h, missing("max_tokens", nil, "")
	}
	if v := raw(headTier); !scan.IsNull(v) {
		if h.Tier, ok = scan.String(v); !ok {
			return h, wrongType("service_tier", "a string")
		}
	}
	if v := raw(headSpeed); !scan.IsNull(v) {
		if h.Speed, ok = scan.String(v); !ok {
			return h, wrongType("speed", "a string")
		}
	}
	if v := raw(headMetadata); !scan.IsNull(v) {
		if v[0] != '{' {
			return h, wrongType("metadata", "an object")
		}
		user, _ := scan.String(scan.Get(v, "user_id"))
		h.EndUser, h.Session = whoIs(user)
	}
	return h, nil
}

// malformed is the error for a body that isn't a JSON object, or that says a member
// twice.
func malformed(err error) *domain.Error {
	field := ""
	if e, ok := errors.AsType[*scan.Error](err); ok {
		field = e.Key
	}
	e := domain.Invalid(field, "The request body is no valid JSON object: "+err.Error()+".")
	e.Cause = err
	return e
}

// missing is the error for a field that must be there: Anthropic's own words
// if it is absent, else what it must be.
func missing(field string, raw []byte, want string) *domain.Error {
	if scan.IsNull(raw) {
		return domain.Invalid(field, field+": Field required")
	}
	return wrongType(field, want)
}

// wrongType is the error for a field that isn't what it must be.
func wrongType(field, want string) *domain.Error {
	return domain.Invalid(field, field+": Input should be "+want)
}
