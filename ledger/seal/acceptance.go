package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"manti/domain"
	"manti/ledger"
)

// An Acceptance is an operator's word that a loss was accepted, and what was
// accepted. It stands in the outside memory: anybody who can write to the database
// can put an OriginStarted there, and that alone proves nothing.
type Acceptance struct {
	// Event is the OriginStarted, Origin the name that it gives.
	Event  domain.EventID `json:"event"`
	Origin string         `json:"origin"`
	// Size is the number of events up to and with that one, Root the tree hash of
	// their leaves when the loss was accepted.
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
	// From is the first index at which the ledger isn't what it was before.
	From int64 `json:"from"`
	// Previous is the checkpoint that the memory had when the loss was accepted,
	// the whole note; "" if it had none of an earlier origin. It is the only one
	// that the new origin may take the place of.
	Previous string `json:"previous,omitempty"`
	// Kept is the last checkpoint from before the loss that covers no more than
	// From events, the whole note; "" if none was at hand.
	Kept string `json:"kept,omitempty"`
}

// tree is what was accepted, as a checkpoint that isn't signed.
func (a Acceptance) tree() Checkpoint {
	return Checkpoint{Origin: a.Origin, Size: a.Size, Root: a.Root}
}

// Replaces reports whether it is about going on after what this checkpoint signed.
func (a Acceptance) Replaces(c Checkpoint) bool {
	previous, err := ParseCheckpoint([]byte(a.Previous))
	return err == nil && previous.Same(c) && a.Origin != c.Origin
}

// acceptedFile has one acceptance in a line, as JSON. None is ever removed.
const acceptedFile = "accepted"

// Accepted are the losses that were accepted, the first one first.
func (d *Dir) Accepted(context.Context) ([]Acceptance, error) {
	text, err := os.ReadFile(filepath.Join(d.path, acceptedFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the accepted losses: %w", err)
	}
	var all []Acceptance
	for line := range bytes.Lines(text) {
		var a Acceptance
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("%w: %s, line %d: %w", ErrMalformed, filepath.Join(d.path, acceptedFile), len(all)+1, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// A Claim is a new origin that an operator accepts.
type Claim struct {
	Origin string
	// From is the first index at which the ledger went another way, if that is
	// known to be before what the event declares missing; negative if not.
	From int64
	// Keys may have signed before the loss. What none of them signed is not kept.
	Keys Keys
}

// Accept remembers that the loss after which the ledger has begun an origin was
// accepted, durably when it returns: sealers with this memory go on under the new
// name, as long as the ledger is what it is now up to the event that began it. It
// is ErrNone if the ledger has no such origin, and ErrInconsistent if events that
// aren't said to be lost are not what was signed before. Twice is as once.
func (d *Dir) Accept(ctx context.Context, q ledger.Querier, claim Claim) (Acceptance, error) {
	text, err := d.Load(ctx)
	if err != nil {
		return Acceptance{}, err
	}
	a, err := accept(ctx, q, claim, text)
	if err != nil {
		return Acceptance{}, fmt.Errorf("accept the origin %s: %w", claim.Origin, err)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return Acceptance{}, fmt.Errorf("keep the acceptance: %w", err)
	}
	defer unlock()
	return a, d.keep(ctx, a, text)
}

// keep adds an acceptance that was made while the memory was text.
func (d *Dir) keep(ctx context.Context, a Acceptance, text []byte) error {
	there, err := d.Load(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, text) {
		return ErrChanged
	}
	all, err := d.Accepted(ctx)
	if err != nil || slices.Contains(all, a) {
		return err
	}
	var file []byte
	for _, a := range append(all, a) {
		line, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("keep the acceptance: %w", err)
		}
		file = append(append(file, line...), '\n')
	}
	if err := d.replace(acceptedFile, file); err != nil {
		return fmt.Errorf("keep the acceptance: %w", err)
	}
	return nil
}

// accept looks at what is to be accepted, and holds it against what was signed.
func accept(ctx context.Context, q ledger.Querier, claim Claim, remembered []byte) (a Acceptance, err error) {
	begun, err := readSuccessions(ctx, q, 0)
	if err != nil {
		return a, err
	}
	at := len(begun) - 1
	for at >= 0 && begun[at].event.Origin != claim.Origin {
		at--
	}
	if at < 0 {
		return a, fmt.Errorf("%w: no event in the ledger begins it", ErrNone)
	}
	b := begun[at]
	a = Acceptance{Event: b.id, Origin: b.event.Origin, Size: b.index + 1, From: b.index}
	for _, m := range b.event.Missing {
		a.From = min(a.From, m.From)
	}
	if claim.From >= 0 {
		a.From = min(a.From, claim.From)
	}
	if remembered != nil {
		c, err := ParseCheckpoint(remembered)
		if err != nil {
			return a, fmt.Errorf("the outside memory: %w", err)
		}
		if !slices.ContainsFunc(begun[at:], func(b succession) bool { return b.event.Origin == c.Origin }) {
			a.Previous = c.Note
		}
	}
	if a.Kept, err = keptCheckpoint(ctx, q, a, claim.Keys); err != nil {
		return a, err
	}
	a.Root, err = RootOf(ctx, q, a.Size)
	return a, err
}

// keptCheckpoint is the last one that covers only what isn't said to be lost: that
// of the memory, or one in the ledger that a known key has signed. It must hold.
func keptCheckpoint(ctx context.Context, q ledger.Querier, a Acceptance, keys Keys) (string, error) {
	kept, err := ParseCheckpoint([]byte(a.Previous))
	if err != nil || kept.Size > a.From {
		if kept, err = lastSigned(ctx, q, a.From, keys); err != nil || kept.Note == "" {
			return "", err
		}
	}
	if err := Check(ctx, q, kept); err != nil {
		return "", fmt.Errorf("before index %d, where the loss is said to begin: %w", a.From, err)
	}
	return kept.Note, nil
}

// lastSigned is the ledger's last checkpoint of up to size events that a key has
// signed; Note is "" without any.
func lastSigned(ctx context.Context, q ledger.Querier, size int64, keys Keys) (Checkpoint, error) {
	rows, err := q.Query(ctx, `SELECT note FROM ledger.checkpoints WHERE size <= $1 ORDER BY size DESC`, size)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("look for a checkpoint from before: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return Checkpoint{}, fmt.Errorf("look for a checkpoint from before: %w", err)
		}
		if c, err := Open([]byte(text), keys); err == nil && c.Size <= size {
			return c, nil
		}
	}
	if err := rows.Err(); err != nil {
		return Checkpoint{}, fmt.Errorf("look for a checkpoint from before: %w", err)
	}
	return Checkpoint{}, nil
}
