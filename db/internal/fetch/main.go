// Command fetch downloads PostgreSQL's programs for tests on a machine that has
// none, as manti does for itself. See local.FetchMain for its arguments.
package main

import (
	"os"

	"manti/db/local"
)

func main() { os.Exit(local.FetchMain(os.Args[1:], os.Stderr)) }
