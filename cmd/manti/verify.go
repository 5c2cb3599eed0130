package main

import "context"

// verify checks what the ledger says of itself.
func verify(_ context.Context, inv invocation) error {
	flags := newFlags(inv)
	receipt := flags.String("receipt", "", "check this receipt, offline; - is standard input")
	key := flags.String("key", "", "the ledger's verifier key; after a rotation several, separated by commas")
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	if *receipt == "" {
		return usageError{"manti verify: name a receipt with --receipt"}
	}
	return verifyReceipt(inv.io.out, *receipt, *key)
}
