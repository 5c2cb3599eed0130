package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// http2 returns the Transport for hosts that demand HTTP/2; create says whether
// to make it if it isn't there.
func (c *Client) http2(create bool) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil || !create {
		return c.transport
	}
	tls := c.cfg.TLS.Clone()
	tls.NextProtos = nil // the Transport's own: h2 and http/1.1
	c.transport = &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if c.cfg.Proxy == nil {
				return nil, nil
			}
			via, err := c.cfg.Proxy(r.URL)
			if err != nil {
				return nil, malformed("bad proxy setting") // the cause may hold its password
			}
			return via, nil
		},
		DialContext:            c.cfg.Dial,
		TLSClientConfig:        tls,
		TLSHandshakeTimeout:    max(c.cfg.HandshakeTimeout, 0),
		ResponseHeaderTimeout:  max(c.cfg.HeaderTimeout, 0),
		IdleConnTimeout:        max(c.cfg.MaxIdleAge, 0),
		MaxIdleConnsPerHost:    c.cfg.MaxIdle,
		MaxResponseHeaderBytes: int64(c.cfg.MaxHeaderBytes),
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	return c.transport
}

// progress is how far a call by the Transport has come. The Transport's own
// goroutines set it.
type progress struct {
	connected, reused atomic.Bool
	firstByte         atomic.Pointer[time.Time]
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			p.connected.Store(true)
			p.reused.Store(info.Reused)
		},
		GotFirstResponseByte: func() {
			now := time.Now()
			p.firstByte.CompareAndSwap(nil, &now)
		},
	}
}

// roundTrip makes the call through the Transport. Its request can't be rewound,
// so the Transport never sends it twice.
func (o *Origin) roundTrip(ctx context.Context, r *Request) (*Response, error) {
	inner, cancel := context.WithCancelCause(ctx)
	var p progress
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(inner, p.trace()), r.Method, o.base+r.Path, nil)
	if err != nil {
		cancel(nil)
		return nil, invalid("bad path")
	}
	for _, f := range r.Fields {
		req.Header.Add(f.Name, f.Value)
	}
	if len(req.Header["User-Agent"]) == 0 {
		req.Header["User-Agent"] = []string{""} // or the Transport sets its own
	}
	out := sendBody(req, r)
	resp, err := o.http2.RoundTrip(req)
	if err != nil {
		cancel(nil)
		out.wait()
		return nil, p.fault(ctx, err)
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Te"} {
		resp.Header.Del(name)
	}
	x := &Response{
		Status: resp.StatusCode, Header: resp.Header, ContentLength: resp.ContentLength,
		Reused: p.reused.Load(),
	}
	if first := p.firstByte.Load(); first != nil {
		x.FirstByte = *first
	}
	x.Body = &transportBody{ctx: ctx, cancel: cancel, in: resp, out: out, resp: x, client: o.end.client}
	return x, nil
}

// fault explains why RoundTrip failed.
func (p *progress) fault(ctx context.Context, err error) *Error {
	var timeout net.Error
	switch cause := left(ctx); {
	case cause != nil:
		return fail(ErrCanceled, "call", cause)
	case !p.connected.Load():
		return fail(ErrConnect, "dial", err)
	case p.firstByte.Load() != nil:
		return fail(ErrMalformed, "read answer", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fail(ErrHeaderTimeout, "read answer", err)
	default:
		return fail(ErrAmbiguous, "call", err)
	}
}

// outBody is a request's body on its way through the Transport, which may read it
// until it closes it, even behind RoundTrip's return.
type outBody struct {
	net.Buffers
	once   sync.Once
	closed chan struct{}
}

func sendBody(req *http.Request, r *Request) *outBody {
	n := r.length()
	if n == 0 {
		return nil
	}
	b := &outBody{Buffers: slices.Clone(net.Buffers(r.Body)), closed: make(chan struct{})}
	req.Body, req.ContentLength = b, n
	return b
}

func (b *outBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// wait waits until the caller's bytes are no longer read.
func (b *outBody) wait() {
	if b != nil {
		<-b.closed
	}
}

// transportBody is the Body of an answer that came through the Transport.
type transportBody struct {
	ctx    context.Context // of the call, to tell its end from other failures
	cancel context.CancelCauseFunc
	in     *http.Response
	out    *outBody
	resp   *Response
	client *Client
	buf    []byte
	err    error
}

func (b *transportBody) Next() ([]byte, error) {
	if b.buf == nil && b.err == nil {
		b.buf = b.client.buffers.getSmall()
	}
	n, err := b.Read(b.buf)
	if n > 0 {
		return b.buf[:n], nil
	}
	return nil, err
}

func (b *transportBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	var idle *time.Timer
	if d := b.client.cfg.IdleTimeout; d > 0 {
		idle = time.AfterFunc(d, func() { b.cancel(ErrIdle) })
	}
	n, err := b.in.Body.Read(p)
	late := idle != nil && !idle.Stop()
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		if len(b.in.Trailer) > 0 {
			b.resp.Trailer = b.in.Trailer
		}
		b.err = io.EOF
	case left(b.ctx) != nil:
		b.err = fail(ErrCanceled, "read body", left(b.ctx))
	case late:
		b.err = fail(ErrIdle, "read body", nil)
	default:
		b.err = fail(readFault(err, ErrIdle), "read body", err)
	}
	b.end()
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// Buffered is 0: what the Transport holds can't be seen.
func (b *transportBody) Buffered() int { return 0 }

func (b *transportBody) Close() error {
	if b.err == nil {
		b.err = fail(ErrClosed, "read body", nil)
		b.end()
	}
	b.client.buffers.put(b.buf)
	b.buf = nil
	return nil
}

func (b *transportBody) end() {
	_ = b.in.Body.Close() // the answer was read, or is of no use
	b.cancel(nil)
	b.out.wait()
}

var _ Body = (*transportBody)(nil)
