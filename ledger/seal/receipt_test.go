package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
)

// sealed is a ledger of some calls with a checkpoint over all of them.
type sealed struct {
	pool   *pgxpool.Pool
	signer *seal.Signer
	prover *seal.Prover
	calls  []domain.Encoded
}

func newSealed(t testing.TB, n int) *sealed {
	t.Helper()
	s := &sealed{pool: dbtest.New(t), signer: newSigner(t, origin)}
	s.prover = seal.NewProver(s.pool)
	s.calls = appendCalls(t, s.pool, n)
	s.seal(t)
	return s
}

func (s *sealed) seal(t testing.TB) {
	t.Helper()
	mustPass(t, newSealer(t, seal.Config{Pool: s.pool, Signer: s.signer, Memory: &memory{}}))
}

func (s *sealed) prove(t testing.TB, id domain.EventID) seal.Proof {
	t.Helper()
	call, err := s.prover.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := s.prover.Prove(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// What we hand out convinces a verifier that we didn't write, and nothing else
// does.
func TestReceiptConvincesAnotherVerifier(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 300)
	v, err := note.NewVerifier(s.signer.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v))
	for _, i := range []int{0, 1, 255, 256, 299} {
		p := s.prove(t, s.calls[i].ID)
		text := p.Text()
		entry, err := torchwood.ProofExtraData(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), text); err != nil {
			t.Errorf("receipt %d: %v", i, err)
		}
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(append(entry, 0)), text); err == nil {
			t.Errorf("receipt %d proves another entry", i)
		}
		if !bytes.Contains(entry, s.calls[i].Public) {
			t.Errorf("receipt %d lacks the public part", i)
		}
		if bytes.Contains(entry, []byte(`"sim"`)) {
			t.Errorf("receipt %d shows who served", i)
		}
	}
}

// Tiles are read by a client that we didn't write, down to the root that was
// signed.
func TestTilesConvinceAnotherClient(t *testing.T) {
	t.Parallel()
	base := dbtest.Open(t, dbtest.Options{})
	super, pool := base.Pool(t, ""), base.Pool(t, "manti_writer")
	fakeLeaves(t, super, 66_000)
	c := mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: newSigner(t, origin), Memory: &memory{}}))
	prover := seal.NewProver(pool)
	reader := tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Root}, tiles{t, prover})
	for _, n := range []int64{0, 40_000, 65_999} {
		proof, err := tlog.ProveRecord(c.Size, n, reader)
		if err == nil {
			err = tlog.CheckRecord(proof, c.Size, c.Root, n, fakeLeaf(n))
		}
		if err != nil {
			t.Errorf("leaf %d: %v", n, err)
		}
	}
	fakeLeaves(t, super, 66_100) // behind the checkpoint
	for _, path := range []string{"", "0", "0/258", "0/257.p/209", "0/x001/000", "1/001.p/2", "2/000.p/2", "3/000.p/1", "8/000.p/1", "64/000", "data/000", "entries/000", "0/000.p/256", "0/0", "-1/000"} {
		if _, err := prover.Tile(t.Context(), path); !errors.Is(err, seal.ErrNoTile) {
			t.Errorf("tile %q: got error %v, want %v", path, err, seal.ErrNoTile)
		}
	}
	for _, path := range []string{"0/000", "0/000.p/17", "0/257.p/208", "0/257.p/3", "1/000", "1/001.p/1", "2/000.p/1"} {
		if _, err := prover.Tile(t.Context(), path); err != nil {
			t.Errorf("tile %q: %v", path, err)
		}
	}
}

// tiles hands a Prover's tiles to package tlog.
type tiles struct {
	t      *testing.T
	prover *seal.Prover
}

func (r tiles) Height() int { return 8 }

func (r tiles) ReadTiles(all []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(all))
	for i, tile := range all {
		var err error
		if data[i], err = r.prover.Tile(r.t.Context(), strings.TrimPrefix(tile.Path(), "tile/8/")); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (r tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func TestReceiptIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 20)
	p := s.prove(t, s.calls[7].ID)
	r, err := seal.ParseReceipt(p.Text())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Text(), p.Text()) || r.Index != 7 || !bytes.Equal(r.Public(), s.calls[7].Public) {
		t.Errorf("got %+v", r)
	}
	entries, err := ledger.Read(t.Context(), s.pool, 7, 1)
	if err != nil || !r.RecordedAt().Equal(entries[0].RecordedAt) {
		t.Errorf("recorded at %v, %v, want %v", r.RecordedAt(), err, entries[0].RecordedAt)
	}
	if err := r.Verify(seal.Keys{}.With(s.signer)); err != nil {
		t.Error(err)
	}
	call, err := s.prover.Find(t.Context(), s.calls[7].ID)
	if err != nil {
		t.Fatal(err)
	}
	salt, part, err := s.prover.Private(t.Context(), call)
	if err != nil || !bytes.Equal(part, s.calls[7].Private) {
		t.Fatalf("private part %q, %v", part, err)
	}
	if err := r.VerifyPrivate(salt, part); err != nil {
		t.Error(err)
	}
	if err := r.VerifyPrivate(salt, append(part, ' ')); !errors.Is(err, seal.ErrUnproved) {
		t.Errorf("another private part: got error %v", err)
	}
}

// Whatever is changed in a receipt, it proves nothing any more.
func TestForgedReceiptIsRefused(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 20)
	p := s.prove(t, s.calls[7].ID)
	text, keys := string(p.Text()), seal.Keys{}.With(s.signer)
	line := func(n int) string { return strings.Split(text, "\n")[n] }
	cheaper := bytes.Replace(p.Entry, []byte(`"amount":"0.01"`), []byte(`"amount":"0.00"`), 1)
	if bytes.Equal(cheaper, p.Entry) {
		t.Fatal("there is no amount to forge")
	}
	tests := []struct {
		name, text string
		want       error
	}{
		{"genuine", text, nil},
		{"other charge", strings.Replace(text, line(1), "extra "+base64.StdEncoding.EncodeToString(cheaper), 1), seal.ErrUnproved},
		{"other index", strings.Replace(text, "index 7\n", "index 6\n", 1), seal.ErrUnproved},
		{"index behind the size", strings.Replace(text, "index 7\n", "index 20\n", 1), seal.ErrUnproved},
		{"a hash missing", strings.Replace(text, line(3)+"\n", "", 1), seal.ErrUnproved},
		{"a hash twice", strings.Replace(text, line(3), line(3)+"\n"+line(3), 1), seal.ErrUnproved},
		{"no proof", strings.Replace(text, strings.Join(strings.Split(text, "\n")[3:8], "\n")+"\n", "", 1), seal.ErrUnproved},
		{"other size", strings.Replace(text, "\n20\n", "\n21\n", 1), seal.ErrUnknownKey},
		{"other key", strings.Replace(text, p.Checkpoint.Note, mustSign(t, newSigner(t, origin), 20, p.Checkpoint.Root).Note, 1), seal.ErrUnknownKey},
		{"other header", strings.Replace(text, "@v1", "@v2", 1), seal.ErrMalformed},
		{"no entry", strings.Replace(text, line(1)+"\n", "", 1), seal.ErrMalformed},
		{"short entry", strings.Replace(text, line(1), "extra AAAA", 1), seal.ErrMalformed},
		{"index 07", strings.Replace(text, "index 7\n", "index 07\n", 1), seal.ErrMalformed},
		{"unsigned", text[:strings.LastIndex(text, "—")], seal.ErrMalformed},
		{"cut", text[:100], seal.ErrMalformed},
		{"empty", "", seal.ErrMalformed},
		{"CRLF", strings.ReplaceAll(text, "\n", "\r\n"), seal.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.want != nil && tt.text == text {
				t.Fatal("nothing was changed")
			}
			r, err := seal.ParseReceipt([]byte(tt.text))
			if err == nil {
				err = r.Verify(keys)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReceiptOfWhatIsNotSealed(t *testing.T) {
	t.Parallel()
	pool, signer := dbtest.New(t), newSigner(t, origin)
	prover, m := seal.NewProver(pool), &memory{}
	if _, err := prover.Find(t.Context(), newID[domain.EventID]()); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("got error %v, want %v", err, ledger.ErrNotFound)
	}
	for range 2 {
		id := appendCalls(t, pool, 1)[0].ID
		call, err := prover.Find(t.Context(), id)
		if err != nil || call.Org != org || call.Project != project || call.Key != key {
			t.Fatalf("got %+v, %v", call, err)
		}
		if _, err := prover.Prove(t.Context(), call); !errors.Is(err, seal.ErrNotSealed) {
			t.Errorf("got error %v, want %v", err, seal.ErrNotSealed)
		}
		mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: signer, Memory: m}))
		if _, err := prover.Prove(t.Context(), call); err != nil {
			t.Error(err)
		}
	}
}

// A receipt is of the event that was asked for; what replaced it is named once
// it is sealed too, and has a receipt of its own.
func TestReceiptOfACorrectedCall(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	id := s.calls[1].ID
	correction := call(t, id)
	appendAll(t, s.pool, correction)
	if p := s.prove(t, id); !p.SupersededBy.IsZero() || p.Index != 1 {
		t.Errorf("index %d is superseded by %v before that is sealed", p.Index, p.SupersededBy)
	}
	s.seal(t)
	if p := s.prove(t, id); p.SupersededBy != correction.ID || p.Index != 1 {
		t.Errorf("index %d is superseded by %v, want %v", p.Index, p.SupersededBy, correction.ID)
	}
	if p := s.prove(t, correction.ID); !p.SupersededBy.IsZero() || p.Index != 3 {
		t.Errorf("the correction: index %d, superseded by %v", p.Index, p.SupersededBy)
	}
}

// An entry or a tile that was edited under a checkpoint gives no receipt.
func TestEditedLedgerGivesNoReceipt(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"entry": `ALTER TABLE ledger.events_00000 DISABLE TRIGGER ALL; UPDATE ledger.events SET recorded_at = recorded_at + interval '1 s' WHERE index = 1`,
		"tile":  `ALTER TABLE ledger.tiles DISABLE TRIGGER ALL; UPDATE ledger.tiles SET hashes = sha256('x') || substring(hashes FROM 33)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := dbtest.Open(t, dbtest.Options{})
			super, pool := base.Pool(t, ""), base.Pool(t, "manti_writer")
			calls := appendCalls(t, pool, 300)
			mustPass(t, newSealer(t, seal.Config{Pool: pool, Signer: newSigner(t, origin), Memory: &memory{}}))
			if _, err := super.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
			prover := seal.NewProver(pool)
			call, err := prover.Find(t.Context(), calls[1].ID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := prover.Prove(t.Context(), call); !errors.Is(err, seal.ErrInconsistent) {
				t.Errorf("got error %v, want %v", err, seal.ErrInconsistent)
			}
		})
	}
}

func FuzzParseReceipt(f *testing.F) {
	signer := newSigner(f, origin)
	entry := append(make([]byte, 8), `{}`+strings.Repeat("\x00", 64)...)
	leaf := tlog.RecordHash(entry)
	one := seal.Receipt{Entry: entry, Checkpoint: mustSign(f, signer, 1, leaf)}
	two := seal.Receipt{Index: 1, Entry: entry, Proof: tlog.RecordProof{leaf}, Checkpoint: mustSign(f, signer, 2, tlog.NodeHash(leaf, leaf))}
	f.Add(one.Text())
	f.Add(two.Text())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := seal.ParseReceipt(text)
		if err != nil {
			if !errors.Is(err, seal.ErrMalformed) {
				t.Errorf("got error %v", err)
			}
			return
		}
		if got := r.Text(); !bytes.Equal(got, text) {
			t.Errorf("%q is read as %q", text, got)
		}
		_ = r.Verify(seal.Keys{}.With(signer)) // of either result, but never a panic
		_, _ = r.Public(), r.RecordedAt()
	})
}
