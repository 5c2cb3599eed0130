package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
)

// memory is an outside memory whose swaps can be made to fail, before or after
// they have happened.
type memory struct {
	mu            sync.Mutex
	text          []byte // guarded by mu
	before, after error  // guarded by mu; what the next Swap ends with
}

func (m *memory) Load(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text, nil
}

func (*memory) Accepted(context.Context) ([]seal.Acceptance, error) { return nil, nil }

func (m *memory) Swap(_ context.Context, old, text []byte) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err, m.before = m.before, nil; err != nil {
		return err
	}
	if !bytes.Equal(old, m.text) {
		return seal.ErrChanged
	}
	err, m.after = m.after, nil
	m.text = text
	return err
}

func newSealer(t testing.TB, cfg seal.Config) *seal.Sealer {
	t.Helper()
	s, err := seal.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPass(t testing.TB, s *seal.Sealer) seal.Checkpoint {
	t.Helper()
	c, err := s.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkSealed holds what stands in the ledger and in the memory against the
// leaves: each checkpoint is of their tree, and the memory has seen the last.
func checkSealed(t testing.TB, pool *pgxpool.Pool, m seal.Memory, keys seal.Keys, size int64) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT size, note FROM ledger.checkpoints ORDER BY size`)
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	for rows.Next() {
		var size int64
		var note string
		if err := rows.Scan(&size, &note); err != nil {
			t.Fatal(err)
		}
		if c, err := seal.Open([]byte(note), keys); err != nil || c.Size != size {
			t.Errorf("checkpoint %d: %v %v", size, c, err)
		}
		notes = append(notes, note)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	last := seal.Checkpoint{}
	for _, note := range notes {
		if last, err = seal.ParseCheckpoint([]byte(note)); err != nil {
			t.Fatal(err)
		}
		if err := seal.Check(t.Context(), pool, last); err != nil {
			t.Error(err)
		}
	}
	if last.Size != size {
		t.Errorf("the last checkpoint covers %d events, want %d", last.Size, size)
	}
	if text, err := m.Load(t.Context()); err != nil || string(text) != last.Note {
		t.Errorf("the memory has %q, %v, want %q", text, err, last.Note)
	}
}

func TestPassSealsWhatIsThere(t *testing.T) {
	t.Parallel()
	pool, m, signer := dbtest.New(t), openDir(t, t.TempDir()), newSigner(t, origin)
	s := newSealer(t, seal.Config{Pool: pool, Signer: signer, Memory: m})
	if c := mustPass(t, s); c.Note != "" {
		t.Errorf("an empty ledger is sealed: %v", c)
	}
	size := int64(0)
	for _, n := range []int{1, 300, 1, 0, 256} {
		appendCalls(t, pool, n)
		size += int64(n)
		if c := mustPass(t, s); c.Size != size || c.Origin != origin {
			t.Errorf("got %v, want %d events", c, size)
		}
		checkSealed(t, pool, m, seal.Keys{}.With(signer), size)
	}
	if name, err := seal.CurrentOrigin(t.Context(), pool); err != nil || name != origin {
		t.Errorf("the origin is %q, %v, want %q", name, err, origin)
	}
	if c := mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: signer, Memory: m, Origin: origin})); c.Size != size {
		t.Errorf("a new process seals %v", c)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.checkpoints`); n != 4 {
		t.Errorf("%d checkpoints for 4 sizes", n)
	}
}

func count(t testing.TB, pool *pgxpool.Pool, query string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Whoever sits at the database can change everything in it; what was signed
// before is then not in what there is to sign.
func TestPassRefusesWhatIsInconsistent(t *testing.T) {
	t.Parallel()
	const unguard = `SET session_replication_role = replica; ALTER TABLE ledger.%[1]s DISABLE TRIGGER ALL; `
	tests := []struct {
		name string
		sql  string
		want error
	}{
		{"nothing", ``, nil},
		{"the last leaf edited", fmt.Sprintf(unguard, "events_00000") + `UPDATE ledger.events SET leaf = sha256('x') WHERE index = 299`, seal.ErrInconsistent},
		{"a leaf of the last tile edited", fmt.Sprintf(unguard, "events_00000") + `UPDATE ledger.events SET leaf = sha256('x') WHERE index = 256`, seal.ErrInconsistent},
		{"a tile edited", fmt.Sprintf(unguard, "tiles") + `UPDATE ledger.tiles SET hashes = sha256('x') || substring(hashes FROM 33)`, seal.ErrInconsistent},
		{"the last event taken out", fmt.Sprintf(unguard, "events_00000") + `DELETE FROM ledger.events WHERE index = 299`, seal.ErrBehind},
		{"an older copy", fmt.Sprintf(unguard, "events_00000") + fmt.Sprintf(unguard, "head") + fmt.Sprintf(unguard, "checkpoints") +
			`DELETE FROM ledger.events WHERE index >= 280; UPDATE ledger.head SET size = 280; DELETE FROM ledger.checkpoints WHERE size > 270`, seal.ErrBehind},
		{"an older copy that has grown", fmt.Sprintf(unguard, "events_00000") + fmt.Sprintf(unguard, "checkpoints") +
			`UPDATE ledger.events SET leaf = sha256('x') WHERE index >= 280; DELETE FROM ledger.checkpoints WHERE size > 270`, seal.ErrInconsistent},
		{"a checkpoint edited", fmt.Sprintf(unguard, "checkpoints") + `UPDATE ledger.checkpoints SET note = replace(note, E'\n300\n', E'\n301\n')`, seal.ErrUnknownKey},
		{"a checkpoint put in", `INSERT INTO ledger.checkpoints (size, note) VALUES (301, '` + mustSign(t, newSigner(t, origin), 301, emptyRoot(t)).Note + `')`, seal.ErrUnknownKey},
		{"the head frozen", `UPDATE ledger.head SET frozen = true, reason = 'ledger behind: a test'`, ledger.ErrFrozen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := dbtest.Open(t, dbtest.Options{})
			super, pool := base.Pool(t, ""), base.Pool(t, "manti_writer")
			m := &memory{}
			cfg := seal.Config{Pool: pool, Signer: newSigner(t, origin), Memory: m}
			running := newSealer(t, cfg)
			appendCalls(t, pool, 270)
			mustPass(t, running)
			appendCalls(t, pool, 30)
			mustPass(t, running)
			before := string(m.text)
			if _, err := super.Exec(t.Context(), tt.sql); err != nil {
				t.Fatal(err)
			}
			if tt.want == nil || tt.want == seal.ErrInconsistent { //nolint:errorlint // which of the table's it is
				appendCalls(t, super, 10)
			}
			sealers := map[string]*seal.Sealer{"a new process": newSealer(t, cfg), "one that runs": running}
			if tt.name == "a tile edited" {
				delete(sealers, "one that runs") // which has no need to read what it wrote
			}
			for name, s := range sealers {
				if _, err := s.Pass(t.Context()); !errors.Is(err, tt.want) {
					t.Errorf("%s: got error %v, want %v", name, err, tt.want)
				}
			}
			if tt.want != nil && (string(m.text) != before || count(t, super, `SELECT count(*) FROM ledger.checkpoints`) > 3) {
				t.Errorf("something was signed: %q", m.text)
			}
		})
	}
}

var errBroken = errors.New("broken on purpose")

// A process may die between any two steps; the next pass, of any process, goes
// on from there, and the memory has always seen what the ledger shows.
func TestPassGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		fail func(t *testing.T, m *memory, super *pgxpool.Pool)
		mend string
	}{
		{"before the memory is swapped", func(_ *testing.T, m *memory, _ *pgxpool.Pool) { m.before = errBroken }, ``},
		{"after the memory was swapped", func(_ *testing.T, m *memory, _ *pgxpool.Pool) { m.after = errBroken }, ``},
		{"before the ledger has it", func(t *testing.T, _ *memory, super *pgxpool.Pool) {
			if _, err := super.Exec(t.Context(), `REVOKE INSERT ON ledger.checkpoints FROM manti_writer`); err != nil {
				t.Fatal(err)
			}
		}, `GRANT INSERT ON ledger.checkpoints TO manti_writer`},
		{"before the tiles are there", func(t *testing.T, _ *memory, super *pgxpool.Pool) {
			if _, err := super.Exec(t.Context(), `REVOKE INSERT ON ledger.tiles FROM manti_writer`); err != nil {
				t.Fatal(err)
			}
		}, `GRANT INSERT ON ledger.tiles TO manti_writer`},
	}
	for _, tt := range tests {
		for _, grown := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, grown since: %t", tt.name, grown), func(t *testing.T) {
				t.Parallel()
				base := dbtest.Open(t, dbtest.Options{})
				super, pool := base.Pool(t, ""), base.Pool(t, "manti_writer")
				m := &memory{}
				cfg := seal.Config{Pool: pool, Signer: newSigner(t, origin), Memory: m}
				appendCalls(t, pool, 200)
				mustPass(t, newSealer(t, cfg))
				appendCalls(t, pool, 100)
				tt.fail(t, m, super)
				dying := newSealer(t, cfg)
				if _, err := dying.Pass(t.Context()); err == nil {
					t.Fatal("nothing is broken")
				}
				if n := count(t, pool, `SELECT max(size) FROM ledger.checkpoints`); n != 200 {
					t.Errorf("the ledger shows a checkpoint of %d events", n)
				}
				if _, err := super.Exec(t.Context(), tt.mend); err != nil {
					t.Fatal(err)
				}
				size := int64(300)
				if grown {
					appendCalls(t, pool, 7)
					size = 307
				}
				mustPass(t, newSealer(t, cfg))
				checkSealed(t, pool, m, seal.Keys{}.With(cfg.Signer), size)
				mustPass(t, dying)
				checkSealed(t, pool, m, seal.Keys{}.With(cfg.Signer), size)
			})
		}
	}
}

// Many who seal one ledger, with one memory or with one each, under load: all
// that they sign is one history.
func TestManySealersDoNoHarm(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared memory: %t", shared), func(t *testing.T) {
			t.Parallel()
			pool, signer := dbtest.New(t), newSigner(t, origin)
			path := t.TempDir()
			done := make(chan struct{})
			var wg sync.WaitGroup
			for i := range 3 {
				cfg := seal.Config{Pool: pool, Signer: signer, Memory: openDir(t, path)}
				if !shared {
					cfg.Memory = openDir(t, fmt.Sprintf("%s/%d", path, i))
				}
				s := newSealer(t, cfg)
				wg.Go(func() {
					for ended := false; !ended; {
						select {
						case <-done:
							ended = true // one more pass
						default:
						}
						if _, err := s.Pass(t.Context()); err != nil && !errors.Is(err, seal.ErrNone) {
							t.Error(err)
							return
						}
					}
				})
			}
			for range 30 {
				appendCalls(t, pool, 40)
			}
			close(done)
			wg.Wait()
			m := openDir(t, path)
			if !shared {
				m = openDir(t, path+"/0")
			}
			mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: signer, Memory: m}))
			checkSealed(t, pool, m, seal.Keys{}.With(signer), 1200)
		})
	}
}

// overtaken is a memory in which another sealer is faster.
type overtaken struct {
	*memory
	before func()
}

func (o *overtaken) Load(ctx context.Context) ([]byte, error) {
	o.before()
	return o.memory.Load(ctx)
}

// What another one has signed since a pass began isn't taken for a ledger that is
// behind.
func TestSealerThatIsOvertaken(t *testing.T) {
	t.Parallel()
	pool, m, signer := dbtest.New(t), &memory{}, newSigner(t, origin)
	faster := newSealer(t, seal.Config{Pool: pool, Signer: signer, Memory: m})
	slower := newSealer(t, seal.Config{Pool: pool, Signer: signer, Memory: &overtaken{m, func() {
		appendCalls(t, pool, 3)
		mustPass(t, faster)
	}}})
	if c := mustPass(t, slower); c.Size != 3 {
		t.Errorf("got %v, want 3 events", c)
	}
	checkSealed(t, pool, m, seal.Keys{}.With(signer), 3)
}

// After a rotation the new key signs on where the old one ended; without the old
// one's verifier key nothing is signed.
func TestRotation(t *testing.T) {
	t.Parallel()
	pool, m := dbtest.New(t), &memory{}
	first, second := newSigner(t, origin), newSigner(t, origin)
	appendCalls(t, pool, 5)
	mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: first, Memory: m}))
	appendCalls(t, pool, 5)
	if _, err := newSealer(t, seal.Config{Pool: pool, Signer: second, Memory: m}).Pass(t.Context()); !errors.Is(err, seal.ErrUnknownKey) || !strings.Contains(err.Error(), "MANTI_SEAL_OLD_KEYS") {
		t.Errorf("without the old key: got error %v", err)
	}
	c := mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: second, Memory: m, Old: mustKeys(t, first.VerifierKey())}))
	if _, err := seal.Open([]byte(c.Note), seal.Keys{}.With(second)); err != nil || c.Size != 10 {
		t.Errorf("the new key signs %v, %v", c, err)
	}
	checkSealed(t, pool, m, seal.Keys{}.With(first).With(second), 10)
}

// An origin is for ever, but for a loss that was accepted.
func TestOrigin(t *testing.T) {
	t.Parallel()
	pool, m, signer := dbtest.New(t), openDir(t, t.TempDir()), newSigner(t, origin)
	appendCalls(t, pool, 5)
	lost := mustSign(t, signer, 9, emptyRoot(t))
	if err := m.Swap(t.Context(), nil, []byte(lost.Note)); err != nil {
		t.Fatal(err)
	}
	cfg := seal.Config{Pool: pool, Signer: signer, Memory: m}
	s := newSealer(t, cfg)
	if _, err := s.Pass(t.Context()); !errors.Is(err, seal.ErrBehind) {
		t.Errorf("got error %v, want %v", err, seal.ErrBehind)
	}
	for name, cfg := range map[string]seal.Config{
		"other setting": {Pool: pool, Signer: signer, Memory: m, Origin: "example.com/other"},
		"other key":     {Pool: pool, Signer: newSigner(t, "example.com/other"), Memory: m},
	} {
		if _, err := newSealer(t, cfg).Pass(t.Context()); err == nil || !strings.Contains(err.Error(), origin) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	begin(t, pool, domain.OriginStarted{Origin: origin + "/2", Previous: mustSign(t, signer, 8, emptyRoot(t)).Note, Size: 5, Cause: "not what was signed"})
	if _, err := s.Pass(t.Context()); !errors.Is(err, seal.ErrInconsistent) {
		t.Errorf("a new origin that doesn't name what was signed: got error %v", err)
	}
	begin(t, pool, domain.OriginStarted{Origin: origin + "/3", Previous: lost.Note, Size: 6, Cause: "the disk is gone"})
	if _, err := s.Pass(t.Context()); !errors.Is(err, seal.ErrInconsistent) || !strings.Contains(err.Error(), "manti seal --accept "+origin+"/3") {
		t.Errorf("a new origin that nobody accepted: got error %v", err)
	}
	mustAccept(t, m, pool, seal.Claim{Origin: origin + "/3", From: -1})
	for name, s := range map[string]*seal.Sealer{"one that runs": s, "a new process": newSealer(t, cfg)} {
		if c := mustPass(t, s); c.Origin != origin+"/3" || c.Size != 7 {
			t.Errorf("%s: got %v", name, c)
		}
	}
	renamed, err := signer.As(origin + "/3")
	if err != nil {
		t.Fatal(err)
	}
	checkSealed(t, pool, m, seal.Keys{}.With(renamed), 7)
	if name, err := seal.CurrentOrigin(t.Context(), pool); err != nil || name != origin+"/3" {
		t.Errorf("the origin is %q, %v", name, err)
	}
}

// A new origin may begin at an index that a running sealer has seen taken.
func TestOriginWithinWhatWasSeen(t *testing.T) {
	t.Parallel()
	base, m := dbtest.Open(t, dbtest.Options{}), openDir(t, t.TempDir())
	super, pool := base.Pool(t, ""), base.Pool(t, "manti_writer")
	s := newSealer(t, seal.Config{Pool: pool, Signer: newSigner(t, origin), Memory: m})
	appendCalls(t, pool, 5)
	mustPass(t, s)
	appendCalls(t, pool, 4)
	lost := mustPass(t, s)
	if _, err := super.Exec(t.Context(), triggersOff+cutToFive); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pass(t.Context()); !errors.Is(err, seal.ErrBehind) {
		t.Errorf("got error %v, want %v", err, seal.ErrBehind)
	}
	begin(t, super, domain.OriginStarted{Origin: origin + "/2", Previous: lost.Note, Size: 5, Cause: "the disk is gone"})
	appendCalls(t, super, 10)
	mustAccept(t, m, super, seal.Claim{Origin: origin + "/2", From: -1})
	if c := mustPass(t, s); c.Origin != origin+"/2" || c.Size != 16 {
		t.Errorf("got %v", c)
	}
}

func begin(t *testing.T, pool *pgxpool.Pool, body domain.OriginStarted) {
	t.Helper()
	enc, err := domain.Encode(domain.Event{ID: newID[domain.EventID](), At: time.Now().UTC().Truncate(time.Microsecond), Author: "operator:test", Body: &body}, domain.Salt{}, domain.Salt{})
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, pool, enc)
}

func TestProgress(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	p, err := seal.NewProgress(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(want int64) {
		t.Helper()
		if err := p.Look(t.Context()); err != nil || p.Sealed() != want {
			t.Errorf("sealed %d, %v, want %d", p.Sealed(), err, want)
		}
	}
	check(-1)
	appendCalls(t, pool, 5)
	check(-1)
	mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: newSigner(t, origin), Memory: &memory{}}))
	check(5)
}
