package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/host/wire"
	"manti/proxy/llm"
	"manti/proxy/llm/scan"
)

// noteAnswer keeps what the head of an answer says.
func (c *call) noteAnswer(resp *wire.Response) {
	a := c.attempt()
	a.FirstByte = resp.FirstByte.UTC().Truncate(1000)
	a.Status = resp.Status
	a.RequestID = requestID(resp.Header)
}

// showID tells the caller the call's id, also where its SDK looks for one:
// there the provider's replaces it if it answers.
func (c *call) showID() {
	id := []string{c.id.String()}
	h := c.w.Header()
	h["Manti-Request-Id"], h[c.idHeader()] = id, id
}

// idHeader is where the SDKs of the caller's dialect look for a request id.
func (c *call) idHeader() string {
	if c.caller.Name() == dialect.Anthropic {
		return "Request-Id"
	}
	return "X-Request-Id"
}

// requestID is the provider's own id of a call.
func requestID(h http.Header) string {
	for _, name := range [...]string{"X-Request-Id", "Request-Id"} {
		if v := h[name]; len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// plain carries an answer that is not a stream.
func (c *call) plain(resp *wire.Response) error {
	body, err := c.readAll(resp, maxAnswerBytes)
	if err != nil {
		c.outcome = domain.Broken
		c.fragment.AddJSON(body) // what came was generated, and is billed to us
		return upstreamError(err)
	}
	c.meter.Body(body)
	if !c.meter.Reading().Found && scan.Valid(body) != nil {
		c.outcome = domain.UpstreamFailed
		return &domain.Error{Code: domain.CodeUpstream, Message: "The provider's answer can't be understood."}
	}
	c.outcome = domain.Completed
	if e := c.meter.Err(); e != nil {
		c.outcome, c.err = domain.ProviderError, c.providerError(e)
		if c.translated() {
			return c.answerError(e, resp.Header)
		}
	}
	if c.translated() {
		if body, err = c.translateAnswer(body); err != nil {
			return err
		}
	}
	c.status = resp.Status
	if err := c.complete(); err != nil {
		c.abort()
	}
	c.passHeader(resp.Header)
	c.sendBody(resp.Status, contentType(resp.Header), body)
	return nil
}

// readAll reads an answer's body into memory of the right size, which lasts as
// long as the call.
func (c *call) readAll(resp *wire.Response, limit int64) ([]byte, error) {
	if n := resp.ContentLength; n >= 0 && n <= limit {
		c.answer = c.g.memory.body(int(n))
		read, err := io.ReadFull(resp.Body, c.answer)
		if err == io.EOF && n == 0 {
			err = nil
		}
		if err == nil {
			_, _ = resp.Body.Next() // its end, so that the connection can be used again
		}
		return c.answer[:read], err
	}
	for {
		data, err := resp.Body.Next()
		if int64(len(c.answer)+len(data)) > limit {
			return nil, &domain.Error{Code: domain.CodeUpstream, Message: "The provider's answer is too large."}
		}
		c.answer = append(c.answer, data...)
		if errors.Is(err, io.EOF) {
			return c.answer, nil
		}
		if err != nil {
			return c.answer, err
		}
	}
}

// relayError carries a provider's error: in the same dialect as it came,
// otherwise with its status and message in the caller's.
func (c *call) relayError(resp *wire.Response) error {
	body, err := c.readAll(resp, maxErrorBytes)
	if err != nil {
		body = nil // the status says enough
	}
	e := c.upstream.ParseError(resp.Status, resp.Header, body)
	c.outcome, c.err = domain.ProviderError, c.providerError(e)
	if c.translated() || scan.Valid(body) != nil { // a page of some proxy's, or nothing
		return c.answerError(e, resp.Header)
	}
	c.status = resp.Status
	if err := c.complete(); err != nil {
		c.abort()
	}
	c.passHeader(resp.Header)
	c.w.Header()["Manti-Error-Source"] = []string{"provider"}
	c.sendBody(resp.Status, contentType(resp.Header), c.target.Host.Redact(body))
	return nil
}

// answerError answers with a provider's error in the caller's dialect.
func (c *call) answerError(e *llm.Error, header http.Header) error {
	if e.RequestID == "" {
		e.RequestID = c.attempt().RequestID
	}
	status, body := c.caller.RenderError(e)
	if e.Status >= 500 && e.Status <= 504 && status == http.StatusBadGateway {
		status = e.Status // what kind of failure it was is the provider's to say
	}
	c.status = status
	if err := c.complete(); err != nil {
		c.abort()
	}
	c.passHeader(header)
	c.w.Header()["Manti-Error-Source"] = []string{"provider"}
	c.sendBody(status, "application/json", c.target.Host.Redact(body))
	return nil
}

// providerError is a provider's error for the event and the log.
func (c *call) providerError(e *llm.Error) *domain.Error {
	code := e.Code
	if code == "" {
		code = domain.CodeUpstream
	}
	return &domain.Error{Code: code, Message: string(c.target.Host.Redact([]byte(e.Message))), Field: e.Param}
}

// sendBody writes a whole answer.
func (c *call) sendBody(status int, contentType string, body []byte) {
	if c.gone {
		return
	}
	h := c.w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.status = status
	c.extendDeadline()
	c.w.WriteHeader(status)
	c.committed = true
	if _, err := c.w.Write(body); err != nil {
		c.gone = true
	}
}

// passed are the fields of an answer that reach the caller, but for those with
// a prefix in passedPrefix.
var passed = map[string]bool{
	"X-Request-Id": true, "Request-Id": true, "Retry-After": true, "Retry-After-Ms": true, "X-Should-Retry": true,
	"Openai-Processing-Ms": true, "Openai-Version": true, "Openai-Model": true, "Warning": true,
}

var passedPrefix = [...]string{"X-Ratelimit-", "Anthropic-Ratelimit-"}

// passHeader copies what a caller may use of an answer's header. The rest is
// the connection's, or the operator's (organisation ids, cookies).
func (c *call) passHeader(from http.Header) {
	to := c.w.Header()
	for name, values := range from {
		pass := passed[name]
		for _, p := range passedPrefix {
			pass = pass || strings.HasPrefix(name, p)
		}
		if pass {
			to[name] = values
		}
	}
	if id := c.attempt().RequestID; id != "" {
		to[c.idHeader()] = []string{id}
	}
	if c.dropped != "" {
		to["Manti-Dropped"] = []string{c.dropped}
	}
}

func contentType(h http.Header) string {
	if v := h["Content-Type"]; len(v) > 0 {
		return v[0]
	}
	return "application/json"
}

func isEventStream(h http.Header) bool {
	v := contentType(h)
	if v == "text/event-stream" {
		return true
	}
	t, _, err := mime.ParseMediaType(v)
	return err == nil && t == "text/event-stream"
}
