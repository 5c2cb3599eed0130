package wire

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"
)

const (
	// lastWords is how long an answer may take behind a write that failed: a peer
	// that refuses a request has written why before it closed.
	lastWords = time.Second
	// maxInterim is how many 1xx answers may come before the real one.
	maxInterim = 16
)

// answer is a Response with its body, in one piece of memory.
type answer struct {
	Response
	body body
}

// exchange sends a request and reads the head of its answer. The connection is
// the answer's from then on; with an error it is closed already.
func (c *conn) exchange(ctx context.Context, o *Origin, r *Request) (*Response, error) {
	c.watch(ctx)
	x := &answer{Response: Response{Reused: c.used}}
	c.used = true
	sent, werr := c.send(o, r)
	if werr != nil && sent == 0 {
		e := c.fail(ErrConnect, "write request", werr)
		e.unsent = e.Kind == ErrConnect
		return nil, e
	}
	c.setLimit(time.Now(), c.end.client.cfg.HeaderTimeout)
	if werr != nil {
		c.setLimit(time.Now(), lastWords)
	}
	h, err := c.finalHead(x)
	if err != nil {
		return nil, c.headFault(err, werr, !x.FirstByte.IsZero())
	}
	c.keep = h.keep
	x.Status, x.Header, x.ContentLength = h.status, h.header, h.length
	x.Body = &x.body
	x.body.begin(c, x, h, r.Method)
	return &x.Response, nil
}

// finalHead reads heads up to the first that isn't interim (RFC 9110 §15.2).
func (c *conn) finalHead(x *answer) (head, error) {
	for interim := 0; interim <= maxInterim; {
		h, err := c.readHead()
		if x.FirstByte.IsZero() && (c.w > 0 || err == nil) {
			x.FirstByte = c.seen
		}
		switch {
		case err != nil && errors.Is(err, os.ErrDeadlineExceeded) && c.uploading():
		case err != nil:
			return head{}, err
		case h.status == http.StatusSwitchingProtocols:
			return head{}, malformed("switch of protocols that nobody asked for")
		case h.status >= 200:
			return h, nil
		default:
			interim++
		}
	}
	return head{}, malformed("too many interim answers")
}

// uploading says, at the end of the time for an answer, whether that time has not
// really ended, since it runs from the end of the request; then it is prolonged.
func (c *conn) uploading() bool {
	if c.upload == nil {
		return false
	}
	now, patience := time.Now(), c.end.client.cfg.HeaderTimeout
	if !c.upload.ended() {
		c.setLimit(now, patience)
		return true
	}
	c.setLimit(c.upload.end, patience)
	return now.Before(c.sock.limit)
}

// headFault explains why no head came. begun says whether a byte of it did; werr
// is why the request was not written, if it wasn't.
func (c *conn) headFault(err, werr error, begun bool) *Error {
	kind, op, up := readFault(err, ErrHeaderTimeout), "read answer", c.upload
	if !begun && (werr != nil || kind == ErrTruncated || kind == ErrReset) {
		kind = ErrAmbiguous
	}
	if werr != nil {
		op, err = "write request", werr
	}
	e := c.fail(kind, op, err)
	if up == nil || e.Kind != ErrAmbiguous {
		return e
	}
	// fail has waited for the upload, so what it says stands.
	switch {
	case up.sent == 0 && up.err != nil:
		e.Kind, e.unsent = ErrConnect, true
	case errors.Is(up.err, os.ErrDeadlineExceeded):
		e.Op, e.Err = "write request", up.err
	}
	return e
}
