package openai

import (
	"manti/domain"
)

// writeUsage writes usage in OpenAI's way of counting: the details are parts of
// the totals.
func writeUsage(w *writer, u domain.Usage) {
	prompt, completion := u.PromptTokens(), u.CompletionTokens()
	w.key("usage")
	w.open('{')
	w.number("prompt_tokens", prompt)
	w.number("completion_tokens", completion)
	w.number("total_tokens", prompt+completion)
	w.key("prompt_tokens_details")
	w.open('{')
	w.number("cached_tokens", u[domain.CacheReadTokens])
	w.number("cache_write_tokens", u[domain.CacheWrite5mTokens]+u[domain.CacheWrite1hTokens])
	w.number("audio_tokens", u[domain.InputAudioTokens])
	w.close('}')
	w.key("completion_tokens_details")
	w.open('{')
	w.number("reasoning_tokens", u[domain.ReasoningTokens])
	w.number("audio_tokens", u[domain.OutputAudioTokens])
	w.close('}')
	w.close('}')
}
