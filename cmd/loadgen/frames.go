package main

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"manti/proxy/dialect"
	"manti/proxy/sim"
)

// stream reads a streamed answer and checks it: all its text, the usage, and
// the dialect's end mark, and nothing behind it.
func (c *caller) stream(b *body, due time.Time) error {
	s := streamed{caller: c, due: due}
	for {
		part, err := b.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return failed("broken stream", err)
		}
		s.now = time.Now()
		c.buf = append(c.buf, part...)
		if err := s.events(); err != nil {
			return err
		}
	}
	end := time.Now()
	switch {
	case !s.ended:
		return failed("no end mark", fmt.Errorf("after %d chunks", s.chunks))
	case s.content != c.req.content || !s.usage || len(c.buf) > 0:
		return failed("wrong stream", fmt.Errorf("%d chunks, %d bytes, usage %v", s.chunks, s.content, s.usage))
	}
	c.rec.ended(due, end)
	return nil
}

// streamed is what has come of a stream.
type streamed struct {
	*caller
	due, now, last  time.Time
	chunks, content int
	usage, ended    bool
}

// events takes whole events out of the buffer.
func (s *streamed) events() error {
	from := 0
	for {
		length := bytes.Index(s.buf[from:], []byte("\n\n"))
		if length < 0 {
			break
		}
		if err := s.event(s.buf[from : from+length]); err != nil {
			return err
		}
		from += length + 2
	}
	s.buf = s.buf[:copy(s.buf, s.buf[from:])]
	return nil
}

func (s *streamed) event(e []byte) error {
	if s.ended {
		return failed("wrong stream", fmt.Errorf("behind the end mark: %.80q", e))
	}
	if bytes.Contains(e, []byte(`"error":{`)) {
		return failed("error in stream", fmt.Errorf("%.200s", e))
	}
	if s.isEnd(e) {
		s.ended = true
		return nil
	}
	s.usage = s.usage || bytes.Contains(e, []byte(`"usage":{`))
	text, ok := s.text(e)
	if !ok || len(text) == 0 {
		return nil
	}
	s.chunks++
	s.content += len(text)
	if written, ok := sim.Stamp(string(text)); ok {
		s.rec.chunk(s.now, written, s.last, s.due)
	}
	s.last = s.now
	return nil
}

func (s *streamed) isEnd(e []byte) bool {
	if s.req.api == dialect.Anthropic {
		return bytes.Contains(e, []byte(`"type":"message_stop"`))
	}
	return bytes.HasPrefix(e, []byte("data: [DONE]"))
}
