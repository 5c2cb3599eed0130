package sim

import (
	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// reply is what the simulated model answers, in no dialect.
type reply struct {
	said     speech
	thought  speech // shown thinking; empty if it is hidden
	tools    []toolCall
	stop     llm.StopReason
	sequence string // the stop sequence that matched
	choices  int
	usage    domain.Usage
}

// refusal is what a model says that refuses.
const refusal = "I can't help with that."

// decide makes the reply to a request. In this order: refusals, tools,
// structured output, text; then the bounds of the request.
func (c *call) decide() reply {
	r := reply{choices: 1, stop: llm.StopEnd}
	c.countPrompt(&r.usage)
	budget := maxOutput
	if c.req.maxTokens > 0 {
		budget = min(budget, c.req.maxTokens)
	}
	hidden := c.think(&r, &budget)
	if c.endpoint == dialect.ChatCompletions || c.endpoint == dialect.Completions {
		r.choices = c.req.n
	}
	c.speak(&r, budget)
	if c.fault == FaultFilter {
		r.stop = llm.StopFiltered
	}
	r.usage[domain.ReasoningTokens] = int64(hidden + r.thought.tokens())
	r.usage[domain.OutputTokens] = int64(r.said.tokens() * r.choices)
	for _, t := range r.tools {
		r.usage[domain.OutputTokens] += int64(t.tokens() * r.choices)
	}
	return r
}

// think spends some of the budget on reasoning and returns how many tokens of
// it stay hidden.
func (c *call) think(r *reply, budget *int) int {
	if c.api == dialect.Anthropic {
		if !c.req.thinks {
			return 0
		}
		n := int(c.draw.around(int64(max(c.model.Reasoning, 40))))
		if c.req.thinkBudget > 0 {
			n = min(n, c.req.thinkBudget)
		}
		r.thought = c.p.corpus.stretch(&c.draw, min(n, *budget))
		*budget -= r.thought.tokens()
		return 0
	}
	if c.model.Reasoning == 0 || c.req.effort == "none" {
		return 0
	}
	n := min(int(c.draw.around(int64(c.model.Reasoning))), *budget)
	*budget -= n
	return n
}

func (c *call) speak(r *reply, budget int) {
	if c.fault == FaultRefuse {
		r.said, r.stop = newSpeech(refusal), llm.StopRefusal
		return
	}
	if calls := c.req.callTools(&c.draw); len(calls) > 0 {
		need := 0
		for _, t := range calls {
			need += t.tokens()
		}
		if need <= budget {
			r.tools, r.stop = calls, llm.StopToolUse
			return
		}
	}
	r.said = c.speech()
	if stops := c.req.stops(); len(stops) > 0 {
		if r.said, r.sequence = r.said.before(stops); r.sequence != "" {
			r.stop = llm.StopSequence
		}
	}
	if r.said.tokens() > budget {
		r.said, r.stop, r.sequence = r.said.first(max(budget, 0)), llm.StopLength, ""
	}
}

// speech is the model's text before any bound.
func (c *call) speech() speech {
	m := c.model
	if m.Chunks > 0 {
		return speech{text: c.p.filler, size: m.ChunkBytes, count: m.Chunks, safe: true}
	}
	if raw, ok := c.req.schemaAsked(); ok {
		return newSpeech(instance(raw, &c.draw))
	}
	return c.p.corpus.stretch(&c.draw, max(int(c.draw.around(int64(m.Output))), 1))
}

// cacheable is the least number of tokens that providers keep in a cache, and
// OpenAI's step of counting them.
const (
	cacheable = 1024
	cacheStep = 128
)

// countPrompt divides the prompt's tokens among the input meters.
func (c *call) countPrompt(u *domain.Usage) {
	prompt := c.req.promptTokens()
	u[domain.InputTokens] = prompt
	part := int64(0)
	switch {
	case c.cacheControl:
		part = prompt * int64(50+c.draw.below(50)) / 100
	case c.model.Caches && prompt >= cacheable && c.api == dialect.OpenAI:
		part = prompt * int64(50+c.draw.below(50)) / 100 / cacheStep * cacheStep
	}
	if part == 0 {
		return
	}
	u[domain.InputTokens] -= part
	switch {
	case c.draw.below(2) == 0:
		u[domain.CacheReadTokens] = part
	case c.cacheHour:
		u[domain.CacheWrite1hTokens] = part
	default:
		u[domain.CacheWrite5mTokens] = part
	}
}
