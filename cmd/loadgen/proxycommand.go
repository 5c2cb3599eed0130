package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// proxyCommand runs the baseline: the least that a gateway in Go can be made
// of with the standard library.
func proxyCommand(ctx context.Context, args []string, io streams) error {
	flags := flag.NewFlagSet("loadgen proxy", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "`address` to listen on")
	upstream := flags.String("upstream", "", "`URL` to pass calls on to")
	limit := flags.Duration("for", 0, "stop after this `time`; 0 runs until SIGTERM")
	if err := parse(flags, args, io); err != nil {
		return err
	}
	target, err := url.Parse(*upstream)
	if err != nil || target.Host == "" {
		return fmt.Errorf("-upstream %q is no URL", *upstream)
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintf(io.out, "%shttp://%s\n", announcement, l.Addr())
	ctx, cancel := withLimit(ctx, *limit)
	defer cancel()
	server := &http.Server{Handler: baseline(target), ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // Serve returns then
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// baseline is the bare reverse proxy that gateways are measured against. It
// keeps as many idle connections as needed: net/http's default of two a host
// would make it dial most calls anew. And it lets requests and answers overlap:
// else net/http closes the request's body when the answer begins, and the
// transport, if it hasn't seen the body's end by then, breaks the answer off
// ("invalid Read on closed Body").
func baseline(target *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 8192, DisableCompression: true},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 has it anyway
		proxy.ServeHTTP(w, r)
	})
}
