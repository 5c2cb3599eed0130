package main_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"sync"
)

// tape keeps what is written to it and lets others wait for it.
type tape struct {
	mu      sync.Mutex
	text    bytes.Buffer  // guarded by mu
	changed chan struct{} // guarded by mu; closed and replaced at each write
	closed  bool          // guarded by mu
}

func newTape() *tape { return &tape{changed: make(chan struct{})} }

func (b *tape) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(p)
	b.announce()
	return len(p), nil
}

func (b *tape) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.announce()
}

// announce wakes who waits; the caller holds mu.
func (b *tape) announce() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *tape) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

var errSilent = errors.New("it never came")

// await waits for a match and returns it with its groups.
func (b *tape) await(line *regexp.Regexp) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		b.mu.Lock()
		m, closed, changed := line.FindStringSubmatch(b.text.String()), b.closed, b.changed
		b.mu.Unlock()
		if m != nil {
			return m, nil
		}
		if closed {
			return nil, errSilent
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
