package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"manti/domain"
)

// bytesPerSecond is the slowest a caller may send a body on top of
// Config.BodyTimeout.
const bytesPerSecond = 64 << 10

// readBody reads the request's body whole, within its limits of size and time.
func (c *call) readBody() error {
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return domain.Invalid("", "The body's Content-Encoding isn't supported: send it uncompressed.")
	}
	size, limit := c.r.ContentLength, c.g.cfg.MaxBodyBytes
	if size > limit {
		c.w.Header().Set("Connection", "close") // else net/http would first read what comes of it
		return tooLarge(limit)
	}
	expect := size
	if size < 0 {
		expect = limit
	}
	if err := c.out.SetReadDeadline(time.Now().Add(c.g.cfg.BodyTimeout + time.Duration(expect/bytesPerSecond)*time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set read deadline: %w", err)
	}
	var err error
	if size >= 0 {
		c.body = c.g.memory.body(int(size))
		_, err = io.ReadFull(c.r.Body, c.body)
	} else {
		c.body, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	}
	if err != nil {
		return c.bodyError(err)
	}
	if err := c.out.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("clear read deadline: %w", err)
	}
	return nil
}

func (c *call) bodyError(err error) error {
	c.w.Header().Set("Connection", "close") // what remains of the body is in the way
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return tooLarge(tooBig.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &domain.Error{Code: domain.CodeRequestTimeout, Message: "The request's body took too long to arrive."}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &domain.Error{Code: domain.CodeInvalid, Message: "The request's body is shorter than its Content-Length."}
	}
	return &domain.Error{Code: domain.CodeInvalid, Message: "The request's body can't be read.", Cause: err}
}

func tooLarge(limit int64) error {
	return &domain.Error{Code: domain.CodeTooLarge, Message: fmt.Sprintf("The request's body is larger than %d bytes.", limit)}
}
