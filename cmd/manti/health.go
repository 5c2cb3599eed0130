package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthTimeout is shorter than what container engines give a health check.
const healthTimeout = 3 * time.Second

// health asks a running server whether it is ready.
func health(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	target := flags.String("url", "", "the server; the configured listener on this machine by default")
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if *target == "" {
		cfg, err := loadConfig(inv.env)
		if err != nil {
			return err
		}
		if *target, err = localURL(cfg.Listen); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(*target, "/")+"/readyz", nil)
	if err != nil {
		return usageError{"--url: " + err.Error()}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", *target, err)
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("ask %s: %w", *target, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s isn't ready: %s", *target, strings.TrimSpace(string(body)))
	}
	_, err = io.WriteString(inv.io.out, strings.TrimSpace(string(body))+"\n")
	return err
}

// localURL is how this machine reaches a listener's address.
func localURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("MANTI_LISTEN %q: %w", listen, err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}
