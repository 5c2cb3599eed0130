package sim

import (
	"bytes"
	"encoding/json"
	"strconv"

	"manti/proxy/dialect"
)

// request is what the simulator reads of a request's body. Raw fields alias
// the body.
type request struct {
	model        string
	stream       bool
	includeUsage bool
	maxTokens    int // 0: not said
	n            int // answers asked for, 1 to maxChoices
	promptBytes  int // of messages, system, tools, input, …
	logProbs     bool
	topLogProbs  int
	parallel     bool
	effort       string // OpenAI's reasoning effort
	thinks       bool   // Anthropic's thinking is on
	thinkBudget  int    // 0: none
	dimensions   int
	base64       bool // embeddings as base64
	hasPrompt    bool

	tools, toolChoice, format, stop, messages json.RawMessage
}

// maxChoices bounds n.
const maxChoices = 8

// readRequest reads a body. The error says that it's no JSON object; what is
// missing is check's business.
func readRequest(body []byte) (request, error) {
	r := request{n: 1, parallel: true}
	err := members(body, r.member)
	return r, err
}

func (r *request) member(name, value []byte) {
	switch string(name) {
	case "model":
		r.model = text(value)
	case "stream":
		r.stream = string(value) == "true"
	case "stream_options":
		r.includeUsage = nested(value, "include_usage") == "true"
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		r.maxTokens = number(value)
	case "n":
		r.n = min(max(number(value), 1), maxChoices)
	case "logprobs":
		r.logProbs = string(value) == "true"
	case "top_logprobs":
		r.topLogProbs = number(value)
	case "parallel_tool_calls":
		r.parallel = string(value) != "false"
	case "reasoning_effort":
		r.effort = text(value)
	case "reasoning":
		r.effort = nested(value, "effort")
	case "thinking":
		r.thinks = nested(value, "type") == "enabled" || nested(value, "type") == "adaptive"
		r.thinkBudget = number([]byte(nested(value, "budget_tokens")))
	case "dimensions":
		r.dimensions = number(value)
	case "encoding_format":
		r.base64 = text(value) == "base64"
	case "stop", "stop_sequences":
		r.stop = value
	case "tool_choice":
		r.toolChoice = value
		r.parallel = r.parallel && nested(value, "disable_parallel_tool_use") != "true"
	case "response_format", "text", "output_config", "output_format":
		r.format = value
	case "messages", "input", "prompt":
		r.messages = value
		r.hasPrompt = string(value) != "null"
		r.promptBytes += len(value)
	case "tools":
		r.tools = value
		r.promptBytes += len(value)
	case "system", "instructions":
		r.promptBytes += len(value)
	}
}

// promptTokens is what the simulator counts for a prompt: a token for four
// bytes of its JSON, and three.
func (r *request) promptTokens() int64 { return int64(r.promptBytes/4 + 3) }

// stops are the stop sequences, of either form.
func (r *request) stops() []string {
	if len(r.stop) == 0 {
		return nil
	}
	var one string
	if json.Unmarshal(r.stop, &one) == nil && one != "" {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(r.stop, &many) != nil {
		return nil
	}
	return many
}

// answersTool says whether the last message is a tool's result.
func (r *request) answersTool() bool {
	var messages []struct {
		Role    string          `json:"role"`
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(r.messages, &messages) != nil || len(messages) == 0 {
		return false
	}
	last := messages[len(messages)-1]
	if last.Role == "tool" || last.Type == "function_call_output" {
		return true
	}
	var blocks []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(last.Content, &blocks) != nil {
		return false
	}
	for _, b := range blocks {
		if b.Type == "tool_result" {
			return true
		}
	}
	return false
}

// problem is what the request lacks for its endpoint, "" if nothing.
func (r *request) problem(endpoint dialect.Endpoint) string {
	switch {
	case r.model == "":
		return "model"
	case !r.hasPrompt && (endpoint == dialect.ChatCompletions || endpoint == dialect.Messages || endpoint == dialect.CountTokens):
		return "messages"
	case !r.hasPrompt && (endpoint == dialect.Responses || endpoint == dialect.Embeddings):
		return "input"
	case r.maxTokens < 1 && endpoint == dialect.Messages:
		return "max_tokens"
	default:
		return ""
	}
}

// text is the value of a JSON string, "" for anything else.
func text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// number is the value of a JSON integer, 0 for anything else.
func number(value []byte) int {
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return 0
	}
	return n
}

// nested is a member of an object: a string's text, else the scalar as it
// stands; "" if there is none.
func nested(object []byte, name string) string {
	found := ""
	err := members(object, func(n, value []byte) {
		if string(n) != name {
			return
		}
		if found = text(value); found == "" && value[0] != '"' {
			found = string(value)
		}
	})
	if err != nil {
		return ""
	}
	return found
}
