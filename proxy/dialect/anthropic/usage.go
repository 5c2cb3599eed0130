package anthropic

import (
	"encoding/json"

	"manti/domain"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// usageObject is Anthropic's usage, of an answer or of one iteration. Numbers
// that aren't whole or are negative count as 0.
type usageObject struct {
	Input         *count `json:"input_tokens"`
	CacheCreation *struct {
		Minutes5 *count `json:"ephemeral_5m_input_tokens"`
		Hour     *count `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
	CacheWrite    *count `json:"cache_creation_input_tokens"`
	CacheRead     *count `json:"cache_read_input_tokens"`
	Output        *count `json:"output_tokens"`
	OutputDetails *struct {
		Thinking *count `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
	ServerTools *struct {
		WebSearches *count `json:"web_search_requests"`
	} `json:"server_tool_use"`
	Tier       text        `json:"service_tier"`
	Geo        text        `json:"inference_geo"`
	Speed      text        `json:"speed"`
	Iterations []iteration `json:"iterations"`
}

// iteration is one sampling run inside an answer.
type iteration struct {
	usageObject
	Type  text `json:"type"`
	Model text `json:"model"`
}

// count is a number of tokens that accepts any JSON: a provider's odd figure
// must not fail the whole answer.
type count int64

// UnmarshalJSON never fails.
func (c *count) UnmarshalJSON(raw []byte) error {
	if v, ok := scan.Int64(raw); ok && v > 0 {
		*c = count(v)
	}
	return nil
}

// n is the count, 0 if absent.
func (c *count) n() int64 {
	if c == nil {
		return 0
	}
	return int64(*c)
}

// text is a string that accepts any JSON.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(raw []byte) error {
	s, _ := scan.String(raw)
	*t = text(s)
	return nil
}

// classes is the object's usage in disjoint meters, iterations apart.
//
// cache_creation splits cache_creation_input_tokens by the entries' lifetime;
// message_delta repeats only the sum. So what the split doesn't explain went
// to the 5 minute cache, the default; without a split that is all of it.
func (u *usageObject) classes() domain.Usage {
	var hour, minutes int64
	if s := u.CacheCreation; s != nil {
		hour, minutes = s.Hour.n(), s.Minutes5.n()
	}
	if u.CacheWrite != nil {
		hour = min(hour, u.CacheWrite.n())
		minutes = u.CacheWrite.n() - hour
	}
	var thinking, searches int64
	if d := u.OutputDetails; d != nil {
		thinking = min(d.Thinking.n(), u.Output.n())
	}
	if s := u.ServerTools; s != nil {
		searches = s.WebSearches.n()
	}
	return domain.Usage{
		domain.InputTokens:        u.Input.n(),
		domain.CacheReadTokens:    u.CacheRead.n(),
		domain.CacheWrite5mTokens: minutes,
		domain.CacheWrite1hTokens: hour,
		domain.OutputTokens:       u.Output.n() - thinking,
		domain.ReasoningTokens:    thinking,
		domain.WebSearches:        searches,
	}
}

// readUsage reads raw, a usage object, into r and keeps a copy of it. Anything
// that is no object with a token count in it changes nothing.
func readUsage(r *llm.Reading, raw []byte) {
	var u usageObject
	_ = json.Unmarshal(raw, &u) // a member of a wrong type leaves the others, bad JSON leaves none
	if u.Input == nil && u.Output == nil {
		return
	}
	r.Found = true
	r.Raw = append(json.RawMessage(nil), raw...)
	r.Usage, r.Apart = u.classes(), nil
	r.Tier, r.Speed = string(u.Tier), string(u.Speed)
	if r.Region = string(u.Geo); r.Region == "not_available" {
		r.Region = ""
	}
	for i := range u.Iterations {
		it := &u.Iterations[i]
		switch it.Type {
		case "compaction": // not in the top-level figures, at the same model's price
			r.Usage = r.Usage.Add(it.classes())
		case "advisor_message": // not in the top-level figures, another model's
			r.Apart = append(r.Apart, llm.ModelUsage{Model: string(it.Model), Usage: it.classes()})
		}
	}
}

// mergeUsage is the usage object older with each member of newer in place of
// its own: message_delta is cumulative, but leaves out what message_start
// said for good. A null replaces nothing. Of two members with one name the
// last counts.
func mergeUsage(older, newer []byte) []byte {
	var old, add members
	if json.Unmarshal(newer, &add) != nil {
		return older
	}
	if len(older) == 0 || json.Unmarshal(older, &old) != nil {
		return newer
	}
	for _, m := range add {
		if !scan.IsNull(m.value) {
			old.set(m)
		}
	}
	merged, err := json.Marshal(old)
	if err != nil {
		return newer
	}
	return merged
}
