package verify_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"
	"golang.org/x/mod/sumdb/tlog"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
	"manti/ledger/verify"
)

const origin = "test/ledger"

func newID[I ~[16]byte]() I {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return domain.NewID[I](time.Now(), random)
}

func salt() (s domain.Salt) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

// fullCall has a value in every column.
func fullCall() *domain.RequestCompleted {
	at, price, credential := now(), newID[domain.EventID](), newID[domain.CredentialID]()
	call := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Org: newID[domain.OrgID](), Project: newID[domain.ProjectID](), Key: newID[domain.KeyID](), User: newID[domain.UserID](), Service: newID[domain.ServiceID](),
			Dialect: "openai", Endpoint: "chat.completions", Stream: true, AskedModel: "gpt-4o", Model: "gpt-4o-2024-08-06", Tier: "default",
			FirstByte: at.Add(80 * time.Millisecond), FirstToken: at.Add(100 * time.Millisecond), Ended: at.Add(time.Second),
			Outcome: domain.Unknown, Status: 502, Error: domain.CodeUpstream, Provenance: domain.Estimated, Estimator: "e1",
			Charge: domain.Price{Amount: dec("0.005875"), Currency: domain.USD, Version: price}, Held: dec("0.25"),
		},
		Private: domain.RequestPrivate{
			Provider: "openai", Host: "api.openai.com", Region: "eu", Credential: credential,
			Cost: domain.Price{Amount: dec("0.0047"), Currency: domain.USD, Version: price},
			Attempts: []domain.Attempt{{Provider: "openai", Host: "api.openai.com", Model: "gpt-4o-2024-08-06", Credential: credential, RequestID: "req_0123456789abcdef",
				Started: at, FirstByte: at.Add(80 * time.Millisecond), Ended: at.Add(time.Second), Status: 200, Cost: dec("0.0047")}},
			RawUsage:     domain.RawJSON(`{"prompt_tokens":1500,"completion_tokens":250,"total_tokens":1750,"prompt_tokens_details":{"cached_tokens":300}}`),
			RouteVersion: "r1", ConfigVersion: "c1", Replica: "a", Spool: newID[domain.SpoolID](), Epoch: 3, Flags: []string{domain.FlagUnpriced, domain.FlagOverHold},
		},
		Erasable: domain.RequestErasable{EndUser: "user-17", Session: "s1", Client: "openai-python/1.2.3", Trace: "0af7651916cd43dd8448eb211c80319c",
			Tags: map[string]string{"team": "a", "cost centre": "é\"17"}, ServedModel: "gpt-x", ErrorText: "boom"},
	}
	for m := range domain.MeterCount {
		call.Usage[m] = int64(m + 1)
	}
	return call
}

// plainCall is a call as most are.
func plainCall() *domain.RequestCompleted {
	call := fullCall()
	call.User, call.Service, call.Error, call.Estimator, call.Held = domain.UserID{}, domain.ServiceID{}, "", "", decimal.Decimal{}
	call.Outcome, call.Status, call.Provenance = domain.Completed, 200, domain.Reported
	call.Usage = domain.Metered{domain.InputTokens: 1200, domain.CacheReadTokens: 300, domain.OutputTokens: 250}
	call.Private.Region, call.Private.Flags = "", nil
	call.Erasable = domain.RequestErasable{EndUser: "user-17", Client: "openai-python/1.2.3"}
	return call
}

func encode(t testing.TB, e domain.Event) domain.Encoded {
	t.Helper()
	if e.ID.IsZero() {
		e.ID = newID[domain.EventID]()
	}
	if e.At.IsZero() {
		e.At = now()
	}
	enc, err := domain.Encode(e, salt(), salt())
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func mustAppend(t testing.TB, l *ledger.Ledger, events ...domain.Encoded) ledger.Result {
	t.Helper()
	res, err := l.Append(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Indexes of the events of a test's ledger.
const (
	plainEvents = 300 // from 0 on; more than a tile
	fullEvent   = plainEvents
	correction  = plainEvents + 1
	forgotten   = 17 // an event whose erasable part was erased
	answered    = 309
	sealedSize  = 311
	bookSize    = 313
)

// A book is a ledger with all kinds of events, sealed, and what an auditor has.
type book struct {
	database *dbtest.Database
	super    *pgxpool.Pool
	signer   *seal.Signer
	keys     seal.Keys
	memory   *seal.Dir
	outside  []byte            // the last checkpoint
	accepted []seal.Acceptance // the losses that the operator accepted
}

func newSigner(t testing.TB) *seal.Signer {
	t.Helper()
	key, err := seal.NewKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.ParseSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// newBook fills a database: events of all kinds, a correction, a rejected record
// with its answer, an erasure; then it seals twice, and appends some that stay
// unsealed.
func newBook(t testing.TB) *book {
	t.Helper()
	b := &book{database: dbtest.Open(t, dbtest.Options{}), signer: newSigner(t)}
	b.keys = seal.Keys{}.With(b.signer)
	b.super = b.database.Pool(t, "")
	var err error
	if b.memory, err = seal.OpenDir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	l := ledger.New(b.database.Pool(t, db.RoleWriter))
	var calls []domain.Encoded
	for range plainEvents {
		calls = append(calls, encode(t, domain.Event{Body: plainCall()}))
	}
	mustAppend(t, l, calls[:200]...)
	b.seal(t)
	mustAppend(t, l, calls[200:]...)
	full := encode(t, domain.Event{Body: fullCall(), Author: "system:test"})
	corrected := fullCall()
	corrected.Supersedes, corrected.Request = full.ID, full.ID
	mustAppend(t, l, full, encode(t, domain.Event{Author: "operator:me", Body: &domain.UsageCorrected{Call: *corrected, Basis: domain.Manual, Reason: "because"}}))
	org, project := newID[domain.OrgID](), newID[domain.ProjectID]()
	key := newID[domain.KeyID]()
	for _, body := range []domain.Body{
		&domain.OrgCreated{Org: org, Erasable: domain.Named{Name: "an organisation"}},
		&domain.ProjectCreated{Org: org, Project: project, Erasable: domain.Named{Name: "a project"}},
		&domain.KeyIssued{Org: org, Project: project, Key: key, Private: domain.KeySecret{Hash: strings.Repeat("ab", 32), Hint: "wxyz"}, Erasable: domain.Named{Name: "a key"}},
		&domain.KeyRevoked{Org: org, Project: project, Key: key},
		&domain.PersonForgotten{Indexes: []int64{forgotten}, Through: 303},
		&domain.OriginStarted{Origin: origin, Size: 309, Cause: "a test"},
	} {
		mustAppend(t, l, encode(t, domain.Event{Author: "operator:me", Body: body}))
	}
	b.accept(t, origin)
	b.exec(t, `CREATE TABLE public.kept AS SELECT * FROM ledger.erasable WHERE index = 17`)
	b.exec(t, `DELETE FROM ledger.erasable WHERE index = $1`, forgotten)
	b.reject(t, l)
	mustAppend(t, l, encode(t, domain.Event{Body: plainCall()}))
	b.seal(t)
	mustAppend(t, l, encode(t, domain.Event{Body: plainCall()}), encode(t, domain.Event{Body: plainCall()}))
	b.exec(t, `INSERT INTO ledger.spools (id, epoch, replica, last_seen) VALUES (gen_random_uuid(), 1, 'a', now())`)
	if n := b.count(t, `SELECT size FROM ledger.head`); n != bookSize {
		t.Fatalf("the book has %d events", n)
	}
	return b
}

// reject lets the ledger refuse a record, and answers it.
func (b *book) reject(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	broken := encode(t, domain.Event{Body: plainCall()})
	twice := encode(t, domain.Event{ID: broken.ID, Body: plainCall()})
	mustAppend(t, l, broken, twice)
	digest := sha256.Sum256(twice.AppendRecord(nil))
	answer := encode(t, domain.Event{Author: "operator:me", Body: &domain.RejectionAnswered{Digest: hex.EncodeToString(digest[:]), Cause: "sent twice"}})
	mustAppend(t, l, answer)
	b.exec(t, `INSERT INTO ledger.answers (digest, by) VALUES ($1, $2)`, digest[:], [16]byte(answer.ID))
}

// accept is the operator's word, outside of the database, that an origin may begin.
func (b *book) accept(t testing.TB, name string) {
	t.Helper()
	if _, err := b.memory.Accept(t.Context(), b.super, seal.Claim{Origin: name, From: -1, Keys: b.keys}); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.accepted, err = b.memory.Accepted(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *book) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	if _, err := b.super.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (b *book) count(t testing.TB, query string, args ...any) (n int64) {
	t.Helper()
	if err := b.super.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// seal signs the ledger as it is.
func (b *book) seal(t testing.TB) {
	t.Helper()
	c := sealed(t, b.super, b.signer)
	b.outside = []byte(c.Note)
	b.exec(t, `INSERT INTO ledger.checkpoints (size, note) VALUES ($1, $2)`, c.Size, c.Note)
}

// sealed writes the full tiles of the leaves as they are stored, and signs their
// root. It is written apart from what seals in earnest.
func sealed(t testing.TB, q *pgxpool.Pool, signer *seal.Signer) seal.Checkpoint {
	t.Helper()
	ctx := context.Background()
	rows, err := q.Query(ctx, `SELECT leaf FROM ledger.events ORDER BY index`)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	stored := []tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	for i, leaf := range leaves {
		more, err := tlog.StoredHashesForRecordHash(int64(i), tlog.Hash(leaf), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	for level := 0; len(leaves)>>(8*(level+1)) > 0; level++ {
		for tile := range len(leaves) >> (8 * (level + 1)) {
			const insert = `INSERT INTO ledger.tiles (level, tile, width, hashes) VALUES ($1, $2, 256, $3) ON CONFLICT DO NOTHING`
			var hashes []byte
			for i := range 256 {
				h := stored[tlog.StoredHashIndex(8*level, int64(256*tile+i))]
				hashes = append(hashes, h[:]...)
			}
			if _, err := q.Exec(ctx, insert, level, tile, hashes); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, err := tlog.TreeHash(int64(len(leaves)), reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := signer.Sign(seal.Checkpoint{Origin: signer.Name(), Size: int64(len(leaves)), Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// config is what an auditor of the book verifies with.
func (b *book) config(pool *pgxpool.Pool) verify.Config {
	return verify.Config{Pool: pool, Keys: b.keys, Outside: b.outside, OutsideSource: "the test", Accepted: b.accepted, Workers: 2}
}

// check verifies the book's own database.
func (b *book) check(t testing.TB, change func(*verify.Config)) verify.Report {
	t.Helper()
	cfg := b.config(b.database.Pool(t, db.RoleAuditor))
	if change != nil {
		change(&cfg)
	}
	report, err := verify.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func lines(r verify.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}
