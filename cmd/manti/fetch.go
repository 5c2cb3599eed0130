package main

import (
	"context"
	"errors"

	"manti/db/local"
)

// hidden finds the command by which db/local has this program fetch Postgres'
// programs, in a child under another user. It is in no help.
func hidden(name string) (command, bool) {
	if name != local.FetchCommand {
		return command{}, false
	}
	return command{name: name, run: func(_ context.Context, inv invocation) error {
		if status := local.FetchMain(inv.args, inv.io.err); status != 0 {
			return statusError{status: status, err: errors.New("the programs of Postgres weren't fetched")}
		}
		return nil
	}}, true
}
