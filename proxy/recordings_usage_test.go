package proxy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"manti/domain"
)

// usage is what the provider reported, worked out from the recorded bytes alone.
func (rec *recording) usage(t *testing.T) domain.Usage {
	t.Helper()
	switch {
	case rec.Usage == nil, rec.Kind == "messages.count_tokens": // counting is free
		return domain.Usage{}
	case rec.Provider == "anthropic":
		return rec.anthropicUsage(t)
	}
	return rec.openaiUsage(t)
}

// openaiTotals is OpenAI's usage: details are parts of the totals.
type openaiTotals struct {
	Prompt     int64      `json:"prompt_tokens"`
	Completion int64      `json:"completion_tokens"`
	Input      int64      `json:"input_tokens"`
	Output     int64      `json:"output_tokens"`
	PromptOf   inDetails  `json:"prompt_tokens_details"`
	InputOf    inDetails  `json:"input_tokens_details"`
	CompOf     outDetails `json:"completion_tokens_details"`
	OutputOf   outDetails `json:"output_tokens_details"`
}

type inDetails struct {
	Cached  int64 `json:"cached_tokens"`
	Written int64 `json:"cache_write_tokens"`
	Audio   int64 `json:"audio_tokens"`
}

type outDetails struct {
	Reasoning int64 `json:"reasoning_tokens"`
	Audio     int64 `json:"audio_tokens"`
}

func (rec *recording) openaiUsage(t *testing.T) domain.Usage {
	t.Helper()
	var o openaiTotals
	if err := json.Unmarshal(rec.Usage.Raw, &o); err != nil {
		t.Fatal(err)
	}
	cached, written, audio := o.PromptOf.Cached+o.InputOf.Cached, o.PromptOf.Written+o.InputOf.Written, o.PromptOf.Audio+o.InputOf.Audio
	reasoning, spoken := o.CompOf.Reasoning+o.OutputOf.Reasoning, o.CompOf.Audio+o.OutputOf.Audio
	u := domain.Usage{
		domain.InputTokens:        o.Prompt + o.Input - cached - written - audio,
		domain.InputAudioTokens:   audio,
		domain.CacheReadTokens:    cached,
		domain.CacheWrite5mTokens: written,
		domain.OutputTokens:       o.Completion + o.Output - reasoning - spoken,
		domain.ReasoningTokens:    reasoning,
		domain.OutputAudioTokens:  spoken,
	}
	if rec.Kind == "responses" { // it bills searches by the call, and names no number
		u[domain.WebSearches], u[domain.FileSearches] = rec.searches(t)
	}
	return u
}

// searches counts the searches in a response's output.
func (rec *recording) searches(t *testing.T) (web, files int64) {
	t.Helper()
	doc := rec.Response.Body
	if rec.Stream {
		for _, data := range frameData(doc) {
			var done struct {
				Type     string
				Response json.RawMessage
			}
			if json.Unmarshal([]byte(data), &done) == nil && done.Type == "response.completed" {
				doc = string(done.Response)
			}
		}
	}
	var response struct{ Output []struct{ Type string } }
	if err := json.Unmarshal([]byte(doc), &response); err != nil {
		t.Fatal(err)
	}
	for _, item := range response.Output {
		switch item.Type {
		case "web_search_call":
			web++
		case "file_search_call":
			files++
		}
	}
	return web, files
}

// anthropicFigures is Anthropic's usage: the classes are disjoint but for the
// thinking, and what some iterations used is said nowhere else.
type anthropicFigures struct {
	Input    *int64 `json:"input_tokens"`
	Output   *int64 `json:"output_tokens"`
	Read     *int64 `json:"cache_read_input_tokens"`
	Written  *int64 `json:"cache_creation_input_tokens"`
	Creation *struct {
		Hour int64 `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
	Details *struct {
		Thinking int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
	Server *struct {
		Searches int64 `json:"web_search_requests"`
	} `json:"server_tool_use"`
	Iterations []struct {
		anthropicFigures
		Type string
	}
}

// usage is of the model that was asked, apart that of others that it asked.
func (f *anthropicFigures) usage() (own, apart domain.Usage) {
	n := func(p *int64) int64 {
		if p == nil {
			return 0
		}
		return *p
	}
	var hour, thinking, searches int64
	if f.Creation != nil {
		hour = f.Creation.Hour
	}
	if f.Details != nil {
		thinking = f.Details.Thinking
	}
	if f.Server != nil {
		searches = f.Server.Searches
	}
	own = domain.Usage{
		domain.InputTokens: n(f.Input), domain.CacheReadTokens: n(f.Read),
		domain.CacheWrite5mTokens: n(f.Written) - hour, domain.CacheWrite1hTokens: hour,
		domain.OutputTokens: n(f.Output) - thinking, domain.ReasoningTokens: thinking, domain.WebSearches: searches,
	}
	for _, it := range f.Iterations {
		of, _ := it.anthropicFigures.usage()
		switch it.Type {
		case "compaction":
			own = own.Add(of)
		case "advisor_message":
			apart = apart.Add(of)
		}
	}
	return own, apart
}

// anthropicUsage lets each later figure of a stream replace the earlier: they
// are cumulative, and what isn't repeated holds.
func (rec *recording) anthropicUsage(t *testing.T) domain.Usage {
	t.Helper()
	var f anthropicFigures
	docs := []string{rec.Response.Body}
	if rec.Stream {
		docs = frameData(rec.Response.Body)
	}
	for _, doc := range docs {
		var e struct {
			Message struct{ Usage json.RawMessage }
			Usage   json.RawMessage
		}
		if err := json.Unmarshal([]byte(doc), &e); err != nil {
			t.Fatal(err)
		}
		for _, raw := range []json.RawMessage{e.Message.Usage, e.Usage} {
			if raw == nil {
				continue
			}
			if err := json.Unmarshal(raw, &f); err != nil {
				t.Fatal(err)
			}
		}
	}
	own, apart := f.usage()
	return own.Add(apart)
}

// frameData are the data of a stream's frames.
func frameData(body string) []string {
	var all []string
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data:"); ok {
			all = append(all, strings.TrimPrefix(data, " "))
		}
	}
	return all
}
