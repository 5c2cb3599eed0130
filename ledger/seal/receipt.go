package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"manti/domain"
)

// A Receipt proves that an entry is in the ledger. Its text form is a
// c2sp.org/tlog-proof whose extra line is the entry itself, so that whoever
// checks it needs nothing but a verifier key.
type Receipt struct {
	// Index is the entry's place in the ledger.
	Index int64
	// Entry is recorded_at in µs since 1970, 8 bytes, big endian ‖ the event's
	// canonical bytes: what the leaf is the hash of.
	Entry []byte
	// Proof are the hashes from the leaf's sibling up to the root's child.
	Proof tlog.RecordProof
	// Checkpoint is signed and covers the index.
	Checkpoint Checkpoint
}

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// maxProof is the depth of the largest tree.
	maxProof = 63
	// maxReceipt bounds what is parsed: an entry in base64, and the rest.
	maxReceipt = (domain.MaxRecordBytes+64)/3*4 + maxNote + 64*maxProof
	timeBytes  = 8
)

// Text is the receipt as a c2sp.org/tlog-proof.
func (r *Receipt) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(r.Entry), r.Index)
	for _, h := range r.Proof {
		fmt.Fprintf(&b, "%s\n", h)
	}
	b.WriteString("\n" + r.Checkpoint.Note)
	return b.Bytes()
}

// ParseReceipt reads a receipt and checks its form alone: the error is
// ErrMalformed. It knows one form of each receipt: Text gives the same bytes.
func ParseReceipt(text []byte) (*Receipt, error) {
	if len(text) > maxReceipt {
		return nil, fmt.Errorf("%w: a receipt of %d bytes", ErrMalformed, len(text))
	}
	head, checkpoint, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || lines[0] != proofHeader || len(lines) < 3 || len(lines) > 3+maxProof {
		return nil, fmt.Errorf("%w: a receipt begins with %s, an extra line and an index line, and ends with a checkpoint", ErrMalformed, proofHeader)
	}
	r := &Receipt{}
	var err error
	if r.Entry, err = parseEntry(lines[1]); err != nil {
		return nil, err
	}
	if r.Index, err = parseIndex(lines[2]); err != nil {
		return nil, err
	}
	for _, line := range lines[3:] {
		h, err := parseHash(line)
		if err != nil {
			return nil, err
		}
		r.Proof = append(r.Proof, h)
	}
	r.Checkpoint, err = ParseCheckpoint([]byte(checkpoint))
	return r, err
}

func parseEntry(line string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(line, "extra ")
	entry, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || strings.ContainsRune(encoded, '\r') {
		return nil, fmt.Errorf("%w: the receipt has no extra line in base64", ErrMalformed)
	}
	if len(entry) < timeBytes || binary.BigEndian.Uint64(entry) > math.MaxInt64 {
		return nil, fmt.Errorf("%w: the receipt's entry doesn't begin with a time", ErrMalformed)
	}
	if _, _, _, err := domain.SplitCanonical(entry[timeBytes:]); err != nil {
		return nil, fmt.Errorf("%w: the receipt's entry: %w", ErrMalformed, err)
	}
	return entry, nil
}

func parseIndex(line string) (int64, error) {
	digits, ok := strings.CutPrefix(line, "index ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 || strconv.FormatInt(n, 10) != digits {
		return 0, fmt.Errorf("%w: the receipt has no index line", ErrMalformed)
	}
	return n, nil
}

// RecordedAt is when the ledger took the event.
func (r *Receipt) RecordedAt() time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(r.Entry))).UTC()
}

// Public is the event's public part: JSON.
func (r *Receipt) Public() []byte {
	public, _, _, _ := domain.SplitCanonical(r.Entry[timeBytes:]) // its form was checked
	return public
}

// Verify reports what is wrong with the receipt, nil if nothing is: one of the
// keys has signed a ledger that has this entry at this index. Errors are
// ErrUnknownKey and ErrUnproved.
func (r *Receipt) Verify(keys Keys) error {
	c, err := Open([]byte(r.Checkpoint.Note), keys)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(r.Proof, c.Size, c.Root, r.Index, tlog.RecordHash(r.Entry)); err != nil {
		return fmt.Errorf("%w: it doesn't lead from this entry at index %d to the root of %s", ErrUnproved, r.Index, c)
	}
	return nil
}

// VerifyPrivate reports whether this is the private part that the entry commits
// to; ErrUnproved if not.
func (r *Receipt) VerifyPrivate(salt domain.Salt, part []byte) error {
	_, want, _, err := domain.SplitCanonical(r.Entry[timeBytes:])
	if err != nil {
		return err
	}
	if domain.PartHash(salt, part) != want {
		return fmt.Errorf("%w: the private part isn't the one that the entry commits to", ErrUnproved)
	}
	return nil
}
