package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Checkpoint says what the first Size events of a ledger are
// (https://c2sp.org/tlog-checkpoint).
type Checkpoint struct {
	// Origin names the ledger, for ever.
	Origin string
	// Size is the number of events, 0 or more.
	Size int64
	// Root is the RFC 6962 tree hash of their leaves.
	Root tlog.Hash
	// Note is the signed text that it was read from, byte for byte; "" if it
	// isn't signed yet.
	Note string
}

// maxNote bounds a signed checkpoint: 16 signatures of the largest kind are
// 80 KB (https://c2sp.org/signed-note).
const maxNote = 128 << 10

// Text is what is signed.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// Same reports whether both say the same of the same ledger, whoever signed.
func (c Checkpoint) Same(d Checkpoint) bool {
	return c.Origin == d.Origin && c.Size == d.Size && c.Root == d.Root
}

// String is origin, size and root in a line, for messages.
func (c Checkpoint) String() string {
	return fmt.Sprintf("checkpoint of %s, %d events, root %s", c.Origin, c.Size, c.Root)
}

// ParseCheckpoint reads a signed checkpoint and checks its form, not its
// signatures. The error is ErrMalformed.
func ParseCheckpoint(signed []byte) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint of %d bytes", ErrMalformed, len(signed))
	}
	// Without any key, Open parses the form and hands the note back in its error.
	_, err := note.Open(signed, note.VerifierList())
	unverified, ok := errors.AsType[*note.UnverifiedNoteError](err)
	if !ok {
		return Checkpoint{}, fmt.Errorf("%w: not a signed note", ErrMalformed)
	}
	c, err := parseText(unverified.Note.Text)
	c.Note = string(signed)
	return c, err
}

// Open reads a signed checkpoint that one of the keys has signed under the name
// of its origin. Errors are ErrMalformed and ErrUnknownKey.
func Open(signed []byte, keys Keys) (Checkpoint, error) {
	c, err := ParseCheckpoint(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	n, err := note.Open(signed, keys)
	if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		return Checkpoint{}, fmt.Errorf("%w: %s", ErrUnknownKey, c)
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %s: %w", ErrUnknownKey, c, err)
	}
	for _, sig := range n.Sigs {
		if sig.Name == c.Origin {
			return c, nil
		}
	}
	return Checkpoint{}, fmt.Errorf("%w: %s is signed by %s, which is another name than its origin", ErrUnknownKey, c, n.Sigs[0].Name)
}

// parseText reads the three lines that are signed. Further lines, which the
// format allows, are refused: nothing of ours writes them, and nothing checks
// what they say.
func parseText(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint has three lines", ErrMalformed)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: %q is no tree size", ErrMalformed, lines[1])
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, err
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// parseHash reads the one base64 form of a hash.
func parseHash(s string) (h tlog.Hash, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tlog.HashSize || strings.ContainsAny(s, "\r\n") {
		return h, fmt.Errorf("%w: %q is no hash", ErrMalformed, s)
	}
	return tlog.Hash(b), nil
}
