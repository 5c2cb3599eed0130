package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// flushEvery is how long a log line may wait for others: a line of its own for
// each call would be a system call for each call.
const flushEvery = 100 * time.Millisecond

// logWriter buffers log lines; those from Warn on are written at once.
type logWriter struct {
	mu  sync.Mutex
	buf *bufio.Writer // guarded by mu
}

func newLogWriter(w io.Writer) *logWriter { return &logWriter{buf: bufio.NewWriterSize(w, 64<<10)} }

func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// Flush writes what is buffered.
func (l *logWriter) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.buf.Flush() // there is nowhere to say that the log can't be written
}

// run flushes until ctx ends.
func (l *logWriter) run(ctx context.Context) {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			l.Flush()
			return
		case <-t.C:
			l.Flush()
		}
	}
}

// flushing is a handler that doesn't let what is urgent wait.
type flushing struct {
	slog.Handler
	w *logWriter
}

func (h flushing) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.w.Flush()
	}
	return err
}

func (h flushing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return flushing{h.Handler.WithAttrs(attrs), h.w}
}

func (h flushing) WithGroup(name string) slog.Handler {
	return flushing{h.Handler.WithGroup(name), h.w}
}

// newLogger is the log in the configured form.
func newLogger(cfg Config, out io.Writer) (*slog.Logger, *logWriter) {
	w := newLogWriter(out)
	opts := &slog.HandlerOptions{Level: logLevel(cfg.LogLevel)}
	format := cfg.LogFormat
	if f, ok := out.(*os.File); format == "" && ok && term.IsTerminal(int(f.Fd())) {
		format = "text"
	}
	h := newLineHandler(w, opts)
	if format == "text" {
		h = slog.NewTextHandler(w, opts)
	}
	return slog.New(flushing{h, w}), w
}

func logLevel(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}
