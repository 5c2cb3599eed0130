package main

import (
	"context"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
)

// lineHandler writes what slog.JSONHandler writes, to the byte, for plain records faster: there is one for each call.
// Plain are numbers, booleans, and strings without anything to escape; what else there is goes to slog's own.
type lineHandler struct {
	slog.Handler
	w     io.Writer
	lines *sync.Pool // of *[]byte
}

func newLineHandler(w io.Writer, opts *slog.HandlerOptions) slog.Handler {
	return lineHandler{slog.NewJSONHandler(w, opts), w, &sync.Pool{New: func() any { return new([]byte) }}}
}

// WithAttrs and WithGroup are slog's: what they return isn't for calls.
func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.Handler.WithAttrs(attrs) }

// WithGroup is as WithAttrs.
func (h lineHandler) WithGroup(name string) slog.Handler { return h.Handler.WithGroup(name) }

// Handle writes the record as a line.
func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	buf := h.lines.Get().(*[]byte)
	defer h.lines.Put(buf)
	line, ok := appendLine((*buf)[:0], r)
	if *buf = line; !ok {
		return h.Handler.Handle(ctx, r)
	}
	_, err := h.w.Write(line)
	return err
}

// appendLine appends a record; false if it isn't plain.
func appendLine(b []byte, r slog.Record) ([]byte, bool) {
	if r.Time.IsZero() || r.Time.Year() > 9999 || !plain(r.Message) {
		return b, false
	}
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b = append(b, `","msg":"`...)
	b = append(append(b, r.Message...), '"')
	ok := true
	r.Attrs(func(a slog.Attr) bool {
		b, ok = appendAttr(b, a)
		return ok
	})
	return append(b, '}', '\n'), ok
}

func appendAttr(b []byte, a slog.Attr) ([]byte, bool) {
	if a.Key == "" || !plain(a.Key) {
		return b, false
	}
	b = append(append(append(b, ',', '"'), a.Key...), '"', ':')
	switch a.Value.Kind() {
	case slog.KindString:
		s := a.Value.String()
		return append(append(append(b, '"'), s...), '"'), plain(s)
	case slog.KindInt64:
		return strconv.AppendInt(b, a.Value.Int64(), 10), true
	case slog.KindBool:
		return strconv.AppendBool(b, a.Value.Bool()), true
	case slog.KindFloat64:
		f := a.Value.Float64()
		// Others encoding/json writes with an exponent, or not at all.
		return strconv.AppendFloat(b, f, 'f', -1, 64), f == 0 || math.Abs(f) >= 1e-6 && math.Abs(f) < 1e21
	}
	return b, false
}

// plain reports whether a string stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
