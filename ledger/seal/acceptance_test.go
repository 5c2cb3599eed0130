package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger/seal"
)

const (
	triggersOff = `DO $$ DECLARE part regclass; BEGIN
			FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('ledger.events'::regclass, 'ledger.ids'::regclass)
				UNION ALL VALUES ('ledger.head'::regclass), ('ledger.checkpoints') LOOP
				EXECUTE 'ALTER TABLE ' || part || ' DISABLE TRIGGER ALL';
			END LOOP;
		END $$;`
	cutToFive = `DELETE FROM ledger.ids WHERE index >= 5; DELETE FROM ledger.events WHERE index >= 5; DELETE FROM ledger.checkpoints WHERE size > 5;
		UPDATE ledger.head SET size = 5;`
	// editTheFourth is an edit of a sealed event, and of the leaf that is stored.
	editTheFourth = `UPDATE ledger.events SET leaf = sha256('edited') WHERE index = 3;`
)

func mustAccept(t testing.TB, m *seal.Dir, pool *pgxpool.Pool, claim seal.Claim) seal.Acceptance {
	t.Helper()
	a, err := m.Accept(t.Context(), pool, claim)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustExec(t testing.TB, super *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := super.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// A lossy ledger has 5 events that are sealed and had 9 that were; where the rest
// was an OriginStarted stands.
type lossy struct {
	super       *pgxpool.Pool
	memory      *seal.Dir
	cfg         seal.Config
	first, last seal.Checkpoint
}

func newLossy(t *testing.T, alsoDone string) lossy {
	t.Helper()
	base, m := dbtest.Open(t, dbtest.Options{}), openDir(t, t.TempDir())
	l := lossy{super: base.Pool(t, ""), memory: m}
	pool := base.Pool(t, "manti_writer")
	l.cfg = seal.Config{Pool: pool, Signer: newSigner(t, origin), Memory: m}
	s := newSealer(t, l.cfg)
	appendCalls(t, pool, 5)
	l.first = mustPass(t, s)
	appendCalls(t, pool, 4)
	l.last = mustPass(t, s)
	mustExec(t, l.super, triggersOff+cutToFive+alsoDone)
	begin(t, l.super, domain.OriginStarted{Origin: origin + "#2", Previous: l.last.Note, Size: 5, Missing: []domain.IndexRange{{From: 5, To: 9}}, Cause: "maintenance"})
	return l
}

func (l *lossy) keys() seal.Keys { return seal.Keys{}.With(l.cfg.Signer) }

// refuses sees to it that nothing is signed and nothing forgotten.
func (l *lossy) refuses(t *testing.T) {
	t.Helper()
	if _, err := newSealer(t, l.cfg).Pass(t.Context()); !errors.Is(err, seal.ErrInconsistent) {
		t.Errorf("got error %v, want %v", err, seal.ErrInconsistent)
	}
	if text, err := l.memory.Load(t.Context()); err != nil || string(text) != l.last.Note {
		t.Errorf("the memory has %q, %v", text, err)
	}
}

// Whoever can write to the database but not to the outside memory gets no edit
// signed by an event that says a loss was accepted: neither by the event alone,
// nor by an edit below what was signed, nor after the operator's word.
func TestForgedLoss(t *testing.T) {
	t.Parallel()
	t.Run("the event alone", func(t *testing.T) {
		t.Parallel()
		l := newLossy(t, editTheFourth+`DELETE FROM ledger.checkpoints`)
		l.refuses(t)
	})
	t.Run("an edit of what isn't lost", func(t *testing.T) {
		t.Parallel()
		l := newLossy(t, editTheFourth)
		if _, err := l.memory.Accept(t.Context(), l.super, seal.Claim{Origin: origin + "#2", From: -1, Keys: l.keys()}); !errors.Is(err, seal.ErrInconsistent) {
			t.Errorf("accepted: %v", err)
		}
		l.refuses(t)
	})
	t.Run("an edit after it was accepted", func(t *testing.T) {
		t.Parallel()
		l := newLossy(t, ``)
		mustAccept(t, l.memory, l.super, seal.Claim{Origin: origin + "#2", From: -1, Keys: l.keys()})
		mustExec(t, l.super, editTheFourth+`DELETE FROM ledger.checkpoints`)
		l.refuses(t)
	})
	t.Run("a second one, after the first was signed", func(t *testing.T) {
		t.Parallel()
		l := newLossy(t, ``)
		mustAccept(t, l.memory, l.super, seal.Claim{Origin: origin + "#2", From: -1, Keys: l.keys()})
		s := newSealer(t, l.cfg)
		mustPass(t, s)
		appendCalls(t, l.super, 3)
		l.last = mustPass(t, s)
		mustExec(t, l.super, `DELETE FROM ledger.ids WHERE index >= 8; DELETE FROM ledger.events WHERE index >= 8; DELETE FROM ledger.checkpoints WHERE size > 5; UPDATE ledger.head SET size = 8`)
		l.refuses(t)
		begin(t, l.super, domain.OriginStarted{Origin: origin + "#3", Previous: l.last.Note, Size: 8, Cause: "maintenance"})
		l.refuses(t)
	})
}

// What was accepted is in the directory for ever, with the checkpoints from before.
func TestAccept(t *testing.T) {
	t.Parallel()
	l := newLossy(t, ``)
	claim := seal.Claim{Origin: origin + "#2", From: -1, Keys: l.keys()}
	if _, err := l.memory.Accept(t.Context(), l.super, seal.Claim{Origin: origin + "#7"}); !errors.Is(err, seal.ErrNone) {
		t.Errorf("an origin that never began: got error %v", err)
	}
	a := mustAccept(t, l.memory, l.super, claim)
	if a.Size != 6 || a.From != 5 || a.Previous != l.last.Note || a.Kept != l.first.Note {
		t.Errorf("got %+v", a)
	}
	if again := mustAccept(t, l.memory, l.super, claim); again != a {
		t.Errorf("the second time: %+v, then %+v", a, again)
	}
	c := mustPass(t, newSealer(t, l.cfg))
	if c.Origin != origin+"#2" || c.Size != 6 {
		t.Errorf("signed: %v", c)
	}
	if later := mustAccept(t, l.memory, l.super, claim); later.Previous != "" {
		t.Errorf("what is signed under the new name may be replaced: %+v", later)
	}
	if all, err := l.memory.Accepted(t.Context()); err != nil || len(all) != 2 || !cmp.Equal(all[0], a) {
		t.Errorf("kept: %+v, %v", all, err)
	}
	if err := os.WriteFile(filepath.Join(l.memory.Path(), "accepted"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newSealer(t, l.cfg).Pass(t.Context()); !errors.Is(err, seal.ErrMalformed) {
		t.Errorf("a damaged file: got error %v", err)
	}
}

// Where the ledger went another way before it, From says since when; without keys
// nothing of the database is kept.
func TestAcceptAnotherWay(t *testing.T) {
	t.Parallel()
	l := newLossy(t, editTheFourth)
	a := mustAccept(t, l.memory, l.super, seal.Claim{Origin: origin + "#2", From: 3, Keys: l.keys()})
	if a.From != 3 || a.Kept != "" {
		t.Errorf("got %+v", a)
	}
	if _, err := newSealer(t, l.cfg).Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "5 events") {
		t.Errorf("the ledger's own checkpoint isn't held against it: %v", err)
	}
	whole := newLossy(t, ``)
	if a := mustAccept(t, whole.memory, whole.super, seal.Claim{Origin: origin + "#2", From: -1}); a.Kept != "" {
		t.Errorf("kept without a key: %+v", a)
	}
}

// The keys are those of all names, the ledger's first.
func TestSealerKeys(t *testing.T) {
	t.Parallel()
	l := newLossy(t, ``)
	s := newSealer(t, l.cfg)
	own := l.cfg.Signer.VerifierKey()
	if _, err := s.Pass(t.Context()); err == nil || !cmp.Equal(s.Keys().Texts(), []string{own}) {
		t.Errorf("before it was accepted: %q, %v", s.Keys().Texts(), err)
	}
	mustAccept(t, l.memory, l.super, seal.Claim{Origin: origin + "#2", From: -1, Keys: l.keys()})
	c := mustPass(t, s)
	renamed, err := l.cfg.Signer.As(c.Origin)
	if err != nil || !cmp.Equal(s.Keys().Texts(), []string{renamed.VerifierKey(), own}) {
		t.Errorf("after: %q, %v", s.Keys().Texts(), err)
	}
}
