package domain

import "math"

// A Meter names one metered quantity of a call. The meters of a call are
// disjoint: a token is counted by exactly one of them, so a call's cost is the
// plain sum of quantity × rate.
//
// Events name meters by String, never by number, so the order here may change.
type Meter uint8

// The meters. Token meters count tokens, call meters count calls that the
// provider bills one by one.
const (
	// InputTokens are prompt tokens that were neither read from nor written to
	// a cache and have no meter of their own.
	InputTokens Meter = iota
	// InputAudioTokens and InputImageTokens are the parts of the uncached
	// prompt that some models price apart.
	InputAudioTokens
	InputImageTokens
	// CacheReadTokens are prompt tokens served from the provider's cache.
	CacheReadTokens
	// CacheWrite5mTokens are prompt tokens written to a short-lived cache
	// (Anthropic's 5 minutes, OpenAI's 30 minutes).
	CacheWrite5mTokens
	// CacheWrite1hTokens are prompt tokens written to a one-hour cache.
	CacheWrite1hTokens
	// OutputTokens are generated tokens that no other output meter counts.
	OutputTokens
	// ReasoningTokens are generated tokens that the caller doesn't see as the
	// answer. Models without a rate of their own for them price them as
	// OutputTokens.
	ReasoningTokens
	// OutputAudioTokens and OutputImageTokens are generated tokens of those
	// modalities.
	OutputAudioTokens
	OutputImageTokens
	// WebSearches counts searches that the provider ran and bills per call.
	WebSearches
	// FileSearches counts file-search calls that the provider ran.
	FileSearches

	// MeterCount is the number of meters.
	MeterCount = int(FileSearches) + 1
)

var meterNames = [MeterCount]string{
	InputTokens:        "input",
	InputAudioTokens:   "input_audio",
	InputImageTokens:   "input_image",
	CacheReadTokens:    "cache_read",
	CacheWrite5mTokens: "cache_write_5m",
	CacheWrite1hTokens: "cache_write_1h",
	OutputTokens:       "output",
	ReasoningTokens:    "reasoning",
	OutputAudioTokens:  "output_audio",
	OutputImageTokens:  "output_image",
	WebSearches:        "web_search",
	FileSearches:       "file_search",
}

// String is the meter's name in events, price books and SQL columns.
func (m Meter) String() string {
	if int(m) < MeterCount {
		return meterNames[m]
	}
	return "unknown"
}

// ParseMeter finds a meter by its name.
func ParseMeter(name string) (Meter, bool) {
	for m, n := range meterNames {
		if n == name {
			return Meter(m), true
		}
	}
	return 0, false
}

// Usage is how much of each meter a call used. All quantities are ≥ 0. The
// zero value is no usage.
type Usage [MeterCount]int64

// PromptTokens is the size of the whole prompt, cached or not. Context tiers
// of a price are chosen by it.
func (u Usage) PromptTokens() int64 {
	return u[InputTokens] + u[InputAudioTokens] + u[InputImageTokens] +
		u[CacheReadTokens] + u[CacheWrite5mTokens] + u[CacheWrite1hTokens]
}

// CompletionTokens is the number of all generated tokens, reasoning included.
func (u Usage) CompletionTokens() int64 {
	return u[OutputTokens] + u[ReasoningTokens] + u[OutputAudioTokens] + u[OutputImageTokens]
}

// IsZero reports whether nothing was used.
func (u Usage) IsZero() bool { return u == Usage{} }

// Add is the sum of both. It stops at math.MaxInt64 instead of wrapping.
func (u Usage) Add(v Usage) Usage {
	for m := range u {
		if u[m] > math.MaxInt64-v[m] {
			u[m] = math.MaxInt64
			continue
		}
		u[m] += v[m]
	}
	return u
}

// Provenance says where the numbers of a Usage come from.
type Provenance string

// The provenances.
const (
	// Reported: the provider's own final figures.
	Reported Provenance = "reported"
	// Partial: the provider's figures up to where the answer broke off.
	Partial Provenance = "partial"
	// Estimated: counted by manti's estimator, whose version the event names.
	Estimated Provenance = "estimated"
	// Given: an operator's figures, in a correction.
	Given Provenance = "given"
	// NoUsage: nothing was used, or nothing is known to have been.
	NoUsage Provenance = "none"
)
