package openai

import (
	"errors"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm/scan"
)

// The members that Head looks for, in this order.
const (
	headModel = iota
	headStream
	headStreamOptions
	headMaxCompletionTokens
	headMaxTokens
	headMaxOutputTokens
	headN
	headBestOf
	headTier
	headUser
	headSafetyID
	headMetadata
	headCacheKey
	headCount
)

var headKeys = [headCount]string{
	headModel:               "model",
	headStream:              "stream",
	headStreamOptions:       "stream_options",
	headMaxCompletionTokens: "max_completion_tokens",
	headMaxTokens:           "max_tokens",
	headMaxOutputTokens:     "max_output_tokens",
	headN:                   "n",
	headBestOf:              "best_of",
	headTier:                "service_tier",
	headUser:                "user",
	headSafetyID:            "safety_identifier",
	headMetadata:            "metadata",
	headCacheKey:            "prompt_cache_key",
}

// forcedUsage is what is inserted into the body of a stream's request.
const forcedUsage = `"include_usage":true`

// Head reads what manti must know of a request.
//
// N is the larger of n and best_of: each is generated and billed. Session is
// metadata.session_id, else prompt_cache_key, which clients set per conversation.
// IncludeUsage is always true for responses and embeddings, whose usage is no option.
func (Dialect) Head(endpoint dialect.Endpoint, body []byte) (dialect.Head, error) {
	h := headReader{body: body}
	for i, key := range headKeys {
		h.want[i].Key = key
	}
	shape, err := scan.Object(body, h.want[:])
	if err != nil {
		return dialect.Head{}, invalidJSON(err)
	}
	head := dialect.Head{
		Model:     h.text(headModel),
		Stream:    h.flag(headStream),
		MaxTokens: h.maxTokens(),
		N:         max(1, h.number(headN, 1), h.number(headBestOf, 1)),
		Tier:      h.text(headTier),
	}
	h.people(&head)
	edits := dialect.Edits{ModelFrom: h.want[headModel].Value.From, ModelTo: h.want[headModel].Value.To}
	h.usage(endpoint, shape, &head, &edits)
	if h.err == nil && head.Model == "" {
		h.fail(headModel, "you must name a model")
	}
	if h.err != nil {
		return dialect.Head{}, h.err
	}
	return dialect.NewHead(head, edits), nil
}

// invalidJSON is the caller's error for what scan refused.
func invalidJSON(err error) *domain.Error {
	if e, ok := errors.AsType[*scan.Error](err); ok && e.Key != "" {
		return domain.Invalid(e.Key, "The request's body is ambiguous: "+e.Error()+".")
	}
	return domain.Invalid("", "The request's body isn't a JSON object: "+err.Error()+".")
}

// headReader reads the members found and keeps the first error.
type headReader struct {
	body []byte
	want [headCount]scan.Member
	err  error
}

func (h *headReader) fail(i int, why string) {
	if h.err == nil {
		h.err = domain.Invalid(headKeys[i], "Invalid '"+headKeys[i]+"': "+why+".")
	}
}

// raw is a member's value, nil if it is absent or null.
func (h *headReader) raw(i int) []byte { return notNull(h.want[i].Value.Of(h.body)) }

func (h *headReader) text(i int) string {
	raw := h.raw(i)
	s, ok := scan.String(raw)
	if raw != nil && !ok {
		h.fail(i, "it must be a string")
	}
	return s
}

func (h *headReader) flag(i int) bool {
	raw := h.raw(i)
	b, ok := scan.Bool(raw)
	if raw != nil && !ok {
		h.fail(i, "it must be true or false")
	}
	return b
}

// number reads a whole number not below least; absent, it is -1.
func (h *headReader) number(i int, least int64) int64 {
	raw := h.raw(i)
	if raw == nil {
		return -1
	}
	n, ok := scan.Int64(raw)
	if !ok || n < least {
		h.fail(i, "it must be a whole number, at least "+string('0'+byte(least)))
	}
	return n
}

// maxTokens is the largest of the bounds given: if a caller gives several,
// which one holds is the provider's choice.
func (h *headReader) maxTokens() *int64 {
	n := max(h.number(headMaxCompletionTokens, 0), h.number(headMaxTokens, 0), h.number(headMaxOutputTokens, 0))
	if n < 0 {
		return nil
	}
	return &n
}

// people reads who the caller says it calls for.
func (h *headReader) people(head *dialect.Head) {
	metadata := h.raw(headMetadata)
	if metadata != nil && !isKind(metadata, '{') {
		h.fail(headMetadata, "it must be an object")
	}
	user, safety, key := h.text(headUser), h.text(headSafetyID), h.text(headCacheKey)
	head.EndUser = firstOf(user, safety, getString(metadata, "user_id"))
	head.Session = firstOf(getString(metadata, "session_id"), key)
}

// usage reads whether the caller asked for usage at the stream's end, and how to ask for it
// if not.
func (h *headReader) usage(endpoint dialect.Endpoint, shape scan.Shape, head *dialect.Head, edits *dialect.Edits) {
	if endpoint != dialect.ChatCompletions && endpoint != dialect.Completions {
		head.IncludeUsage = true
		return
	}
	span := h.want[headStreamOptions].Value
	options := h.raw(headStreamOptions)
	if options != nil && !isKind(options, '{') {
		h.fail(headStreamOptions, "it must be an object")
		return
	}
	if !head.Stream {
		return
	}
	asked := h.asked(options)
	head.IncludeUsage = asked
	switch {
	case asked:
	case span.Found():
		edits.UsageFrom, edits.UsageTo = span.From, span.To
		edits.UsageInsert = withUsage(options)
	default:
		edits.UsageFrom, edits.UsageTo = shape.Open, shape.Open
		edits.UsageInsert = `"stream_options":{` + forcedUsage + `},`
	}
}

// asked reports whether the object options, nil for none, asks for usage.
func (h *headReader) asked(options []byte) bool {
	if options == nil {
		return false
	}
	want := [1]scan.Member{{Key: "include_usage"}}
	_, err := scan.Object(options, want[:])
	raw := notNull(want[0].Value.Of(options))
	asked, ok := scan.Bool(raw)
	if err != nil || raw != nil && !ok {
		h.fail(headStreamOptions, "include_usage must be true or false")
	}
	return asked
}

// withUsage is the object options (nil for none) asking for usage, its other members kept.
func withUsage(options []byte) string {
	out := []byte("{" + forcedUsage)
	w := walk(options)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		if string(key) == "include_usage" {
			continue
		}
		out = append(append(append(out, `,"`...), key...), `":`...)
		out = append(out, value...)
	}
	return string(append(out, '}'))
}

// firstOf is the first string that isn't empty.
func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}
