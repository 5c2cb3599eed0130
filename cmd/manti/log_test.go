package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// countingBuffer counts the writes that reach it.
type countingBuffer struct {
	mu     sync.Mutex
	text   bytes.Buffer // guarded by mu
	writes int          // guarded by mu
}

func (b *countingBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	return b.text.Write(p)
}

func (b *countingBuffer) read() (string, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String(), b.writes
}

// Lines wait for each other a moment; what is urgent waits for nobody, and takes
// along what was before it; nothing is lost at the end.
func TestLogWaitsForCompany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out countingBuffer
		log, w := newLogger(Config{}, &out)
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.run(ctx) })
		for range 10 {
			log.Info("call")
		}
		if text, _ := out.read(); text != "" {
			t.Errorf("at once there was %q", text)
		}
		time.Sleep(flushEvery + time.Millisecond) // in fake time
		if text, writes := out.read(); strings.Count(text, "\n") != 10 || writes != 1 {
			t.Errorf("after %v there were %d lines in %d writes", flushEvery, strings.Count(text, "\n"), writes)
		}
		log.Info("before")
		log.With("a", 1).WithGroup("g").Warn("urgent")
		if text, writes := out.read(); !strings.Contains(text, "before") || !strings.Contains(text, "urgent") || writes != 2 {
			t.Errorf("a warning waited: %d writes, %q", writes, text)
		}
		log.Info("last")
		stop()
		run.Wait()
		if text, _ := out.read(); !strings.Contains(text, "last") {
			t.Error("the last line is lost")
		}
	})
}

func TestLogForm(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		cfg     Config
		isJSON  bool
		verbose bool
	}{
		{"no terminal", Config{}, true, false},
		{"json", Config{LogFormat: "json", LogLevel: "info"}, true, false},
		{"text", Config{LogFormat: "text", LogLevel: "debug"}, false, true},
		{"errors only", Config{LogLevel: "error"}, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log, w := newLogger(test.cfg, &out)
			log.Debug("quiet")
			log.Error("loud")
			w.Flush()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if json.Valid([]byte(lines[0])) != test.isJSON || (len(lines) == 2) != test.verbose {
				t.Errorf("got %q", lines)
			}
		})
	}
	for name, want := range map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		if got := logLevel(name); got != want {
			t.Errorf("level %q is %v, want %v", name, got, want)
		}
	}
}
