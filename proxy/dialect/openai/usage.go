package openai

import (
	"bytes"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// usageWire are the counters of a usage object, of chat completions, completions,
// embeddings and responses alike, and of the providers of the same shape. OpenAI's
// details are subsets of the totals.
type usageWire struct {
	input, output, total int64
	cached, written      int64
	cachedAudio          int64
	inAudio, inImage     int64
	reasoning            int64
	outAudio, outImage   int64
}

// readUsage reads a usage object into disjoint meters. found is false if raw
// isn't an object that counts anything.
//
// Accepted and rejected prediction tokens are inside the completion tokens and
// billed like them.
func readUsage(raw []byte) (usage domain.Usage, found bool) {
	if !isKind(raw, '{') {
		return domain.Usage{}, false
	}
	var u usageWire
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "prompt_tokens", "input_tokens":
			u.input, found = count(value), true
		case "completion_tokens", "output_tokens":
			u.output, found = count(value), true
		case "total_tokens": // Voyage's only one
			u.total, found = count(value), true
		case "prompt_tokens_details", "input_tokens_details":
			u.inputDetails(value)
		case "completion_tokens_details", "output_tokens_details":
			u.outputDetails(value)
		// DeepSeek, Mistral, and Moonshot or Together say so beside the totals.
		case "prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens":
			u.cached = max(u.cached, count(value))
		case "reasoning_tokens": // Perplexity, xAI
			u.reasoning = max(u.reasoning, count(value))
		}
	}
	return u.meters(), found
}

func (u *usageWire) inputDetails(raw []byte) {
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "cached_tokens":
			u.cached = max(u.cached, count(value))
		case "cache_write_tokens":
			u.written = count(value)
		case "audio_tokens":
			u.inAudio = count(value)
		case "image_tokens":
			u.inImage = count(value)
		case "cached_tokens_details":
			u.cachedAudio = count(get(value, "audio_tokens"))
		}
	}
}

func (u *usageWire) outputDetails(raw []byte) {
	w := walk(raw)
	for key, value, ok := w.member(); ok; key, value, ok = w.member() {
		switch string(key) {
		case "reasoning_tokens":
			u.reasoning = max(u.reasoning, count(value))
		case "audio_tokens":
			u.outAudio = count(value)
		case "image_tokens":
			u.outImage = count(value)
		}
	}
}

// meters makes the counters disjoint. A subset is never more than what its
// total leaves for it: OpenRouter has reported 11 reasoning tokens of 10.
func (u *usageWire) meters() domain.Usage {
	output := u.output
	if u.input == 0 && u.output == 0 {
		u.input = u.total
	}
	if u.reasoning > 0 && u.total == u.input+u.output+u.reasoning {
		output += u.reasoning // xAI counts reasoning outside the completion
	}
	var m domain.Usage
	m[domain.CacheReadTokens], u.input = take(u.cached, u.input)
	m[domain.CacheWrite5mTokens], u.input = take(u.written, u.input)
	m[domain.InputAudioTokens], u.input = take(u.inAudio-u.cachedAudio, u.input)
	m[domain.InputImageTokens], u.input = take(u.inImage, u.input)
	m[domain.InputTokens] = u.input
	m[domain.ReasoningTokens], output = take(u.reasoning, output)
	m[domain.OutputAudioTokens], output = take(u.outAudio, output)
	m[domain.OutputImageTokens], output = take(u.outImage, output)
	m[domain.OutputTokens] = output
	return m
}

// take is part, within 0 and whole, and what it leaves of the whole.
func take(part, whole int64) (taken, left int64) {
	taken = min(max(part, 0), whole)
	return taken, whole - taken
}

// count is a number of tokens; null, negative and broken ones count 0. The bound keeps
// sums of a few from overflowing.
func count(raw []byte) int64 {
	const most = 1 << 56
	n, _ := scan.Int64(raw)
	return min(max(n, 0), most)
}

// setUsage takes over a usage object as the last word on usage.
func setUsage(r *llm.Reading, raw []byte) {
	usage, found := readUsage(raw)
	if !found {
		return
	}
	searches := r.Usage[domain.WebSearches]
	files := r.Usage[domain.FileSearches]
	r.Usage, r.Found = usage, true
	r.Usage[domain.WebSearches], r.Usage[domain.FileSearches] = searches, files
	r.Raw = bytes.Clone(raw)
}
