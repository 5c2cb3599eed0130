package sim

import (
	"strings"
	"time"
)

// A Model is how a simulated model behaves. The zero Model answers at once
// with one token.
type Model struct {
	// FirstByte is the median time until the first byte of an answer.
	FirstByte time.Duration
	// Gap is the median time between two chunks. A plain answer takes
	// FirstByte and one Gap per chunk that it would have had.
	Gap time.Duration
	// Output is the median number of tokens of an answer.
	Output int
	// Reasoning is the median number of tokens that it thinks before an
	// answer; 0 if it only thinks when asked (Anthropic's thinking).
	Reasoning int
	// ChunkTokens is the number of tokens in one chunk of a stream; 0 is 1.
	ChunkTokens int
	// Caches: prompts of 1024 tokens and more are sometimes read from or
	// written to a cache. Prompts with cache_control always are.
	Caches bool
	// Embedding: it makes embeddings, and nothing else.
	Embedding bool

	// Chunks, if set, makes every answer exactly so many chunks of ChunkBytes
	// each, one token a chunk, at exactly FirstByte and Gap: a load model.
	Chunks     int
	ChunkBytes int
	// Stamped: the text carries clocks, see Stamp.
	Stamped bool
}

// BuiltIn are the models that every Provider has, by name.
func BuiltIn() map[string]Model {
	return map[string]Model{
		"fast":        {Output: 20},
		"chat":        {FirstByte: 250 * time.Millisecond, Gap: 12 * time.Millisecond, Output: 120, Caches: true},
		"gpt-like":    {FirstByte: 600 * time.Millisecond, Gap: 20 * time.Millisecond, Output: 250, Caches: true},
		"claude-like": {FirstByte: 700 * time.Millisecond, Gap: 45 * time.Millisecond, Output: 280, ChunkTokens: 4, Caches: true},
		"reasoner":    {FirstByte: 4 * time.Second, Gap: 15 * time.Millisecond, Output: 300, Reasoning: 500, Caches: true},
		"embed":       {Embedding: true},

		"w1":     {Chunks: 24, ChunkBytes: 20, Stamped: true},
		"w2":     {FirstByte: 50 * time.Millisecond, Chunks: 24, ChunkBytes: 20, Stamped: true},
		"w3":     {Chunks: 100, ChunkBytes: 20, Stamped: true},
		"w4":     {Chunks: 250, ChunkBytes: 20, Gap: 20 * time.Millisecond, Stamped: true},
		"w4slow": {Chunks: 100, ChunkBytes: 20, Gap: 200 * time.Millisecond, Stamped: true},
		"w5":     {Chunks: 5120, ChunkBytes: 20, Stamped: true},
	}
}

// likeness says which built-in model stands for the names of real ones.
var likeness = []struct{ prefix, model string }{
	{"gpt-5", "reasoner"}, {"o1", "reasoner"}, {"o3", "reasoner"}, {"o4", "reasoner"},
	{"gpt-", "chat"}, {"chatgpt-", "chat"}, {"claude-", "claude-like"}, {"text-embedding-", "embed"},
}

// find is the model of a name as it came in a request, and the fault in the
// name.
func (p *Provider) find(name string) (Model, Fault, bool) {
	name = strings.TrimPrefix(name, "sim/")
	if m, ok := p.models[name]; ok {
		return m, "", true
	}
	base, faultName, found := cutFault(name)
	if found {
		fault, ok := ParseFault(faultName)
		if !ok {
			return Model{}, "", false
		}
		m, _, ok := p.find(base)
		return m, fault, ok
	}
	for _, l := range likeness {
		if strings.HasPrefix(name, l.prefix) {
			return p.models[l.model], "", true
		}
	}
	return Model{}, "", false
}

// cutFault splits "chat-fault-429" into "chat" and "429", and "fault-429" into
// "fast" and "429".
func cutFault(name string) (base, fault string, found bool) {
	if fault, ok := strings.CutPrefix(name, "fault-"); ok {
		return "fast", fault, true
	}
	return strings.Cut(name, "-fault-")
}
