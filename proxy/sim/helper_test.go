package sim_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"manti/proxy/sim"
)

// start makes a provider that ends with the test.
func start(t testing.TB, cfg sim.Config) *sim.Provider {
	t.Helper()
	p, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // it has no error
	return p
}

// client calls the provider in memory.
func client(t testing.TB, p *sim.Provider) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: p.Dial, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// answer is what came back of a call, as far as it came.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the call, or of reading the body
}

func post(t testing.TB, c *http.Client, path, body string) answer {
	t.Helper()
	return postCtx(t.Context(), c, "http://sim"+path, body)
}

func postCtx(ctx context.Context, c *http.Client, url, body string) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Request-Id", "caller-1")
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

// event is one event of a stream.
type event struct{ name, data string }

// events reads a stream of events, of which each must have one data line.
func events(t testing.TB, body string) []event {
	t.Helper()
	var all []event
	var e event
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" && e.data != "":
			all = append(all, e)
			e = event{}
		case line == "", strings.HasPrefix(line, ":"):
		case strings.HasPrefix(line, "event: "):
			e.name = line[7:]
		case strings.HasPrefix(line, "data: "):
			e.data = line[6:]
		default:
			t.Fatalf("stray line %q", line)
		}
	}
	return all
}

// decode decodes JSON or fails.
func decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("decode %.300q: %v", text, err)
	}
	return v
}
