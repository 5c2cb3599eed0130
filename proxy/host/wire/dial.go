package wire

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"time"
)

// proxy is an HTTP proxy in front of an endpoint.
type proxy struct {
	addr string      // host:port
	tls  *tls.Config // nil: http
	auth string      // "Proxy-Authorization: …\r\n", or empty; a secret
}

// dial makes a new connection, up to where requests can be written.
func (e *endpoint) dial(ctx context.Context) (*conn, error) {
	e.dials.Add(1)
	c, err := e.connect(ctx)
	if err != nil {
		e.dialErrors.Add(1)
		return nil, err
	}
	return c, nil
}

func (e *endpoint) connect(ctx context.Context) (*conn, error) {
	nc, err := e.dialTCP(ctx)
	if err != nil {
		if cause := left(ctx); cause != nil {
			return nil, fail(ErrCanceled, "dial", cause)
		}
		return nil, fail(ErrConnect, "dial", err)
	}
	c := e.newConn(nc)
	c.watch(ctx)
	c.setLimit(time.Now(), e.client.cfg.HandshakeTimeout)
	if op, err := c.handshake(); err != nil {
		return nil, c.fail(ErrConnect, op, err)
	}
	c.sock.limit = time.Time{}
	if !c.unwatch() {
		return nil, c.fail(ErrCanceled, "dial", context.Cause(ctx))
	}
	return c, nil
}

func (e *endpoint) dialTCP(ctx context.Context) (net.Conn, error) {
	if d := e.client.cfg.DialTimeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	addr := e.addr
	if e.proxy != nil {
		addr = e.proxy.addr
	}
	return e.client.cfg.Dial(ctx, "tcp", addr)
}

// handshake goes through the layers from the socket up: TLS to the proxy, a
// tunnel through it, TLS to the endpoint. It returns the step that failed.
func (c *conn) handshake() (op string, err error) {
	p := c.end.proxy
	if p != nil && p.tls != nil {
		if err := c.secure(p.tls); err != nil {
			return "tls handshake with proxy", err
		}
	}
	if c.end.tls == nil {
		return "", nil
	}
	if p != nil {
		if err := c.tunnel(p); err != nil {
			return "connect through proxy", err
		}
	}
	return "tls handshake", c.secure(c.end.tls)
}

// secure puts TLS over what there is. The context is the socket's matter.
func (c *conn) secure(cfg *tls.Config) error {
	t := tls.Client(c.nc, cfg)
	if err := t.HandshakeContext(context.Background()); err != nil {
		return err
	}
	c.nc = t
	return nil
}

// tunnel asks the proxy for a way through (RFC 9110 §9.3.6).
func (c *conn) tunnel(p *proxy) error {
	addr := c.end.addr
	if _, err := c.nc.Write([]byte("CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n" + p.auth + "\r\n")); err != nil {
		return err
	}
	h, err := c.readHead()
	for err == nil && h.status < 200 {
		h, err = c.readHead()
	}
	switch {
	case err != nil:
		return err
	case h.status > 299:
		return fmt.Errorf("proxy answered %d", h.status)
	case c.r < c.w:
		return malformed("proxy sent bytes of its own")
	}
	c.dropBuffer()
	return nil
}

// newProxy reads a proxy's URL. The URL may hold a password: no error quotes it.
func newProxy(u *url.URL, base *tls.Config) (*proxy, error) {
	p := &proxy{}
	switch u.Scheme {
	case "http":
		p.addr = hostPort(u, "80")
	case "https":
		p.addr = hostPort(u, "443")
		p.tls = base.Clone()
		p.tls.ServerName = u.Hostname()
	default:
		return nil, malformed("proxy is neither http nor https")
	}
	if u.Hostname() == "" {
		return nil, malformed("proxy has no host")
	}
	if user := u.User; user != nil {
		password, _ := user.Password()
		token := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		p.auth = "Proxy-Authorization: Basic " + token + "\r\n"
	}
	return p, nil
}

func hostPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}
