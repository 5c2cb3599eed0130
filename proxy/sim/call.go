package sim

import (
	"bytes"
	"hash/crc32"
	"strconv"
	"time"

	"manti/domain"
	"manti/proxy/dialect"
)

// call is one call on its way through the simulator. The server that runs it
// may use it again for the next one.
type call struct {
	p  *Provider
	w  wire
	in incoming

	api      dialect.Name
	endpoint dialect.Endpoint
	req      request
	model    Model
	fault    Fault
	draw     draw

	number  uint64
	id      uint64 // mixed from number and seed: unique, and looks it
	bodySum uint64
	begunAt time.Time
	verdict verdict

	cacheControl, cacheHour bool

	reply      reply
	askedID    string // requestID's, once made
	retryAfter bool   // the answer's header says when to come again
	out        []byte // scratch: bodies and frames
	prefix     []byte // scratch: what a stream's frames begin with
	head       []field
}

// serve answers one request.
func (c *call) serve(p *Provider, w wire, in incoming) {
	*c = call{p: p, w: w, in: in, out: c.out[:0], prefix: c.prefix[:0], head: c.head[:0]}
	if !c.route() {
		return
	}
	if !c.accept() {
		return
	}
	p.books.begin(c)
	c.answer()
}

// route finds the endpoint; what isn't one is answered here.
func (c *call) route() bool {
	path := c.in.path
	if len(path) > 3 && path[:4] == "/v1/" {
		path = path[3:]
	}
	c.api = dialect.OpenAI
	switch path {
	case "/chat/completions":
		c.endpoint = dialect.ChatCompletions
	case "/responses":
		c.endpoint = dialect.Responses
	case "/completions":
		c.endpoint = dialect.Completions
	case "/embeddings":
		c.endpoint = dialect.Embeddings
	case "/messages":
		c.api, c.endpoint = dialect.Anthropic, dialect.Messages
	case "/messages/count_tokens":
		c.api, c.endpoint = dialect.Anthropic, dialect.CountTokens
	default:
		c.serveOther(path)
		return false
	}
	if c.in.method != "POST" {
		c.refuse(problem{status: 405, message: "Method not allowed. Use POST."})
		return false
	}
	return true
}

// accept reads the request and draws its fate; what is wrong with it is
// answered here.
func (c *call) accept() bool {
	var err error
	if c.req, err = readRequest(c.in.body); err != nil {
		c.refuse(problem{status: 400, message: "We could not parse the JSON body of your request."})
		return false
	}
	if c.p.key != "" && c.in.key != c.p.key {
		c.refuse(problem{status: 401, message: "Incorrect API key provided."})
		return false
	}
	if missing := c.req.problem(c.endpoint); missing != "" {
		c.refuse(problem{status: 400, param: missing, message: "Missing required parameter: '" + missing + "'."})
		return false
	}
	var byModel Fault
	var ok bool
	if c.model, byModel, ok = c.p.find(c.req.model); !ok || c.model.Embedding != (c.endpoint == dialect.Embeddings) {
		c.refuse(problem{status: 404, param: "model", message: "The model '" + c.req.model + "' does not exist or can't be called here."})
		return false
	}
	c.number = c.p.number.Add(1)
	c.id = mix(c.p.seed + c.number*golden)
	c.bodySum = uint64(crc32.Checksum(c.in.body, c.p.castagnoli))<<32 | uint64(uint32(len(c.in.body)))
	c.draw = draw{state: mix(c.bodySum) ^ c.id}
	c.begunAt = time.Now()
	c.fault = c.chooseFault(byModel)
	if c.api == dialect.Anthropic {
		c.cacheControl = bytes.Contains(c.in.body, []byte(`"cache_control"`))
		c.cacheHour = c.cacheControl && bytes.Contains(c.in.body, []byte(`"1h"`))
	}
	return true
}

// answer runs a call that stands in the books.
func (c *call) answer() {
	if c.endpoint != dialect.Embeddings && c.endpoint != dialect.CountTokens {
		c.reply = c.decide()
	} else if c.endpoint == dialect.Embeddings {
		c.reply.usage[domain.InputTokens] = c.req.promptTokens()
	}
	if c.fault != "" && c.strikeFirst() {
		return
	}
	first := c.model.FirstByte
	if c.model.Chunks == 0 {
		first = c.draw.aroundDuration(first)
	}
	if c.fault == FaultSlow {
		first += c.p.slow
	}
	if !c.req.stream || c.endpoint == dialect.Embeddings || c.endpoint == dialect.CountTokens {
		c.servePlain(first)
		return
	}
	if c.w.wait(first) != nil {
		c.abandon(0)
		return
	}
	s := c.stream()
	switch c.endpoint {
	case dialect.ChatCompletions:
		s.chat()
	case dialect.Responses:
		s.responses()
	case dialect.Completions:
		s.completions()
	default:
		s.messages()
	}
	s.release()
}

// servePlain answers in one body.
func (c *call) servePlain(first time.Duration) {
	if c.w.wait(first+c.gaps()) != nil {
		c.abandon(0)
		return
	}
	switch c.endpoint {
	case dialect.ChatCompletions:
		c.out = c.chatBody(c.out[:0])
	case dialect.Responses:
		c.out = c.responseBody(c.out[:0], "completed")
	case dialect.Completions:
		c.out = c.completionBody(c.out[:0])
	case dialect.Embeddings:
		c.out = c.embeddingBody(c.out[:0])
	case dialect.Messages:
		c.out = c.messageBody(c.out[:0])
	default:
		c.out = append(c.out[:0], `{"input_tokens":`...)
		c.out = strconv.AppendInt(c.out, c.req.promptTokens(), 10)
		c.out = append(c.out, '}')
	}
	c.sendBody(c.out)
}

// gaps is the time that a plain answer takes to be generated.
func (c *call) gaps() time.Duration {
	if c.model.Gap == 0 || c.model.Chunks > 0 {
		return 0
	}
	chunks := int(c.reply.usage.CompletionTokens()) / max(c.model.ChunkTokens, 1)
	return c.draw.aroundDuration(c.model.Gap) * time.Duration(chunks)
}

// sendBody writes a whole 200 answer, or half of it if a fault says so.
func (c *call) sendBody(body []byte) {
	switch c.fault {
	case FaultResetMid, FaultHangupMid, FaultStallMid, FaultCut:
		c.breakBody(body)
		return
	}
	c.end(verdict{Completed, c.reply.usage, c.fault != FaultNoUsage})
	c.w.begin(200, c.header("application/json"), len(body))
	if err := c.w.write(body); err != nil {
		c.cut(c.reply.usage.CompletionTokens())
		return
	}
	if err := c.w.end(); err != nil {
		c.cut(c.reply.usage.CompletionTokens())
	}
}

// end enters how the call ends.
func (c *call) end(v verdict) { c.p.books.end(c, v) }

// cut enters that an answer broke off after so many generated tokens. What was
// thought is counted first: it came first.
func (c *call) cut(generated int64) {
	c.end(verdict{Cut, c.usageUpTo(generated), false})
}

// abandon ends a call for which waiting has no sense any more.
func (c *call) abandon(generated int64) {
	c.cut(generated)
	c.w.hangup()
}

// usageUpTo is the usage of an answer of which only so many tokens were
// generated.
func (c *call) usageUpTo(generated int64) domain.Usage {
	u := c.reply.usage
	u[domain.ReasoningTokens] = min(u[domain.ReasoningTokens], generated)
	u[domain.OutputTokens] = min(u[domain.OutputTokens], generated-u[domain.ReasoningTokens])
	return u
}
