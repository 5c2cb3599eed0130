package wire_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"manti/proxy/host/wire"
)

// trusting is a TLS configuration that knows the server's certificate.
func trusting(srv *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return &tls.Config{RootCAs: pool}
}

// whoami answers with what it saw of the connection.
func whoami(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.TLS == nil {
		fmt.Fprintf(w, "%s plain", r.Proto)
		return
	}
	fmt.Fprintf(w, "%s sni=%s alpn=%s resumed=%t", r.Proto, r.TLS.ServerName, r.TLS.NegotiatedProtocol, r.TLS.DidResume)
}

// atExample dials the server whatever name is asked for: its certificate names
// example.com.
func atExample(srv *httptest.Server) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(whoami))
	srv.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	srv.EnableHTTP2 = true // offered, but not asked for
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := newClient(t, wire.Config{TLS: trusting(srv), Dial: atExample(srv)})
	o := newOrigin(t, c, "https://example.com")
	for i := range 3 {
		_, body, err := call(t, o, post("x"))
		want := fmt.Sprintf("HTTP/1.1 sni=example.com alpn=http/1.1 resumed=%t", i == 2)
		if err != nil || body != want {
			t.Errorf("call %d: %q, %v; want %q", i, body, err, want)
		}
		if i == 1 {
			c.CloseIdle() // the next handshake resumes the session
		}
	}
	if s := statsOf(c); s.Dials != 2 || s.Reuses != 1 {
		t.Errorf("stats %+v; want 2 dials, 1 reuse", s)
	}
}

func TestTLSRefused(t *testing.T) {
	t.Parallel()
	old := httptest.NewUnstartedServer(http.HandlerFunc(whoami))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	t.Cleanup(old.Close)
	good := httptest.NewTLSServer(http.HandlerFunc(whoami))
	t.Cleanup(good.Close)
	tests := []struct {
		name string
		cfg  wire.Config
		url  string
	}{
		{"unknown authority", wire.Config{}, good.URL},
		{"another name", wire.Config{TLS: trusting(good), Dial: atExample(good)}, "https://example.org"},
		{"TLS 1.1", wire.Config{TLS: trusting(old)}, old.URL},
		{"no TLS", wire.Config{}, strings.Replace(listen(t, say(ok)), "http:", "https:", 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.HandshakeTimeout = time.Second
			c := newClient(t, tt.cfg)
			_, err := newOrigin(t, c, tt.url).Do(t.Context(), post("x"))
			if wire.KindOf(err) != wire.ErrConnect {
				t.Errorf("error %v, want ErrConnect", err)
			}
			if s := statsOf(c); s.Open != 0 || s.DialErrors != 1 {
				t.Errorf("stats %+v; want none open, 1 dial error", s)
			}
		})
	}
}

// tlsServer serves raw bytes over TLS, with the certificate of httptest.
func tlsServer(t *testing.T, serve func(*tls.Conn)) (string, *tls.Config) {
	srv := httptest.NewTLSServer(nil)
	t.Cleanup(srv.Close)
	cfg := &tls.Config{Certificates: srv.TLS.Certificates}
	url := listen(t, func(nc net.Conn) { serve(tls.Server(nc, cfg)) })
	return strings.Replace(url, "http:", "https:", 1), trusting(srv)
}

// TestTLSLeftovers has bytes behind an answer within the same TLS record, where
// neither the client's buffer nor the socket shows them. They must not become the
// answer to the next call.
func TestTLSLeftovers(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 5000) // more than the client's buffer
	head := "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
	url, cfg := tlsServer(t, func(nc *tls.Conn) {
		br := bufio.NewReader(nc)
		for readRequest(br) {
			_, _ = io.WriteString(nc, head+big+"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		}
	})
	c := newClient(t, wire.Config{TLS: cfg})
	o := newOrigin(t, c, url)
	for range 2 {
		resp, err := o.Do(t.Context(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(onlyReader{resp.Body}); err != nil || string(body) != big {
			t.Errorf("%d bytes, error %v", len(body), err)
		}
		if resp.Reused {
			t.Error("the connection was used again")
		}
	}
}

// TestTLSProbe has the peer end an idle TLS connection with its farewell.
func TestTLSProbe(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 2)
	url, cfg := tlsServer(t, func(nc *tls.Conn) {
		if readRequest(bufio.NewReader(nc)) {
			_, _ = io.WriteString(nc, ok)
			_ = nc.CloseWrite()
			closed <- struct{}{}
			_, _ = io.Copy(io.Discard, nc.NetConn())
		}
	})
	c := newClient(t, wire.Config{TLS: cfg})
	o := newOrigin(t, c, url)
	for range 2 {
		resp, _, err := call(t, o, post("x"))
		if err != nil || resp.Reused {
			t.Errorf("reused %t, error %v", resp.Reused, err)
		}
		<-closed
	}
}

// TestTLSEnd ends a body that has no length as it should be.
func TestTLSEnd(t *testing.T) {
	t.Parallel()
	url, cfg := tlsServer(t, func(nc *tls.Conn) {
		if readRequest(bufio.NewReader(nc)) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\nall")
			_ = nc.Close()
		}
	})
	_, body, err := call(t, newOrigin(t, newClient(t, wire.Config{TLS: cfg}), url), post("x"))
	if body != "all" || err != nil {
		t.Errorf("body %q, error %v", body, err)
	}
}

// TestTLSTruncation ends a body that has no length without TLS's farewell: an
// attacker could have cut it.
func TestTLSTruncation(t *testing.T) {
	t.Parallel()
	url, cfg := tlsServer(t, func(nc *tls.Conn) {
		if readRequest(bufio.NewReader(nc)) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\npart")
			_ = nc.NetConn().Close()
		}
	})
	_, body, err := call(t, newOrigin(t, newClient(t, wire.Config{TLS: cfg}), url), post("x"))
	if body != "part" || wire.KindOf(err) != wire.ErrTruncated {
		t.Errorf("body %q, error %v; want ErrTruncated", body, err)
	}
}

// httpProxy is a forward proxy for both forms that demands a password.
func httpProxy(t *testing.T, seen *atomic.Int32) http.HandlerFunc {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:s3cr3t"))
	return func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Header.Get("Proxy-Authorization") != want {
			http.Error(w, "who are you", http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			r.Header.Del("Proxy-Authorization")
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				http.Error(w, "no", http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body)
			return
		}
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		down, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(up, down); up.Close() }()
		_, _ = io.Copy(down, up)
		down.Close()
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.HandlerFunc(whoami))
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(whoami))
	t.Cleanup(plain.Close)
	var seen atomic.Int32
	viaHTTP := httptest.NewServer(httpProxy(t, &seen))
	t.Cleanup(viaHTTP.Close)
	viaTLS := httptest.NewTLSServer(httpProxy(t, &seen))
	t.Cleanup(viaTLS.Close)
	tests := []struct {
		name, proxy, user, url string
		http2                  bool
		want                   string
		kind                   wire.Kind
	}{
		{name: "http through http", proxy: viaHTTP.URL, user: "me:s3cr3t@", url: plain.URL, want: "HTTP/1.1 plain"},
		{name: "https through http", proxy: viaHTTP.URL, user: "me:s3cr3t@", url: secure.URL, want: "HTTP/1.1 sni="},
		{name: "http through https", proxy: viaTLS.URL, user: "me:s3cr3t@", url: plain.URL, want: "HTTP/1.1 plain"},
		{name: "https through https", proxy: viaTLS.URL, user: "me:s3cr3t@", url: secure.URL, want: "HTTP/1.1 sni="},
		{name: "http, wrong password", proxy: viaHTTP.URL, user: "me:wr0ng@", url: plain.URL, kind: wire.ErrConnect},
		{name: "https, wrong password", proxy: viaHTTP.URL, user: "me:wr0ng@", url: secure.URL, kind: wire.ErrConnect},
		{name: "transport through http", proxy: viaHTTP.URL, user: "me:s3cr3t@", url: secure.URL, http2: true, want: "HTTP/1.1 sni="},
		{name: "no proxy there", proxy: "http://127.0.0.1:1", user: "me:wr0ng@", url: secure.URL, kind: wire.ErrConnect},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			via, err := url.Parse(strings.Replace(tt.proxy, "//", "//"+tt.user, 1))
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, wire.Config{TLS: trusting(secure), Proxy: func(*url.URL) (*url.URL, error) { return via, nil }})
			o, err := c.Origin(wire.OriginConfig{URL: tt.url, HTTP2: tt.http2})
			if err != nil {
				t.Fatal(err)
			}
			before := seen.Load()
			for range 2 {
				_, body, err := call(t, o, post("x"))
				if !strings.HasPrefix(body, tt.want) || wire.KindOf(err) != tt.kind {
					t.Errorf("%q, %v; want %q, %v", body, err, tt.want, tt.kind)
				}
				if err != nil && (strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "me:")) {
					t.Errorf("the error tells the password: %v", err)
				}
			}
			if tt.kind == 0 && seen.Load() == before {
				t.Error("the proxy saw nothing")
			}
		})
	}
}

func TestProxyRefused(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{"socks5://me:s3cr3t@test", "http://me:s3cr3t@", "ftp://s3cr3t"} {
		via, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, wire.Config{Proxy: func(*url.URL) (*url.URL, error) { return via, nil }})
		_, err = c.Origin(wire.OriginConfig{URL: "https://test"})
		if wire.KindOf(err) != wire.ErrRequest || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", proxy, err)
		}
	}
	c := newClient(t, wire.Config{Proxy: func(*url.URL) (*url.URL, error) { return nil, errors.New("bad: s3cr3t") }})
	if _, err := c.Origin(wire.OriginConfig{URL: "https://test"}); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v", err)
	}
}
