package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/host/wire"
	"manti/proxy/llm"
	"manti/proxy/sse"
)

// lingerForEOF is how long after an end mark the upstream's EOF is waited for,
// so that its connection can be used again.
const lingerForEOF = 100 * time.Millisecond

// stream carries a streamed answer, frame by frame. The frame that ends it is held
// back until the call's completion is durable.
type stream struct {
	*call
	scanner sse.Scanner
	ready   []byte  // to be sent at once
	lent    *[]byte // the memory of ready while there is something to send
	flushed bool    // the head is out
	tail    []byte  // held back: the end mark and what follows it
	ending  bool    // tail is being filled
	ended   bool    // by a frame, not just by EOF
	failed  bool    // by an error frame
	strip   bool    // take out usage that the caller didn't ask for

	parser  dialect.Parser // when translated
	printer dialect.Printer
	chunks  []llm.Chunk
}

// stream carries resp to its end.
func (c *call) stream(resp *wire.Response) error {
	s := &stream{call: c, strip: !c.translated() && !c.head.IncludeUsage && c.endpoint != dialect.Messages}
	defer s.scanner.Close()
	if c.translated() {
		s.parser, s.printer = c.upstream.Parser(), c.caller.Printer(c.request)
	}
	// A stream's start must be durable before its first byte reaches the caller.
	if err := c.g.cfg.Recorder.Sync(context.WithoutCancel(c.r.Context()), c.ticket); err != nil {
		c.abort()
	}
	c.beginStream(resp)
	if resp.Body.Buffered() == 0 { // else the head goes out with what is there
		s.send()
	}
	for !s.ended {
		data, err := resp.Body.Next()
		s.lent = s.g.memory.out()
		s.ready = *s.lent
		s.scanner.Feed(data)
		if ferr := s.frames(); ferr != nil {
			return s.broken(ferr)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return s.broken(upstreamError(err))
			}
			break
		}
		s.send()
	}
	return s.end(resp)
}

// beginStream writes the head of the answer.
func (c *call) beginStream(resp *wire.Response) {
	c.passHeader(resp.Header)
	h := c.w.Header()
	h["Content-Type"] = []string{"text/event-stream; charset=utf-8"}
	h["Cache-Control"] = []string{"no-cache"}
	h["X-Accel-Buffering"] = []string{"no"}
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
	c.committed = true
}

// frames takes all whole frames that have arrived.
func (s *stream) frames() error {
	for {
		f, ok := s.scanner.Next()
		if !ok {
			if err := s.scanner.Err(); err != nil {
				return &domain.Error{Code: domain.CodeUpstream, Message: "The provider sent a frame that is too large.", Cause: err}
			}
			return nil
		}
		if err := s.frame(f); err != nil {
			return err
		}
		if s.ended {
			return nil
		}
	}
}

// frame takes one frame: it is metered, then relayed or translated.
func (s *stream) frame(f sse.Frame) error {
	if f.Data == nil {
		if !s.translated() {
			s.put(f.Raw)
		}
		return nil
	}
	note := s.meter.Frame(f.Event, f.Data)
	if note.Token && s.firstToken.IsZero() {
		s.firstToken = now()
	}
	s.failed = s.failed || note.Failed
	s.ending = s.ending || note.End || note.Hold || note.Failed
	s.ended = s.ended || note.End
	switch {
	case s.translated():
		return s.translate(f)
	case note.OnlyUsage && s.strip:
	case s.strip:
		if s.ending {
			s.tail = s.upstream.StripUsage(f.Raw, s.tail)
		} else {
			s.ready = s.upstream.StripUsage(f.Raw, s.ready)
		}
	default:
		s.put(f.Raw)
	}
	return nil
}

// put adds bytes to what goes to the caller now, or to what is held back.
func (s *stream) put(b []byte) {
	if s.ending {
		s.tail = append(s.tail, b...)
		return
	}
	s.ready = append(s.ready, b...)
}

// translate turns a frame of the upstream's into the caller's.
func (s *stream) translate(f sse.Frame) error {
	var err error
	if s.chunks, err = s.parser.Frame(f.Event, f.Data, s.chunks[:0]); err != nil {
		return &domain.Error{Code: domain.CodeUpstream, Message: "The provider's stream can't be understood.", Cause: err}
	}
	for i := range s.chunks {
		ch := &s.chunks[i]
		if ch.Kind == llm.Begin && ch.Created == 0 {
			ch.Created = s.begun.Unix()
		}
		switch ch.Kind {
		case llm.ChunkError:
			s.failed, s.ending = true, true
			s.tail = append(s.tail, s.caller.StreamError(ch.Err)...)
		case llm.End:
			s.ended, s.ending = true, true
			s.tail = s.printer.Chunk(ch, s.tail)
		default:
			if s.ending {
				s.tail = s.printer.Chunk(ch, s.tail)
			} else {
				s.ready = s.printer.Chunk(ch, s.ready)
			}
		}
	}
	return nil
}

// send sends what is ready.
func (s *stream) send() {
	if len(s.ready) > 0 || !s.flushed {
		s.write(s.ready)
		s.flush()
		s.flushed = true
	}
	if s.lent != nil {
		*s.lent = s.ready
		s.g.memory.freeOut(s.lent)
	}
	s.ready, s.lent = nil, nil
}

// end completes a stream whose upstream is at its end.
func (s *stream) end(resp *wire.Response) error {
	if f, ok := s.scanner.Close(); ok && !s.ended {
		if err := s.frame(f); err != nil {
			return s.broken(err)
		}
	}
	reading := s.meter.Reading()
	switch {
	case s.failed:
		s.outcome = domain.ProviderError
		if e := s.meter.Err(); e != nil {
			s.err = s.providerError(e)
		}
		if reading.Found || reading.Text.Tokens() > 0 {
			s.outcome = domain.Broken
		}
	case s.ended, reading.Stop != "":
		s.outcome = domain.Completed
		if s.translated() && !s.ended { // the provider's dialect has no end mark, or it left it out
			s.tail = s.printer.Chunk(&llm.Chunk{Kind: llm.End}, s.tail)
		}
	default:
		return s.broken(&domain.Error{Code: domain.CodeUpstream, Message: "The provider's answer broke off."})
	}
	s.send()
	if err := s.complete(); err != nil {
		s.abort()
	}
	s.write(s.call.target.Host.Redact(s.tail))
	s.flush()
	awaitEOF(resp, s.cancel)
	return nil
}

// broken ends a stream that can't go on. What was held back isn't sent: the
// answer's end is an error.
func (s *stream) broken(err error) error {
	s.outcome = domain.Broken
	s.send()
	return err
}

// awaitEOF reads to the upstream's end, if it is near, so that the connection
// can be used again.
func awaitEOF(resp *wire.Response, cancel context.CancelCauseFunc) {
	late := time.AfterFunc(lingerForEOF, func() { cancel(nil) })
	defer late.Stop()
	_, _ = resp.Body.Next() // if more came after the end mark, the connection isn't worth it
}

// write sends bytes to the caller, unless it is gone.
func (c *call) write(b []byte) {
	if c.gone || len(b) == 0 {
		return
	}
	c.extendDeadline()
	if _, err := c.w.Write(b); err != nil {
		c.gone = true
	}
}

// flush sends what net/http buffers.
func (c *call) flush() {
	if c.gone {
		return
	}
	if err := c.out.Flush(); err != nil {
		c.gone = true
	}
}

// extendDeadline gives the caller WriteTimeout from now to take what is
// written; it is set anew only when half of it is over, for each set costs.
func (c *call) extendDeadline() {
	t := time.Now()
	if c.deadline.Sub(t) > c.g.cfg.WriteTimeout/2 {
		return
	}
	c.deadline = t.Add(c.g.cfg.WriteTimeout)
	_ = c.out.SetWriteDeadline(c.deadline) // not supported by recorders in tests
}
