// Package dialect declares what a wire shape must do: read and write the
// requests, answers, streams and errors of one API. Its subpackages are the
// shapes. Where and how a provider is reached is a host's business.
package dialect

import (
	"net/http"

	"manti/proxy/llm"
)

// Name names a dialect in events: "openai", "anthropic".
type Name string

// The dialects.
const (
	OpenAI    Name = "openai"
	Anthropic Name = "anthropic"
)

// Endpoint names one call of a dialect's API in events.
type Endpoint string

// The endpoints.
const (
	ChatCompletions Endpoint = "chat.completions"
	Responses       Endpoint = "responses"
	Completions     Endpoint = "completions"
	Embeddings      Endpoint = "embeddings"
	Messages        Endpoint = "messages"
	CountTokens     Endpoint = "messages.count_tokens"
)

// Head is what manti must know of a request before it relays it. It is read
// without building the body's tree.
type Head struct {
	Model  string
	Stream bool
	// IncludeUsage: the caller asked for usage at a stream's end.
	IncludeUsage bool
	// MaxTokens is the caller's bound on output; nil if none.
	MaxTokens *int64
	// N is the number of answers asked for, at least 1.
	N int64
	// Tier and Speed are what the caller asked for; prices may depend on them.
	Tier  string
	Speed string
	// EndUser is the caller's name for its own user: user, safety_identifier,
	// metadata.user_id.
	EndUser string
	// Session is a session id that the caller put into the body
	// (Claude Code's metadata.user_id has one, OpenAI's metadata.session_id).
	Session string
	// Edits turn the caller's body into the upstream's: see Splice.
	edits Edits
}

// Edits are where a relayed body is changed. Offsets are into the caller's
// bytes; -1 means absent.
type Edits struct {
	// ModelFrom and ModelTo span the model's JSON string, quotes included.
	ModelFrom, ModelTo int
	// Usage is how a stream is made to report usage.
	UsageFrom, UsageTo int
	UsageInsert        string
}

// NewHead is for dialects: a Head with its edits.
func NewHead(h Head, e Edits) Head {
	h.edits = e
	return h
}

// Dialect is one wire shape. Implementations keep no state and are safe for
// concurrent use; what has state per call is made by Meter, Parser and Printer.
type Dialect interface {
	Name() Name

	// Head reads what manti must know of a request to endpoint. It returns a
	// *domain.Error with CodeInvalid for malformed JSON (anywhere in the body), a wrong type or a
	// missing model.
	Head(endpoint Endpoint, body []byte) (Head, error)

	// ParseRequest reads a chat request into the hub's form. Errors are
	// *domain.Error with CodeInvalid and the field's name.
	ParseRequest(body []byte) (*llm.Request, error)
	// RenderRequest writes a chat request for an upstream that speaks this
	// dialect and names what it cannot express. Streams always ask for usage.
	// An error comes with the losses too: where what was lost is why nothing
	// can be written, they say more.
	RenderRequest(req *llm.Request, model Model) ([]byte, []llm.Loss, error)

	// ParseAnswer reads a whole 2xx answer to a chat request.
	ParseAnswer(body []byte) (*llm.Answer, error)
	// RenderAnswer writes one for the caller of req.
	RenderAnswer(answer *llm.Answer, req *llm.Request) ([]byte, error)

	// FieldName is what the caller of req calls the field of a loss or of an
	// error of RenderRequest.
	FieldName(req *llm.Request, field string) string

	// ParseError reads an error answer (status ≥ 400, or an error in a body);
	// anything can come: HTML, nothing, other providers' shapes.
	ParseError(status int, header http.Header, body []byte) *llm.Error
	// RenderError writes an error for a caller, as a body with its HTTP status.
	RenderError(e *llm.Error) (status int, body []byte)
	// StreamError writes an error as the frames that end a stream.
	StreamError(e *llm.Error) []byte

	// Meter reads usage on the side of a relayed answer.
	Meter(endpoint Endpoint) Meter
	// StripUsage appends a relayed frame (its raw bytes) to out, without the
	// usage in it that the caller didn't ask for.
	StripUsage(frame, out []byte) []byte
	// Parser reads a chat stream, Printer writes one for the caller of req.
	Parser() Parser
	Printer(req *llm.Request) Printer
}

// Model is what a dialect must know of the target's model to render for it.
type Model struct {
	// Name is the provider's name for it.
	Name string
	// OutputLimit is the model's own maximum of output tokens, 0 if unknown.
	OutputLimit int64
	// Reasoning says that the model can think, Effort that it takes an effort
	// (and adaptive thinking) instead of a token budget.
	Reasoning bool
	Effort    bool
	// Sampling says that it takes temperature, top_p and top_k.
	Sampling bool
	// StructuredOutput says that it takes a JSON schema for its answer.
	StructuredOutput bool
}

// FrameNote is what a Meter saw in one frame.
type FrameNote struct {
	// End: an SDK takes this frame for the end of the stream; it must not be
	// sent before the completion is durable.
	End bool
	// Hold: the dialect has no end mark and this frame has the finish reason:
	// hold it back until the upstream's EOF.
	Hold bool
	// Token: the first or a further piece of the answer's content.
	Token bool
	// OnlyUsage: the frame exists only because usage was asked for.
	OnlyUsage bool
	// Failed: the frame is an error. SDKs end the stream at it, so like End it
	// must not be sent before the completion is durable. Frames may follow.
	Failed bool
	// TextBytes is about the length of the answer's text in the frame (escapes
	// may count as written). The estimator's own count is Reading.Text.
	TextBytes int
}

// Meter reads the usage of one answer while its bytes are relayed. Each method may be
// called with bytes that it must not keep.
type Meter interface {
	// Body reads a whole answer, success or not.
	Body(body []byte)
	// Frame reads one SSE frame: its event name ("" if none) and data.
	Frame(event, data []byte) FrameNote
	// Reading is what is known so far.
	Reading() llm.Reading
	// Err is the error that a frame or body carried, nil if none.
	Err() *llm.Error
}

// Parser reads a stream, one per call.
type Parser interface {
	// Frame appends what the frame means to out. An error is a broken
	// protocol.
	Frame(event, data []byte, out []llm.Chunk) ([]llm.Chunk, error)
}

// Printer writes a stream for a caller, one per call.
type Printer interface {
	// Chunk appends the bytes of the frames that c becomes to out. End's bytes
	// are the end mark (for a dialect without one: what was held back).
	Chunk(c *llm.Chunk, out []byte) []byte
}
