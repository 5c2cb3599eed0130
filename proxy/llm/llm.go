// Package llm is the hub between dialects: one form of a chat request, of its
// answer and of its stream, that every dialect translates to and from. Pairs
// of dialects are never written.
//
// A call goes through the hub only if the caller's dialect isn't the
// target's; otherwise its bytes are relayed as they are. What the hub has no
// field for is kept as raw JSON in Extra, so that the dialect that renders it
// can say what is lost.
package llm

import "encoding/json"

// Role is who speaks in a Message.
type Role string

// The roles. Developer is OpenAI's newer name for System and treated like it.
const (
	System    Role = "system"
	Developer Role = "developer"
	User      Role = "user"
	Assistant Role = "assistant"
	Tool      Role = "tool" // carries ToolResult parts only
)

// Request is a chat call. Pointers and nil slices mean "not said": then the
// target's own default holds.
type Request struct {
	Model  string
	Stream bool
	// IncludeUsage: the caller asked for usage at the end of the stream.
	// Anthropic's dialect always does.
	IncludeUsage bool
	// Messages in order, system and developer ones included where they stood.
	Messages []Message

	Tools      []ToolDef
	ToolChoice *ToolChoice
	// LegacyFunctions: the caller speaks of its tools as OpenAI's functions,
	// the forerunner of tools, and reads the answer in that form. It allows one
	// call a turn, so Parallel is false.
	LegacyFunctions bool
	// Parallel allows several tool calls in one turn; nil is the default (yes).
	Parallel *bool

	MaxTokens   *int64 // output bound, reasoning included
	Temperature json.Number
	TopP        json.Number
	TopK        *int64
	Stop        []string
	N           *int64 // number of answers; nil is 1

	Format    *Format
	Reasoning *Reasoning

	LogProbs    *bool
	TopLogProbs *int64

	// Hints: what the answer doesn't depend on.
	User             string // caller's end-user id
	Metadata         json.RawMessage
	Store            *bool
	Seed             json.RawMessage
	ServiceTier      string
	PresencePenalty  json.Number
	FrequencyPenalty json.Number
	CacheKey         string // OpenAI prompt_cache_key
	// LogitBias changes the answer; it is kept raw because only one dialect
	// has it.
	LogitBias json.RawMessage

	// Extra are top-level fields that the hub has no place for, by name.
	Extra map[string]json.RawMessage
}

// Message is one turn.
type Message struct {
	Role  Role
	Name  string // OpenAI's participant name, "" mostly
	Parts []Part
	// Path is where it stood in the caller's request, in the caller's terms; ""
	// if it came from none.
	Path string
}

// PartKind says which fields of a Part hold.
type PartKind uint8

// The kinds of parts.
const (
	Text             PartKind = iota + 1 // Text
	Image                                // Media
	Audio                                // Media
	File                                 // Media (documents)
	ToolUse                              // ToolID, ToolName, Args
	ToolResult                           // ToolID, Result, IsError
	Thinking                             // Text, Signature
	RedactedThinking                     // Data
	Refusal                              // Text
	Opaque                               // Raw: a block only its own dialect knows, e.g. a provider-side tool's result
)

// Part is one piece of a message's content.
type Part struct {
	Kind PartKind
	Text string

	Media *Media

	ToolID   string
	ToolName string
	// Args is a JSON object as the caller or model wrote it; "" means {}.
	Args    string
	Result  []Part
	IsError bool

	Signature string // of a Thinking part, to be sent back unchanged
	Data      string // of a RedactedThinking part

	// CacheTTL marks a prompt-cache breakpoint after this part: "5m", "1h", or
	// "" for none.
	CacheTTL string

	// Path as in Message.
	Path string

	// Raw is the whole block of an Opaque part.
	Raw json.RawMessage
	// Extra are the block's fields that the hub has no place for
	// (citations, annotations …), by name.
	Extra map[string]json.RawMessage
}

// Media is an image, audio clip or document, inline or by reference.
type Media struct {
	MIME   string // "image/png"; "" when a URL says it
	Base64 string // inline data
	URL    string // by reference
	FileID string // uploaded to the provider before
	Detail string // OpenAI's image detail: low, high, auto
	Name   string // file name or title
	// Text is a plain-text document's content.
	Text string
}

// ToolDef is a tool that the model may call.
type ToolDef struct {
	Name        string
	Description string
	// Schema is the JSON Schema of the arguments; nil means none given.
	Schema json.RawMessage
	Strict *bool
	// CacheTTL as in Part.
	CacheTTL string
	// Path as in Message.
	Path string
	// Raw is set for a provider-side or otherwise non-function tool (web
	// search, computer use, OpenAI custom …): the whole definition, with
	// Type its type. Only its own dialect can express it.
	Type string
	Raw  json.RawMessage
}

// ToolMode is what the model must do with its tools.
type ToolMode string

// The tool modes.
const (
	ToolAuto     ToolMode = "auto"
	ToolRequired ToolMode = "required" // any tool
	ToolNone     ToolMode = "none"
	ToolNamed    ToolMode = "named" // the tool named Name
)

// ToolChoice constrains the use of tools. Raw is set for a form only its own
// dialect knows (OpenAI's allowed_tools).
type ToolChoice struct {
	Mode ToolMode
	Name string
	Raw  json.RawMessage
}

// Format constrains the form of the answer.
type Format struct {
	// Type is "text", "json_object" or "json_schema".
	Type        string
	Name        string
	Description string
	Schema      json.RawMessage
	Strict      *bool
}

// Reasoning asks for thinking before the answer.
type Reasoning struct {
	// Effort is "none", "minimal", "low", "medium", "high", "xhigh", "max",
	// or "" when not said.
	Effort string
	// Budget bounds thinking tokens; nil when not said.
	Budget *int64
	// Mode is Anthropic's thinking.type: "enabled", "disabled", "adaptive", or
	// "" when not said.
	Mode string
	// Display is Anthropic's thinking.display: "summarized", "omitted", or "".
	Display string
}
