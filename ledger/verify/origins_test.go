package verify_test

import (
	"strings"
	"testing"

	"manti/db"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
	"manti/ledger/verify"
)

// newAttacked is a ledger whose sealed event 150 an attacker has edited, who then
// has cut its last events and put an event there that says a loss was accepted. As
// it would be if a sealer had believed that, it is signed under the new name.
func newAttacked(t *testing.T, statements ...string) (*book, *seal.Signer) {
	t.Helper()
	b := newBook(t)
	for _, s := range append([]string{triggersOff}, statements...) {
		b.exec(t, s)
	}
	b.exec(t, `DELETE FROM ledger.erasable WHERE index >= 312`)
	b.exec(t, `DELETE FROM ledger.ids WHERE index >= 312`)
	b.exec(t, `DELETE FROM ledger.events WHERE index >= 312`)
	b.exec(t, `UPDATE ledger.head SET size = 312, recorded_at = (SELECT recorded_at FROM ledger.events WHERE index = 311)`)
	b.exec(t, triggersOn)
	forged := domain.OriginStarted{Origin: origin + "#2", Previous: string(b.outside), Size: 312, Missing: []domain.IndexRange{{From: 312, To: 313}}, Cause: "maintenance"}
	mustAppend(t, ledger.New(b.database.Pool(t, db.RoleWriter)), encode(t, domain.Event{Author: "operator:me", Body: &forged}))
	signer, err := b.signer.As(origin + "#2")
	if err != nil {
		t.Fatal(err)
	}
	b.keys = b.keys.With(signer)
	return b, signer
}

const editAndRehash = `UPDATE ledger.events SET recorded_at = recorded_at + interval '0', canonical = convert_to(replace(convert_from(substr(canonical, 1, length(canonical) - 64), 'UTF8'), '"amount":"0.005875"', '"amount":"0.000875"'), 'UTF8') || substr(canonical, length(canonical) - 63), charge = 0.000875 WHERE index = 150`

// An edit that was signed under a new origin is never Proven without the
// operator's word outside of the database, and what it hides is named.
func TestForgedLoss(t *testing.T) {
	t.Parallel()
	b, signer := newAttacked(t, editAndRehash, rehash, `DELETE FROM ledger.tiles`, `DELETE FROM ledger.checkpoints`)
	c := sealed(t, b.super, signer)
	b.exec(t, `INSERT INTO ledger.checkpoints (size, note) VALUES ($1, $2)`, c.Size, c.Note)
	genuine := b.outside
	b.outside = []byte(c.Note)
	check := func(name string, accepted []seal.Acceptance) verify.Report {
		t.Helper()
		r := b.check(t, func(cfg *verify.Config) { cfg.Accepted = accepted })
		if r.Proven() || strings.Join(r.Unaccepted, " ") == "" {
			t.Errorf("%s: proven %v, unaccepted %q:\n%s", name, r.Proven(), r.Unaccepted, lines(r))
		}
		return r
	}
	r := check("a memory that was fooled", nil)
	if r.Wrong != 0 || !strings.Contains(strings.Join(r.Notes, "\n"), "no signature made before "+origin+"#2 began vouches for events 0 to 311") {
		t.Errorf("notes %q:\n%s", r.Notes, lines(r))
	}
	if r := check("an earlier loss that was accepted", b.accepted); r.Wrong == 0 {
		t.Error("the edit of what was accepted passes")
	}
	b.outside = genuine
	if r := check("the memory as it was", nil); r.Wrong == 0 {
		t.Error("the edit of what is signed outside passes")
	}
}

// A loss that was accepted outside of the database is as good as none; until it is
// signed, verify says so; and what was accepted is held fast.
func TestAcceptedLoss(t *testing.T) {
	t.Parallel()
	b, signer := newAttacked(t)
	if err := b.memory.Swap(t.Context(), nil, b.outside); err != nil {
		t.Fatal(err)
	}
	b.accept(t, origin+"#2")
	if r := b.check(t, nil); r.Wrong != 0 || r.Proven() || r.Unsigned != origin+"#2" || r.Outside >= 0 {
		t.Errorf("before it is signed: %+v", r)
	}
	c := sealed(t, b.super, signer)
	b.exec(t, `INSERT INTO ledger.checkpoints (size, note) VALUES ($1, $2)`, c.Size, c.Note)
	b.outside = []byte(c.Note)
	r := b.check(t, nil)
	if notes := strings.Join(r.Notes, "\n"); r.Wrong != 0 || !r.Proven() || r.Unsigned != "" || !strings.Contains(notes, "vouches for events 311 to 311; they are what was accepted") {
		t.Errorf("signed: %+v", r)
	}
	b.exec(t, triggersOff)
	b.exec(t, `DELETE FROM ledger.checkpoints WHERE size < 313`)
	b.exec(t, triggersOn)
	if r := b.check(t, nil); !r.Proven() || !strings.Contains(strings.Join(r.Notes, "\n"), "events 311 to 311") {
		t.Errorf("the checkpoint that is kept outside isn't used: %+v", r)
	}
}
