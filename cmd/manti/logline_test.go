package main

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

// TestLineHandler holds it against slog's own handler.
func TestLineHandler(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.FixedZone("", 3600))
	for _, tt := range []struct {
		name, msg string
		at        time.Time
		level     slog.Level
		attrs     []slog.Attr
	}{
		{"a call", "call", at, slog.LevelInfo, []slog.Attr{
			slog.String("request", "01"), slog.Int("status", 200), slog.Float64("took_seconds", 0.001234), slog.Bool("stream", true), slog.Int64("n", -5)}},
		{"nothing", "", at, slog.LevelWarn, nil},
		{"UTC, whole seconds", "m", at.UTC().Truncate(time.Second), slog.LevelError, nil},
		{"no time", "m", time.Time{}, slog.LevelInfo, nil},
		{"a level between", "m", at, slog.LevelInfo + 2, nil},
		{"quotes in the message", `say "x"`, at, slog.LevelInfo, nil},
		{"escapes", "m", at, slog.LevelInfo, []slog.Attr{slog.String("a", "x\"y\\z\n\x00\x7f"), slog.String("b", "<ä\u2028>"), slog.String("c", "\xff")}},
		{"HTML", "m", at, slog.LevelInfo, []slog.Attr{slog.String("a", "<&>")}},
		{"an odd key", "m", at, slog.LevelInfo, []slog.Attr{slog.String("a\"b", "x")}},
		{"an empty attribute", "m", at, slog.LevelInfo, []slog.Attr{{}}},
		{"floats", "m", at, slog.LevelInfo, []slog.Attr{
			slog.Float64("a", 0), slog.Float64("b", 1e-7), slog.Float64("c", 1e21), slog.Float64("d", 1e-6), slog.Float64("e", -123456789.5), slog.Float64("f", 1e20)}},
		{"no number", "m", at, slog.LevelInfo, []slog.Attr{slog.Float64("a", math.NaN())}},
		{"other kinds", "m", at, slog.LevelInfo, []slog.Attr{
			slog.Duration("a", time.Second), slog.Time("b", at), slog.Any("c", errors.New("x")), slog.Group("d", slog.Int("e", 1)), slog.Uint64("f", 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got, want bytes.Buffer
			r := slog.NewRecord(tt.at, tt.level, tt.msg, 0)
			r.AddAttrs(tt.attrs...)
			if err := slog.NewJSONHandler(&want, nil).Handle(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if err := newLineHandler(&got, nil).Handle(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("got  %swant %s", &got, &want)
			}
		})
	}
}

// TestLineHandlerWith keeps what With adds.
func TestLineHandlerWith(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slog.New(newLineHandler(&out, nil)).With("a", 1).WithGroup("g").Info("m", "b", 2)
	if got := out.String(); !strings.HasSuffix(got, `"msg":"m","a":1,"g":{"b":2}}`+"\n") {
		t.Errorf("got %s", got)
	}
}

func BenchmarkLine(b *testing.B) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "call", 0)
	r.AddAttrs(slog.String("request", "0190a5b0-0000-7000-8000-000000000000"), slog.String("endpoint", "chat.completions"), slog.Int("status", 200),
		slog.Float64("took_seconds", 0.012345), slog.String("model", "gpt-4o"), slog.Bool("stream", false), slog.Int64("prompt_tokens", 235))
	for _, bc := range []struct {
		name string
		h    slog.Handler
	}{{"line", newLineHandler(discardLog{}, nil)}, {"slog", slog.NewJSONHandler(discardLog{}, nil)}} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bc.h.Handle(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discardLog struct{}

func (discardLog) Write(p []byte) (int, error) { return len(p), nil }
