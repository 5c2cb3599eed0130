package wire

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// OriginConfig says where requests of one kind go.
type OriginConfig struct {
	// URL has a scheme (http, https), a host, and perhaps a port and a path that
	// precedes every request's: "https://api.openai.com/v1". No user, query or
	// fragment.
	URL string
	// HTTP2 has the calls made by net/http's Transport, over HTTP/2 if the host
	// offers it: for hosts that demand it. It costs several times as much.
	HTTP2 bool
}

// Origin is a base URL, made ready for calls. Origins of the same host share
// connections.
type Origin struct {
	end      *endpoint
	base     string // scheme, host and path, for the Transport
	http2    *http.Transport
	prefix   string // what precedes a request's path on the request line
	rootless bool   // there is no path in it
	lines    string // from behind the path to the first field
	forwards bool   // a proxy reads the requests
}

// Origin prepares calls to cfg.URL. Its errors are ErrRequest; none quotes the
// URL, or that of a proxy, as they may hold a password.
func (c *Client) Origin(cfg OriginConfig) (*Origin, error) {
	u, err := parseBase(cfg.URL)
	if err != nil {
		return nil, fail(ErrRequest, "parse base URL", err)
	}
	e, err := c.endpoint(u)
	if err != nil {
		return nil, fail(ErrRequest, "set up proxy", err)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	host := strings.TrimSuffix(u.Host, ":"+defaultPort(u.Scheme))
	o := &Origin{
		end: e, base: u.Scheme + "://" + host + path,
		prefix: path, rootless: path == "",
		lines: " HTTP/1.1\r\nHost: " + host + "\r\n",
	}
	if e.proxy != nil && e.tls == nil { // no tunnel: absolute form, RFC 9112 §3.2.2
		o.forwards = true
		o.prefix = o.base
		o.lines += e.proxy.auth
	}
	if cfg.HTTP2 {
		o.http2 = c.http2(true)
	}
	return o, nil
}

func parseBase(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, malformed("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, malformed("scheme is neither http nor https")
	case u.Hostname() == "" || !isTarget("/"+u.Host):
		return nil, malformed("bad host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, malformed("user, query or fragment in it")
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// endpoint returns the one for u's host.
func (c *Client) endpoint(u *url.URL) (*endpoint, error) {
	key := endpointKey{u.Scheme, hostPort(u, defaultPort(u.Scheme))}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.endpoints[key]; ok {
		return e, nil
	}
	e := &endpoint{endpointKey: key, client: c, closed: c.closed}
	if key.scheme == "https" {
		e.tls = c.cfg.TLS.Clone()
		e.tls.ServerName = u.Hostname()
	}
	if c.cfg.Proxy != nil {
		via, err := c.cfg.Proxy(u)
		if err != nil {
			return nil, malformed("bad proxy setting")
		}
		if via != nil {
			if e.proxy, err = newProxy(via, c.cfg.TLS); err != nil {
				return nil, err
			}
		}
	}
	c.endpoints[key] = e
	return e, nil
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// Host is the URL's host, with its port unless that is the scheme's own.
func (o *Origin) Host() string {
	_, host, _ := strings.Cut(o.base, "://")
	host, _, _ = strings.Cut(host, "/")
	return host
}

// Do sends the request and returns when the head of its answer is there, whatever
// its status. ctx holds for the whole call, the body included: when it ends, so
// does the call. Every error is an *Error; see Kind for what each means.
func (o *Origin) Do(ctx context.Context, r *Request) (*Response, error) {
	if e := r.check(); e != nil {
		return nil, e
	}
	if cause := left(ctx); cause != nil {
		return nil, fail(ErrCanceled, "begin call", cause)
	}
	if o.http2 != nil {
		return o.roundTrip(ctx, r)
	}
	resp, err := o.end.do(ctx, o, r)
	if err == nil && o.forwards && resp.Status == http.StatusProxyAuthRequired {
		_ = resp.Body.Close()
		return nil, fail(ErrConnect, "connect through proxy", errors.New("proxy answered 407"))
	}
	return resp, err
}

// repeatable says whether a call that failed on a pooled connection may be made
// again: nothing was sent, or nothing can have come of it.
func repeatable(r *Request, err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.unsent || r.safe() && e.Kind == ErrAmbiguous)
}
