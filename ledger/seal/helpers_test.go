package seal_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"
	"golang.org/x/mod/sumdb/tlog"

	"manti/domain"
	"manti/ledger"
)

func newID[I ~[16]byte]() I {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return domain.NewID[I](time.Now(), random)
}

var org, project, key = newID[domain.OrgID](), newID[domain.ProjectID](), newID[domain.KeyID]()

// call is an event about a call; superseding, if it isn't zero, what it replaces.
func call(t testing.TB, superseding domain.EventID) domain.Encoded {
	t.Helper()
	price := domain.Price{Amount: decimal.New(1, -2), Currency: domain.USD}
	body := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Request: superseding, Supersedes: superseding, Org: org, Project: project, Key: key, Model: "m", Outcome: domain.Completed,
			Provenance: domain.Reported, Charge: price,
		},
		Private: domain.RequestPrivate{Provider: "sim", Cost: price},
	}
	var salts [2]domain.Salt
	for i := range salts {
		_, _ = rand.Read(salts[i][:]) // never fails
	}
	at := time.Now().UTC().Truncate(time.Microsecond)
	enc, err := domain.Encode(domain.Event{ID: newID[domain.EventID](), At: at, Body: body}, salts[0], salts[1])
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

// appendCalls appends n calls, in batches of up to 1000, and returns them.
func appendCalls(t testing.TB, pool *pgxpool.Pool, n int) []domain.Encoded {
	t.Helper()
	all := make([]domain.Encoded, n)
	for i := range all {
		all[i] = call(t, domain.EventID{})
	}
	for rest := all; len(rest) > 0; {
		batch := rest[:min(len(rest), 1000)]
		appendAll(t, pool, batch...)
		rest = rest[len(batch):]
	}
	return all
}

func appendAll(t testing.TB, pool *pgxpool.Pool, events ...domain.Encoded) {
	t.Helper()
	res, err := ledger.New(pool).Append(t.Context(), events)
	if err != nil || res.Appended != len(events) {
		t.Fatalf("append: %+v %v", res, err)
	}
}

// reference is the ledger's tree as package tlog builds it, leaf by leaf.
type reference struct{ hashes []tlog.Hash }

func newReference(t testing.TB, pool *pgxpool.Pool) *reference {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT recorded_at, canonical FROM ledger.events ORDER BY index`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	r := &reference{}
	for n := int64(0); rows.Next(); n++ {
		var at time.Time
		var canonical []byte
		if err := rows.Scan(&at, &canonical); err != nil {
			t.Fatal(err)
		}
		more, err := tlog.StoredHashes(n, domain.LogEntry(at, canonical), r)
		if err != nil {
			t.Fatal(err)
		}
		r.hashes = append(r.hashes, more...)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reference) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		all[i] = r.hashes[index]
	}
	return all, nil
}

func (r *reference) root(t testing.TB, size int64) tlog.Hash {
	t.Helper()
	h, err := tlog.TreeHash(size, r)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// fakeLeaves puts events into an empty ledger that are nothing but leaves, many
// in little time. Only a superuser can.
func fakeLeaves(t testing.TB, super *pgxpool.Pool, n int64) {
	t.Helper()
	const partitions = `SELECT ledger.make_partitions($1)`
	const insert = `INSERT INTO ledger.events (index, recorded_at, at, id, v, control, kind, leaf, canonical)
		SELECT i, 'epoch'::timestamptz + i * interval '1 microsecond', 'epoch', gen_random_uuid(), 1, false, 'Fake', sha256(int8send(i)), ''
		FROM generate_series((SELECT size FROM ledger.head), $1::bigint - 1) i`
	const head = `UPDATE ledger.head SET size = $1`
	ctx := t.Context()
	if _, err := super.Exec(ctx, partitions, n); err != nil {
		t.Fatal(err)
	}
	tx, err := super.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // committed, unless the test has failed
	for _, q := range []struct {
		sql  string
		args []any
	}{{`SET LOCAL statement_timeout = 0`, nil}, {insert, []any{n}}, {head, []any{n}}} {
		if _, err := tx.Exec(ctx, q.sql, q.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

func fakeLeaf(i int64) tlog.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// fakeReference is the tree over n fake leaves.
func fakeReference(t testing.TB, n int64) *reference {
	t.Helper()
	r := &reference{}
	for i := range n {
		more, err := tlog.StoredHashesForRecordHash(i, fakeLeaf(i), r)
		if err != nil {
			t.Fatal(err)
		}
		r.hashes = append(r.hashes, more...)
	}
	return r
}
