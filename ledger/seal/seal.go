// Package seal makes the ledger provable: a Merkle tree (RFC 6962) over the
// leaves of ledger.events, signed checkpoints of it, and receipts that prove
// to a customer that a call is in the ledger, to be checked without asking us.
//
// It promises that
//   - what it signs contains all that it signed before, as far as the outside
//     memory and ledger.checkpoints know: a ledger that was cut, restored from
//     an older copy or edited where the tree is read is not signed;
//   - a checkpoint is remembered outside of the database before anybody can see
//     it in there;
//   - the same events always make the same tree, whoever seals: several sealers
//     at once do no harm;
//   - nothing about an index is said before a signed checkpoint covers it.
//
// A pass reads the new leaves, writes the tiles that they fill, proves that the
// last checkpoints still hold, signs, swaps the outside memory, and inserts the
// checkpoint. After a crash anywhere in between the next pass goes on: tiles are
// written by transactions and are what the leaves make them, and a checkpoint
// that is in the memory and not yet in the table is inserted then.
//
// Only full tiles are stored, 32 bytes and a little for each event. What lies
// behind the last full tile is read from the leaves.
//
// Formats: https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note,
// https://c2sp.org/tlog-proof, https://c2sp.org/tlog-tiles.
package seal

import (
	"errors"
	"fmt"
)

// Errors of this package. Match with errors.Is.
var (
	// ErrInconsistent: the ledger doesn't contain what a checkpoint signed. The
	// message says what differs.
	ErrInconsistent = errors.New("seal: the ledger is not what was signed")
	// ErrBehind is the ErrInconsistent of a ledger with fewer events than were
	// signed: restored from an older copy, or cut.
	ErrBehind = fmt.Errorf("%w: ledger behind", ErrInconsistent)
	// ErrMalformed: not the text of a checkpoint, a key or a receipt.
	ErrMalformed = errors.New("seal: malformed")
	// ErrUnproved: a receipt's proof doesn't hold.
	ErrUnproved = errors.New("seal: the proof doesn't hold")
	// ErrUnknownKey: no known key has signed the checkpoint.
	ErrUnknownKey = errors.New("seal: not signed by a known key")
	// ErrChanged: the outside memory isn't what the caller took it to be.
	ErrChanged = errors.New("seal: the outside memory was changed by another")
)
