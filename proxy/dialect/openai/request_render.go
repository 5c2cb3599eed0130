package openai

import (
	"encoding/json"
	"maps"
	"slices"

	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// The limits that OpenAI's API sets.
const (
	maxStops     = 4
	maxUserBytes = 64
)

// RenderRequest writes a chat request. Streams ask for usage.
//
// What it can't say: top_k, cache breakpoints and thinking in the history are
// hints and left out; so are sampling parameters that the model refuses and a
// user longer than OpenAI takes. Provider-side tools and their results,
// references to another provider's files, documents by URL, an answer begun for
// the model and more than four stop sequences change the meaning; what can be
// sent of them without breaking the call is still sent, for callers that allow
// it.
func (Dialect) RenderRequest(req *llm.Request, model dialect.Model) ([]byte, []llm.Loss, error) {
	r := &renderer{req: req, model: model}
	r.w.out = make([]byte, 0, sizeHint(req))
	r.w.open('{')
	r.w.text("model", model.Name)
	r.messages()
	r.tools()
	r.sampling()
	r.format()
	r.reasoning()
	r.hints()
	r.extra()
	if req.Stream {
		r.w.json("stream", []byte("true"))
		r.w.json("stream_options", []byte("{"+forcedUsage+"}"))
	}
	r.w.close('}')
	return r.w.out, r.losses, nil
}

// sizeHint is about how large the request will be.
func sizeHint(req *llm.Request) int {
	n := 1 << 10
	for _, m := range req.Messages {
		for _, p := range m.Parts {
			n += 64 + len(p.Text) + len(p.Args)
			if p.Media != nil {
				n += len(p.Media.Base64) + len(p.Media.Text)
			}
		}
	}
	for _, t := range req.Tools {
		n += 64 + len(t.Description) + len(t.Schema)
	}
	return n + n/8
}

// renderer writes one request.
type renderer struct {
	w      writer
	req    *llm.Request
	model  dialect.Model
	losses []llm.Loss
	// followUp are the parts of tool results that a tool message can't carry.
	followUp []located
}

// hint notes that something was left out that doesn't change the meaning.
func (r *renderer) hint(field, why string) { r.lose(llm.Loss{Field: field, Why: why}) }

// meaning notes that something was left out that does.
func (r *renderer) meaning(field, why string) {
	r.lose(llm.Loss{Field: field, Why: why, Meaning: true})
}

// lose keeps one loss per field.
func (r *renderer) lose(loss llm.Loss) {
	if !slices.ContainsFunc(r.losses, func(l llm.Loss) bool { return l.Field == loss.Field }) {
		r.losses = append(r.losses, loss)
	}
}

func (r *renderer) sampling() {
	r.w.count("max_completion_tokens", r.maxTokens())
	for _, p := range [...]struct {
		name  string
		value json.Number
	}{
		{"temperature", r.req.Temperature},
		{"top_p", r.req.TopP},
		{"presence_penalty", r.req.PresencePenalty},
		{"frequency_penalty", r.req.FrequencyPenalty},
	} {
		switch {
		case p.value == "":
		case !r.model.Sampling:
			r.hint(p.name, "The model doesn't take it.")
		default:
			r.w.json(p.name, []byte(p.value))
		}
	}
	if r.req.TopK != nil {
		r.hint("top_k", "OpenAI's API has no such field.")
	}
	r.w.count("n", r.req.N)
	r.stop()
	r.w.flag("logprobs", r.req.LogProbs)
	r.w.count("top_logprobs", r.req.TopLogProbs)
	r.w.json("logit_bias", r.req.LogitBias)
}

// maxTokens is the caller's bound, but no more than the model can write, since
// OpenAI refuses that.
func (r *renderer) maxTokens() *int64 {
	if n := r.req.MaxTokens; n != nil && r.model.OutputLimit > 0 && *n > r.model.OutputLimit {
		return &r.model.OutputLimit
	}
	return r.req.MaxTokens
}

func (r *renderer) stop() {
	stop := r.req.Stop
	if len(stop) == 0 {
		return
	}
	if len(stop) > maxStops {
		r.meaning("stop", "OpenAI's API takes at most four stop sequences.")
		stop = stop[:maxStops]
	}
	r.w.key("stop")
	r.w.open('[')
	for _, s := range stop {
		r.w.str(s)
	}
	r.w.close(']')
}

// format writes response_format. OpenAI wants a name for a schema. Strict stays
// unsaid if the caller hasn't said it: OpenAI's strict mode refuses many valid schemas.
func (r *renderer) format() {
	f := r.req.Format
	if f == nil || f.Type == "text" {
		return
	}
	if f.Type == "json_schema" && !r.model.StructuredOutput {
		r.meaning("response_format", "The model doesn't take a JSON schema for its answer.")
		return
	}
	r.w.key("response_format")
	r.w.open('{')
	r.w.text("type", f.Type)
	if f.Type == "json_schema" {
		r.w.key("json_schema")
		r.w.open('{')
		r.w.text("name", firstOf(f.Name, "response"))
		r.w.said("description", f.Description)
		r.w.json("schema", f.Schema)
		r.w.flag("strict", f.Strict)
		r.w.close('}')
	}
	r.w.close('}')
}

// Budgets of thinking up to these become the efforts low and medium, larger
// ones high: the budgets that gateways commonly give the efforts the other way round are
// 1024, 2048 and 4096, and Anthropic's callers set 10,000 and more when they want a
// problem thought through.
const (
	lowBudget    = 1024
	mediumBudget = 8192
)

// reasoning writes reasoning_effort. Thinking switched off is Anthropic's
// default and leaves the model's own default in place.
func (r *renderer) reasoning() {
	re := r.req.Reasoning
	if re == nil || re.Mode == "disabled" && re.Effort == "" {
		return
	}
	effort := re.Effort
	if effort == "" && re.Budget != nil {
		switch {
		case *re.Budget <= lowBudget:
			effort = "low"
		case *re.Budget <= mediumBudget:
			effort = "medium"
		default:
			effort = "high"
		}
	}
	if !r.model.Reasoning {
		if effort != "none" {
			r.hint("reasoning_effort", "The model has no thinking to control.")
		}
		return
	}
	r.w.said("reasoning_effort", effort)
}

func (r *renderer) hints() {
	if len(r.req.User) > maxUserBytes {
		r.hint("user", "OpenAI's API takes at most 64 characters.")
	} else {
		r.w.said("user", r.req.User)
	}
	r.w.json("metadata", r.req.Metadata)
	r.w.flag("store", r.req.Store)
	r.w.json("seed", r.req.Seed)
	switch tier := r.req.ServiceTier; tier {
	case "", "auto":
	case "standard_only": // Anthropic's
		r.w.text("service_tier", "default")
	default:
		r.w.text("service_tier", tier)
	}
	r.w.said("prompt_cache_key", r.req.CacheKey)
}

// ownFields are fields of OpenAI's that the hub has no place for.
var ownFields = map[string]bool{
	"audio": true, "modalities": true, "moderation": true, "prediction": true,
	"prompt_cache_options": true, "prompt_cache_retention": true,
	"safety_identifier": true, "verbosity": true, "web_search_options": true,
}

// hintFields are fields of others that don't change what the answer means.
var hintFields = map[string]bool{
	"cache_control": true, "context_management": true, "speed": true,
}

// extra writes the fields that are OpenAI's own. Of any other nothing is
// known, so leaving it out may change the meaning.
func (r *renderer) extra() {
	for _, name := range slices.Sorted(maps.Keys(r.req.Extra)) {
		switch {
		case dialect.SaysNothing(name, r.req.Extra[name]):
		case ownFields[name]:
			r.w.json(name, r.req.Extra[name])
		case hintFields[name]:
			r.hint(name, "OpenAI's API has no such field.")
		default:
			r.meaning(name, "OpenAI's API has no such field.")
		}
	}
}
