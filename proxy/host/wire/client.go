package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Config says how providers are reached. Its zero value works: each duration and
// number that is 0 has the default given; a negative duration means no limit.
type Config struct {
	// TLS is the base of every TLS connection: extra roots, client certificates.
	// It is cloned; the server's name, ALPN ("http/1.1") and a minimum of TLS 1.2
	// are set in the clone, and a session cache if there is none.
	TLS *tls.Config
	// Proxy returns the proxy for a URL, or nil: http or https, with user and
	// password if it wants them (golang.org/x/net/http/httpproxy reads the
	// environment in this shape). It is asked once per Origin. nil: no proxy.
	Proxy func(*url.URL) (*url.URL, error)
	// Dial makes a TCP connection; it must heed the context. nil: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// DialTimeout is for the TCP connection: 10 s.
	DialTimeout time.Duration
	// HandshakeTimeout is for a proxy's CONNECT and TLS together: 10 s.
	HandshakeTimeout time.Duration
	// HeaderTimeout is how long an answer's head may take, from the end of the
	// request: 10 min, as models that think answer late.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a body may stand still; and, up to twice, how long
	// the peer may leave 256 KiB of a request unread: 5 min.
	IdleTimeout time.Duration

	// MaxIdle is how many unused connections are kept per endpoint: 1024.
	MaxIdle int
	// MaxIdleAge is how long one is kept unused: 90 s; less if the peer says so.
	MaxIdleAge time.Duration
	// MaxAge is how old one may be to be used once more: 10 min, so that a moved
	// name is followed.
	MaxAge time.Duration
	// MaxHeaderBytes limits an answer's head, and its trailer: 64 KiB.
	MaxHeaderBytes int
}

func (c Config) withDefaults() Config {
	orDefault(&c.DialTimeout, 10*time.Second)
	orDefault(&c.HandshakeTimeout, 10*time.Second)
	orDefault(&c.HeaderTimeout, 10*time.Minute)
	orDefault(&c.IdleTimeout, 5*time.Minute)
	orDefault(&c.MaxIdle, 1024)
	orDefault(&c.MaxIdleAge, 90*time.Second)
	orDefault(&c.MaxAge, 10*time.Minute)
	orDefault(&c.MaxHeaderBytes, 64<<10)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	c.TLS = c.TLS.Clone()
	c.TLS.NextProtos = []string{"http/1.1"}
	c.TLS.MinVersion = max(c.TLS.MinVersion, tls.VersionTLS12)
	// Small records first serve browsers; a request is of use only when complete.
	c.TLS.DynamicRecordSizingDisabled = true
	if c.TLS.ClientSessionCache == nil {
		c.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return c
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Client holds the connections to all endpoints. Its methods, and those of its
// Origins, may be called concurrently.
type Client struct {
	cfg     Config
	buffers buffers

	mu        sync.Mutex
	endpoints map[endpointKey]*endpoint // guarded by mu
	transport *http.Transport           // guarded by mu; nil until an Origin wants HTTP/2
	closed    bool                      // guarded by mu
}

// New returns a client that has no connection yet. The caller runs Run.
func New(cfg Config) (*Client, error) {
	if cfg.MaxIdle < 0 || cfg.MaxHeaderBytes < 0 {
		return nil, errors.New("new wire client: MaxIdle and MaxHeaderBytes must not be negative")
	}
	return &Client{cfg: cfg.withDefaults(), endpoints: map[endpointKey]*endpoint{}}, nil
}

// Run closes idle connections that are too old or that their peers have left,
// until ctx ends; then it closes the client. It returns nil.
func (c *Client) Run(ctx context.Context) error {
	period := 15 * time.Second
	if age := c.cfg.MaxIdleAge; age > 0 {
		period = max(min(period, age/4), time.Second)
	}
	for {
		select {
		case <-ctx.Done():
			c.Close()
			return nil
		case <-time.After(period - rand.N(period/8)):
			c.sweep()
		}
	}
}

func (c *Client) sweep() {
	for _, e := range c.all() {
		e.sweep()
	}
}

// CloseIdle closes all idle connections.
func (c *Client) CloseIdle() {
	for _, e := range c.all() {
		e.drain(false)
	}
	if t := c.http2(false); t != nil {
		t.CloseIdleConnections()
	}
}

// Close closes all idle connections now, and the others when their calls end.
// Calls remain possible, each on a connection of its own.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, e := range c.all() {
		e.drain(true)
	}
	if t := c.http2(false); t != nil {
		t.CloseIdleConnections()
	}
}

func (c *Client) all() []*endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*endpoint, 0, len(c.endpoints))
	for _, e := range c.endpoints {
		all = append(all, e)
	}
	return all
}

// Stats counts what happened at one endpoint since the client was made.
type Stats struct {
	Endpoint   string // "https://api.openai.com:443"
	Dials      uint64 // attempts to connect
	DialErrors uint64 // those that failed, TLS and proxies included
	Reuses     uint64 // calls begun on a pooled connection
	Stale      uint64 // pooled connections that the peer had left
	Retries    uint64 // calls that a stale connection made begin anew
	Open       int64  // connections now, those idle included
	Idle       int
}

// Stats returns one element per endpoint, in no order. Endpoints of HTTP/2 are
// not counted.
func (c *Client) Stats() []Stats {
	all := c.all()
	stats := make([]Stats, len(all))
	for i, e := range all {
		stats[i] = e.stats()
	}
	return stats
}
