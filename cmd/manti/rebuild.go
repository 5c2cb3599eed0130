package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"manti/projections"
)

// rebuild builds projections anew.
func rebuild(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	replace := flags.Bool("replace", false, "put the new rows in place even if the live ones are not what the ledger says")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return usageError{"manti rebuild: name one of " + projectionNames() + ", or all"}
	}
	var list []*projections.Projection
	if name := flags.Arg(0); name == "all" {
		list = projections.All()
	} else if p, ok := projections.Find(name); ok {
		list = append(list, p)
	} else {
		return usageError{fmt.Sprintf("manti rebuild: %q is none of %s, all", name, projectionNames())}
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		for _, p := range list {
			cfg := projections.RebuildConfig{Replace: *replace, Progress: foldProgress(inv, p.Name())}
			done, err := projections.Rebuild(ctx, d.pool, p, cfg)
			if errors.Is(err, projections.ErrDiverged) {
				return fmt.Errorf("%w. They were left as they are: find out who wrote them, then `manti rebuild %s --replace`", err, p.Name())
			}
			if errors.Is(err, projections.ErrAhead) {
				return fmt.Errorf("%w: `manti recover` first; if its loss is accepted, `manti rebuild %s --replace`", err, p.Name())
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(inv.io.out, "%s: rebuilt up to index %d, %s\n", p.Name(), done.Index, verdict(done))
			if done.Parked > 0 {
				fmt.Fprintf(inv.io.err, "%s: %d events can't be folded by this manti either; see projections.parked\n", p.Name(), done.Parked)
			}
		}
		return nil
	})
}

func verdict(r projections.Rebuilt) string {
	switch {
	case !r.Difference.None():
		return "live rows differed and were replaced: " + r.Difference.String()
	case r.Unparked > 0:
		return fmt.Sprintf("with %d events that could not be folded before", r.Unparked)
	case !r.Compared:
		return "there were no live rows to compare with"
	}
	return "equal to the live rows"
}

func projectionNames() string {
	text := ""
	for i, p := range projections.All() {
		if i > 0 {
			text += ", "
		}
		text += p.Name()
	}
	return text
}

// foldProgress shows on a terminal how far a fold is; nil elsewhere.
func foldProgress(inv invocation, name string) func(index, size int64) {
	f, ok := inv.io.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	var shown time.Time
	return func(index, size int64) {
		if index < size && time.Since(shown) < 200*time.Millisecond {
			return
		}
		shown = time.Now()
		if index == size {
			fmt.Fprint(f, "\r\x1b[K") // done: the line is cleared
			return
		}
		fmt.Fprintf(f, "\r\x1b[Kfolding %s: %d of %d events (%d %%)", name, index, size, index*100/size)
	}
}
