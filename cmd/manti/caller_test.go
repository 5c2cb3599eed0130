package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ask is one kind of call.
type ask struct {
	path, model string
	stream      bool
}

// asks are all ways through the gateway: two dialects, each to a provider of
// its own and of the other's, plain and streamed.
func asks() []ask {
	var all []ask
	for _, path := range []string{"/v1/chat/completions", "/v1/messages"} {
		for _, model := range []string{steadyModel, claudeModel} {
			all = append(all, ask{path, model, false}, ask{path, model, true})
		}
	}
	return all
}

// body is the call's, in words that no other call has.
func (a ask) body(words string) []byte {
	b, err := json.Marshal(map[string]any{
		"model": a.model, "stream": a.stream, "max_tokens": 4000,
		"messages": []map[string]string{{"role": "user", "content": words}},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// seen is what a caller saw of a call.
type seen struct {
	id     string // manti-request-id; "" if no head came
	status int
	body   string
	whole  bool // a good answer, to its end
	err    error
}

// call makes one call and reads it to its end.
func call(ctx context.Context, base, key string, a ask, words string) seen {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+a.path, bytes.NewReader(a.body(words)))
	if err != nil {
		return seen{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return seen{err: err}
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(resp.Body)
	s := seen{id: resp.Header.Get("Manti-Request-Id"), status: resp.StatusCode, body: string(body), err: err}
	s.whole = err == nil && s.status == http.StatusOK && (!a.stream || hasEnd(a.path, s.body))
	return s
}

// hasEnd looks for what an SDK takes for a stream's good end.
func hasEnd(path, body string) bool {
	if path == "/v1/messages" {
		return strings.Contains(body, "event: message_stop") && !strings.Contains(body, "event: error")
	}
	return strings.Contains(body, "data: [DONE]") && !strings.Contains(body, `"error"`)
}

// crowd are callers that call without end.
type crowd struct {
	base  atomic.Pointer[string] // where manti is now
	stop  context.CancelFunc
	group sync.WaitGroup
	// whole counts good ends; failed answers that were none: a 503, a broken
	// stream, no answer at all.
	whole, failed atomic.Int64

	mu    sync.Mutex
	calls []seen // guarded by mu; those that had an id
}

// gather starts n callers of all kinds. Each ends with the crowd, or the test.
func gather(t testing.TB, base string, n int) *crowd {
	t.Helper()
	return gatherFor(t, base, n, asks())
}

// gatherFor starts n callers of these kinds.
func gatherFor(t testing.TB, base string, n int, all []ask) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{stop: stop}
	c.aim(base)
	for i := range n {
		c.group.Go(func() {
			for round := 0; ctx.Err() == nil; round++ {
				s := call(context.WithoutCancel(ctx), *c.base.Load(), testKey, all[(i+round)%len(all)], fmt.Sprintf("caller %d says %d", i, round))
				c.note(s)
				if !s.whole {
					breathe(ctx)
				}
			}
		})
	}
	t.Cleanup(c.end)
	return c
}

// breathe keeps a caller that is refused from doing nothing but calling.
func breathe(ctx context.Context) {
	t := time.NewTimer(5 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// aim tells the callers where manti is.
func (c *crowd) aim(base string) { c.base.Store(&base) }

// end lets the running calls end and waits for them.
func (c *crowd) end() {
	c.stop()
	c.group.Wait()
}

func (c *crowd) note(s seen) {
	if s.whole {
		c.whole.Add(1)
	} else {
		c.failed.Add(1)
	}
	if s.id == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, s)
}

// seen are the calls so far that got as far as an id.
func (c *crowd) seen() []seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]seen(nil), c.calls...)
}
