package anthropic

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/llm"
)

// defaultMaxTokens bounds the output where neither the caller nor the model's
// table does: every model takes it.
const defaultMaxTokens = 4096

// renderer writes one request.
type renderer struct {
	req    *llm.Request
	model  dialect.Model
	w      writer
	losses []llm.Loss
	err    *domain.Error // the first thing that can't be written at all
}

// RenderRequest writes a request for Anthropic. An error is a *domain.Error
// that names what can't be written at all, such as arguments of a tool that are
// no JSON object; the losses come with it.
//
// max_tokens, which Anthropic must have, is the caller's, else the model's
// limit, else 4096. System messages all go to the system prompt, in their
// order: there they keep their authority, but one that stood between other
// messages loses its place, which is named as a hint. Turns of one role in a
// row become one, tool results first. Text that is empty or only white space,
// which Anthropic refuses, is left out.
func (Dialect) RenderRequest(req *llm.Request, model dialect.Model) ([]byte, []llm.Loss, error) {
	r := &renderer{req: req, model: model}
	system, turns := r.turns()
	if len(turns) == 0 && r.err == nil {
		r.err = domain.Invalid("messages", "Anthropic's API needs at least one message that isn't a system message.")
	}
	r.w.open('{')
	r.w.strField("model", model.Name)
	r.w.intField("max_tokens", r.maxTokens())
	if len(system) > 0 {
		r.w.key("system")
		r.blocks(system)
	}
	r.w.key("messages")
	r.w.open('[')
	for _, t := range turns {
		r.w.open('{')
		r.w.strField("role", string(t.role))
		r.w.key("content")
		r.blocks(t.blocks)
		r.w.close('}')
	}
	r.w.close(']')
	r.tools()
	thinking := r.reasoning()
	r.sampling(thinking)
	r.options()
	if req.Stream {
		r.w.boolField("stream", true)
	}
	r.unsupported()
	r.extra()
	r.w.close('}')
	if r.err != nil {
		return nil, r.losses, r.err
	}
	return r.w, r.losses, nil
}

// hint names something that is left out without changing what is asked.
func (r *renderer) hint(field, why string) {
	r.losses = append(r.losses, llm.Loss{Field: field, Why: why})
}

// meaning names something without which the answer means something else.
func (r *renderer) meaning(field, why string) {
	r.losses = append(r.losses, llm.Loss{Field: field, Meaning: true, Why: why})
}

// fail notes what can't be written.
func (r *renderer) fail(field, why string) {
	if r.err == nil {
		r.err = domain.Invalid(field, why)
	}
}

func (r *renderer) maxTokens() int64 {
	switch {
	case r.req.MaxTokens != nil:
		return *r.req.MaxTokens
	case r.model.OutputLimit > 0:
		return r.model.OutputLimit
	}
	return defaultMaxTokens
}

// sampling writes temperature, top_p and top_k. Anthropic's temperature ends
// at 1; a higher one becomes 1, the nearest there is.
func (r *renderer) sampling(thinking bool) {
	req := r.req
	if !r.model.Sampling || thinking {
		why := "The model takes no sampling parameters."
		if thinking {
			why = "A model that thinks takes no sampling parameters."
		}
		for _, s := range []struct {
			field string
			said  bool
		}{
			{"temperature", req.Temperature != "" && compareToOne(req.Temperature) != 0},
			{"top_p", req.TopP != "" && compareToOne(req.TopP) != 0},
			{"top_k", req.TopK != nil},
		} {
			if s.said {
				r.hint(s.field, why)
			}
		}
		return
	}
	if t := req.Temperature; t != "" {
		if compareToOne(t) > 0 {
			r.hint("temperature", "Anthropic's temperature is at most 1, which is used.")
			t = "1"
		}
		r.w.rawField("temperature", json.RawMessage(t))
	}
	if p := req.TopP; p != "" && compareToOne(p) != 0 {
		r.w.rawField("top_p", json.RawMessage(p))
	}
	if req.TopK != nil {
		r.w.intField("top_k", *req.TopK)
	}
}

// maxUserID is the longest metadata.user_id that Anthropic takes, in bytes.
const maxUserID = 256

// options writes stop sequences and what is about the call, not its answer.
func (r *renderer) options() {
	if len(r.req.Stop) > 0 {
		r.w.key("stop_sequences")
		r.w.open('[')
		for i, s := range r.req.Stop {
			if strings.TrimSpace(s) == "" {
				r.meaning("stop", "Anthropic takes no stop sequence of white space only, as number "+strconv.Itoa(i+1)+" is.")
				continue
			}
			r.w.str(s)
		}
		r.w.close(']')
	}
	switch user := r.req.User; {
	case len(user) > maxUserID:
		r.hint("user", "Anthropic's metadata.user_id is at most 256 bytes long.")
	case user != "":
		r.w.key("metadata")
		r.w.open('{')
		r.w.strField("user_id", user)
		r.w.close('}')
	}
	switch tier := r.req.ServiceTier; tier {
	case "", "auto":
	case "standard_only":
		r.w.strField("service_tier", tier)
	default:
		r.hint("service_tier", "Anthropic's service tiers are others.")
	}
}

// unsupported names what Anthropic's API has no field for.
func (r *renderer) unsupported() {
	req := r.req
	for _, l := range []struct {
		said    bool
		meaning bool
		field   string
		why     string
	}{
		{req.N != nil && *req.N > 1, true, "n", "Anthropic's API gives one answer a call."},
		{!dialect.SaysNothing("logit_bias", req.LogitBias), true, "logit_bias", "Anthropic's API can't bias tokens."},
		{req.LogProbs != nil && *req.LogProbs, true, "logprobs", "Anthropic's API gives no log probabilities."},
		{req.PresencePenalty != "" && !isZero(req.PresencePenalty), false, "presence_penalty", "Anthropic's API has no penalties."},
		{req.FrequencyPenalty != "" && !isZero(req.FrequencyPenalty), false, "frequency_penalty", "Anthropic's API has no penalties."},
		{!dialect.SaysNothing("seed", req.Seed), false, "seed", "Anthropic's API takes no seed."},
		{req.Store != nil && *req.Store, false, "store", "Anthropic stores no answers."},
		{!dialect.SaysNothing("metadata", req.Metadata), false, "metadata", "Anthropic's API keeps no metadata but a user id."},
		{req.CacheKey != "", false, "prompt_cache_key", "Anthropic caches by breakpoints in the prompt."},
	} {
		if l.said {
			r.losses = append(r.losses, llm.Loss{Field: l.field, Meaning: l.meaning, Why: l.why})
		}
	}
}

// own are the fields of Anthropic's API that the hub has no place for: they
// are passed on, whoever says them.
var own = [...]string{"cache_control", "container", "context_management", "inference_geo", "mcp_servers", "speed"}

// ignored are other APIs' fields that only say how a call is carried out.
var ignored = [...]string{
	"prediction", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "stream_options", "verbosity",
}

// extra passes on what Anthropic knows of the fields that the hub doesn't, and
// names the rest. One that nobody knows may mean anything.
func (r *renderer) extra() {
	names := make([]string, 0, len(r.req.Extra))
	for name := range r.req.Extra {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch raw := r.req.Extra[name]; {
		case dialect.SaysNothing(name, raw):
		case slices.Contains(own[:], name):
			r.w.rawField(name, raw)
		case slices.Contains(ignored[:], name):
			r.hint(name, "Anthropic's API has no such field.")
		default:
			r.meaning(name, "Anthropic's API has no such field.")
		}
	}
}
