package jobs

import (
	"context"
	"errors"
	"log/slog"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"manti/db"
	"manti/projections"
)

// quiet passes on River's warnings and errors, all of them as warnings: they
// are about River, whose loss of a job harms nothing.
type quiet struct{ slog.Handler }

// Enabled drops what is below a warning.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, slog.LevelWarn)
}

// Handle passes a record on as a warning.
func (q quiet) Handle(ctx context.Context, record slog.Record) error {
	record.Level = slog.LevelWarn
	return q.Handler.Handle(ctx, record)
}

// WithAttrs keeps quiet.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup keeps quiet.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// errorHandler logs jobs that failed, each once.
type errorHandler struct{ r *Runner }

var _ river.ErrorHandler = errorHandler{}

// HandleError logs. That the database doesn't answer is the ticker's to say.
func (h errorHandler) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	h.r.metrics.failures.WithLabelValues(job.Kind).Inc()
	poison, isPoison := errors.AsType[*projections.PoisonError](err)
	switch {
	case isPoison:
		h.r.log.ErrorContext(ctx, "a projection can't fold an event and waits",
			"projection", poison.Projection, "index", poison.Index, "err", poison.Err)
	case db.IsOutage(err), errors.Is(err, context.Canceled):
		h.r.log.DebugContext(ctx, "background job interrupted", "job", job.Kind, "args", string(job.EncodedArgs), "err", err)
	default:
		h.r.log.ErrorContext(ctx, "background job failed", "job", job.Kind, "args", string(job.EncodedArgs), "err", err)
	}
	return nil
}

// HandlePanic logs with the stack.
func (h errorHandler) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	h.r.metrics.failures.WithLabelValues(job.Kind).Inc()
	h.r.log.ErrorContext(ctx, "background job panicked", "job", job.Kind, "args", string(job.EncodedArgs), "panic", value, "stack", trace)
	return nil
}
