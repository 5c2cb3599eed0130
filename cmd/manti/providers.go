package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"golang.org/x/net/http/httpproxy"

	"manti/proxy/dialect"
	"manti/proxy/host"
	"manti/proxy/host/wire"
	"manti/proxy/route"
	"manti/proxy/sim"
)

// upstreams are the ways to all providers that are set up.
type upstreams struct {
	hosts   []*host.Host
	clients []*wire.Client
	sim     *sim.Provider // nil if it isn't served
}

// simHost is the simulator's name in URLs; it is reached in memory only.
const simHost = "simulator.internal"

// openUpstreams makes clients and hosts. It doesn't connect to anything.
func openUpstreams(cfg Config) (*upstreams, error) {
	roots, err := trustedRoots(cfg.ExtraCA)
	if err != nil {
		return nil, err
	}
	proxies := httpproxy.FromEnvironment().ProxyFunc()
	client, err := wire.New(wire.Config{
		TLS:   &tls.Config{RootCAs: roots},
		Proxy: func(u *url.URL) (*url.URL, error) { return proxies(u) },

		HeaderTimeout: cfg.HeaderTimeout, IdleTimeout: cfg.IdleTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the client: %w", err)
	}
	u := &upstreams{clients: []*wire.Client{client}}
	for _, p := range []struct {
		name    string
		dialect dialect.Name
		cfg     ProviderConfig
	}{{"openai", dialect.OpenAI, cfg.OpenAI}, {"anthropic", dialect.Anthropic, cfg.Anthropic}} {
		if p.cfg.Key == "" {
			continue
		}
		err := u.add(host.Config{Provider: p.name, Dialect: p.dialect, BaseURL: p.cfg.BaseURL, Key: p.cfg.Key, Client: client})
		if err != nil {
			return nil, err
		}
	}
	if cfg.simulated() {
		return u, u.addSimulator()
	}
	return u, nil
}

func (u *upstreams) add(cfg host.Config) error {
	cfg.UserAgent = "manti/" + version
	h, err := host.New(cfg)
	if err != nil {
		return err
	}
	u.hosts = append(u.hosts, h)
	return nil
}

// addSimulator serves the simulator in memory, in both dialects.
func (u *upstreams) addSimulator() error {
	provider, err := sim.New(sim.Config{})
	if err != nil {
		return fmt.Errorf("set up the simulator: %w", err)
	}
	client, err := wire.New(wire.Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return provider.Dial(ctx, network, addr)
	}})
	if err != nil {
		return fmt.Errorf("set up the simulator's client: %w", err)
	}
	u.sim, u.clients = provider, append(u.clients, client)
	for _, d := range []dialect.Name{dialect.OpenAI, dialect.Anthropic} {
		base := "http://" + simHost
		if d == dialect.OpenAI {
			base += "/v1"
		}
		if err := u.add(host.Config{Provider: route.SimProvider, Dialect: d, BaseURL: base, Client: client}); err != nil {
			return err
		}
	}
	return nil
}

// close ends all connections to providers.
func (u *upstreams) close() {
	for _, c := range u.clients {
		c.Close()
	}
	if u.sim != nil {
		_ = u.sim.Close() // nothing is kept in it
	}
}

// trustedRoots are the system's certificates and those of a file. Where the
// system has none (an image from scratch), those built into the program hold.
func trustedRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("MANTI_EXTRA_CA: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("MANTI_EXTRA_CA: " + file + " holds no certificate in PEM")
	}
	return roots, nil
}
