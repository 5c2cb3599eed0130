package main

import (
	"context"
	"fmt"

	"manti/domain"
	"manti/projections"
)

// forget erases what the ledger says of a person.
func forget(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	endUser := flags.String("end-user", "", "whom callers named so, instead of a user's id")
	apply := flags.Bool("apply", false, "do it; without, what would be erased is counted")
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	person := projections.Person{EndUser: *endUser}
	switch {
	case flags.NArg() > 1 || (flags.NArg() == 1) == (*endUser != ""):
		return usageError{"manti forget: name one user by id, or an end user with --end-user"}
	case flags.NArg() == 1:
		var err error
		if person.User, err = domain.ParseID[domain.UserID](flags.Arg(0)); err != nil || person.User.IsZero() {
			return usageError{fmt.Sprintf("manti forget: %q is no user's id; whom callers named so is --end-user", flags.Arg(0))}
		}
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		var f projections.Forgotten
		var err error
		if *apply {
			f, err = projections.Forget(ctx, d.ledger, d.pool, person, operator())
		} else {
			f, err = projections.DryForget(ctx, d.pool, person)
		}
		if err != nil {
			return err
		}
		return printForgotten(inv, f, *apply)
	})
}

func printForgotten(inv invocation, f projections.Forgotten, applied bool) error {
	out := inv.io.out
	switch {
	case f.Parts == 0:
		fmt.Fprintf(out, "Of %d events none holds anything of this person.\n", f.Through)
	case applied:
		fmt.Fprintf(out, "The erasable parts of %d events were erased, of %d looked at. Figures and proofs are unchanged.\n", f.Parts, f.Through)
	default:
		fmt.Fprintf(out, "Nothing was erased: --apply erases the erasable parts of %d events, of %d looked at.\n", f.Parts, f.Through)
	}
	if f.Rejected > 0 {
		fmt.Fprintf(out, "%d records in ledger.rejected are about this person. They can't be erased by a command: see docs/operations.md.\n", f.Rejected)
	}
	_, err := fmt.Fprintln(out, "What is still in spools, kept segments (up to 72 h) and backups isn't erased there; see docs/operations.md.")
	return err
}
