package proxy

import (
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
	level := slog.LevelInfo
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
	c.g.cfg.Log.LogAttrs(c.r.Context(), level, "call", attrs...)
}
