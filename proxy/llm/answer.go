package llm

import (
	"encoding/json"

	"manti/domain"
)

// StopReason is why the model stopped.
type StopReason string

// The stop reasons.
const (
	StopEnd       StopReason = "end"      // it was done
	StopSequence  StopReason = "sequence" // a stop sequence of the caller's
	StopLength    StopReason = "length"   // max_tokens or the context window
	StopToolUse   StopReason = "tool_use"
	StopFiltered  StopReason = "filtered" // content filter
	StopRefusal   StopReason = "refusal"  // the model refused
	StopPause     StopReason = "pause"    // Anthropic's pause_turn
	StopUncertain StopReason = ""         // the provider gave none
)

// Stop is a StopReason with what the provider said of it.
type Stop struct {
	Reason   StopReason
	Native   string // the provider's own word
	Sequence string // the stop sequence that matched, if said
}

// Answer is a whole answer: one choice.
type Answer struct {
	ID      string
	Model   string // as the provider named it
	Created int64  // Unix seconds, 0 if not said
	Parts   []Part
	Stop    Stop
	Usage   Reading
	// LogProbs is OpenAI's logprobs object of the choice, nil if none.
	LogProbs json.RawMessage
}

// Reading is what an answer says of its own usage.
type Reading struct {
	// Found says that the provider reported usage.
	Found bool
	Usage domain.Usage
	// Raw is the provider's usage object, as it came (the last one of a
	// stream, fields of earlier ones merged in where the dialect says so).
	Raw json.RawMessage
	// Model is the model that served, as the provider named it; "" if not said.
	Model string
	// Tier is the service tier that the provider says it used; "" if not said.
	Tier string
	// Region is where the provider says it ran (Anthropic's inference_geo).
	Region string
	// Speed is Anthropic's speed mode ("fast"); "" if not said.
	Speed string
	// AnswerID is the provider's id of the answer (chatcmpl-…, msg_…).
	AnswerID string
	// Stop is the native stop reason, "" if none came.
	Stop string
	// Apart is usage of other models than Model that this answer took and that
	// Usage doesn't contain (Anthropic's advisor iterations): it is priced at
	// those models' rates. Nil mostly.
	Apart []ModelUsage
	// Text weighs the answer's text as far as it came, thinking and tool
	// arguments included, for when no usage is found.
	Text Estimate
}

// ModelUsage is usage of one model.
type ModelUsage struct {
	Model string
	Usage domain.Usage
}

// ChunkKind says which fields of a Chunk hold.
type ChunkKind uint8

// The kinds of chunks, in the order a stream brings them: Begin, then deltas,
// then Finish, then UsageReport, then End. A ChunkError may come any time and is the
// last.
const (
	Begin          ChunkKind = iota + 1 // ID, Model, Created, Reading (what is known of usage so far)
	TextDelta                           // Index, Text
	ThinkingDelta                       // Index, Text
	SignatureDelta                      // Index, Text: signature of the thinking part
	RefusalDelta                        // Index, Text
	PartBegin                           // Index, Part: a tool use (ID and name, Args always ""), redacted thinking, or opaque block begins
	ArgsDelta                           // Index, Text: a piece of a tool use's arguments; none for opaque blocks
	PartEnd                             // Index
	LogProbsDelta                       // Raw
	Finish                              // Stop
	UsageReport                         // Reading; may come more than once, the last one holds
	End                                 // the provider's end mark came
	ChunkError                          // Err
)

// Chunk is one step of a streamed answer.
//
// Index numbers the parts of the answer from 0 in the order they begin, of
// whatever kind; a dialect that numbers tools apart counts them itself.
// Dialects without explicit part boundaries (OpenAI) synthesise no PartEnd and
// no PartBegin but for tool uses: any other part begins with its first delta.
// A stream's text part may thus end without PartEnd; a printer closes it.
type Chunk struct {
	Kind    ChunkKind
	Index   int
	Text    string
	Part    Part
	ID      string
	Model   string
	Created int64
	Stop    Stop
	Reading Reading
	Raw     json.RawMessage
	Err     *Error
}

// Error is a provider's error, in no dialect.
type Error struct {
	// Status is the HTTP status that it came with, 0 inside a stream.
	Status int
	// Code classes it in the hub's terms.
	Code domain.Code
	// Type and NativeCode are the provider's own words.
	Type       string
	NativeCode string
	Message    string
	Param      string
	RequestID  string
}

// Loss is something in a Request that a dialect cannot express.
type Loss struct {
	// Field names it as OpenAI's API does, but where a message, part or tool
	// stood is in the caller's terms (its Path): "stop",
	// "messages.2.content.0.image_url". The caller's dialect knows what the
	// caller calls it.
	Field string
	// Meaning: leaving it out changes what the answer means; otherwise it is a
	// hint.
	Meaning bool
	// Why says it for the caller in whole sentences, as in "Anthropic's API
	// takes no audio."
	Why string
}
