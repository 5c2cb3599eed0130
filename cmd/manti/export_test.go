package main

import (
	"bytes"
	"context"
)

// InProcess runs a command here instead of in a process of its own, and returns its
// exit status and what it printed: a twentieth of the time.
func InProcess(ctx context.Context, args, env []string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = report(run(ctx, args, env, stdio{&o, &e}), &e)
	return status, o.String(), e.String()
}
