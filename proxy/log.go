package proxy

import (
	"context"
	"log/slog"
	"time"

	"manti/domain"
)

// log writes the call's one line. It holds no prompt, no answer and no secret.
func (c *call) log() {
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("request", c.id.String()),
		slog.String("endpoint", string(c.endpoint)),
		slog.Int("status", c.status),
		slog.Float64("took_seconds", time.Since(c.begun).Seconds()),
	)
	if c.who != nil {
		attrs = append(attrs, slog.String("key", c.who.Key.String()))
	}
	if c.head.Model != "" {
		attrs = append(attrs, slog.String("model", domain.CleanText(c.head.Model, domain.MaxName)), slog.Bool("stream", c.head.Stream))
	}
	if done, ok := c.event.Body.(*domain.RequestCompleted); ok {
		u := domain.Usage(done.Usage)
		attrs = append(attrs, slog.String("outcome", string(done.Outcome)),
			slog.Int64("prompt_tokens", u.PromptTokens()), slog.Int64("completion_tokens", u.CompletionTokens()),
			slog.String("charge", done.Charge.Amount.String()), slog.String("currency", string(done.Charge.Currency)))
	}
	if c.err != nil {
		attrs = append(attrs, slog.String("error", string(c.err.Code)))
		if c.err.Cause != nil {
			attrs = append(attrs, slog.String("err", c.err.Cause.Error()))
		}
	}
	c.g.metrics.served(c)
	write(c.r.Context(), c.g.cfg.Log.Handler(), attrs)
}

// write is slog.LogAttrs without a look at the stack for a position in the
// source, which is always this one.
func write(ctx context.Context, h slog.Handler, attrs []slog.Attr) {
	if !h.Enabled(ctx, slog.LevelInfo) {
		return
	}
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "call", 0)
	line.AddAttrs(attrs...)
	_ = h.Handle(ctx, line) // as slog.Logger: there is nowhere to say it
}
