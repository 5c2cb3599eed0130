package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/backup"
)

// A restored ledger is what was backed up, row by row, and goes on behind it.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	source := dbtest.Open(t, dbtest.Options{})
	pool := source.Pool(t, db.RoleWriter)
	l := ledger.New(pool)
	fill(t, l, pool)
	file := write(t, pool)
	want := contents(t, source.Pool(t, ""))
	appendCalls(t, l, 3) // behind the backup

	target := dbtest.Open(t, dbtest.Options{})
	m, err := backup.Restore(t.Context(), target.Pool(t, db.RoleOwner), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, contents(t, target.Pool(t, ""))); diff != "" {
		t.Errorf("restored (-backed up +restored):\n%s", diff)
	}
	if size := int64(len(want["ledger.events"])); m.Size() != size {
		t.Errorf("the manifest tells of %d events, there are %d", m.Size(), size)
	}
	res, err := ledger.New(target.Pool(t, db.RoleWriter)).Append(t.Context(), calls(t, 2))
	if err != nil || res.Appended != 2 || res.Size != m.Size()+2 {
		t.Errorf("append to the restored ledger: %+v, %v", res, err)
	}
}

// While others append, a backup has a beginning of the ledger, whole.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	appended := make(chan struct{}, 1000)
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := l.Append(ctx, calls(t, 5)); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			select {
			case appended <- struct{}{}:
			default:
			}
		}
	})
	for range 3 {
		<-appended
	}
	file := write(t, pool)
	stop()
	wg.Wait()

	target := dbtest.Open(t, dbtest.Options{})
	m, err := backup.Restore(t.Context(), target.Pool(t, db.RoleOwner), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	got := contents(t, target.Pool(t, ""))
	if m.Size() < 15 || len(got["ledger.events"]) != int(m.Size()) || len(got["ledger.ids"]) != int(m.Size()) || len(got["ledger.erasable"]) != int(m.Size()) {
		t.Errorf("head at %d, %d events, %d ids, %d erasable parts", m.Size(), len(got["ledger.events"]), len(got["ledger.ids"]), len(got["ledger.erasable"]))
	}
}

// Damage anywhere is found, and nothing of a damaged file stays.
func TestDamaged(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	fill(t, ledger.New(pool), pool)
	file := write(t, pool)
	entries := unpack(t, file)
	without := func(name string) []byte {
		return pack(t, slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.name == name }))
	}
	changed := func(name, old, new string) []byte {
		all := slices.Clone(entries)
		for i, e := range all {
			if e.name == name {
				all[i].content = bytes.Replace(e.content, []byte(old), []byte(new), 1)
				if bytes.Equal(all[i].content, e.content) {
					t.Fatalf("%s has no %q", name, old)
				}
			}
		}
		return pack(t, all)
	}
	const events = "ledger.events/000000.copy"
	row, _, _ := bytes.Cut(content(entries, events), []byte("\n"))
	tests := map[string][]byte{
		"empty":               nil,
		"no gzip":             []byte("-- a dump of something else"),
		"no manifest":         without("manifest.json"),
		"no end":              without("end.json"),
		"cut short":           file[:len(file)/2],
		"last byte gone":      file[:len(file)-1],
		"a table gone":        without(events),
		"a row gone":          changed(events, string(row)+"\n", ""),
		"a value changed":     changed(events, "gpt-4o", "gpt-4p"),
		"another end":         changed("end.json", `"rows": `, `"rows": 1`),
		"more behind the end": pack(t, append(slices.Clone(entries), entry{"more", nil})),
	}
	target := dbtest.Open(t, dbtest.Options{})
	before := contents(t, target.Pool(t, ""))
	for name, file := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := backup.Restore(t.Context(), target.Pool(t, db.RoleOwner), bytes.NewReader(file)); !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("restore: %v", err)
			}
			if _, err := backup.Check(bytes.NewReader(file)); !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("check: %v", err)
			}
			if diff := cmp.Diff(before, contents(t, target.Pool(t, ""))); diff != "" {
				t.Errorf("something was left behind:\n%s", diff)
			}
		})
	}
	if m, err := backup.Check(bytes.NewReader(pack(t, entries))); err != nil || m.Size() == 0 {
		t.Errorf("the whole file: %v", err)
	}
}

// A ledger that is in use is never overwritten, and a newer schema isn't guessed at.
func TestRefused(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	appendCalls(t, l, 2)
	file := write(t, pool)
	entries := unpack(t, file)
	edit := func(old, new string) []byte {
		all := slices.Clone(entries)
		all[0].content = bytes.Replace(all[0].content, []byte(old), []byte(new), 1)
		return pack(t, all)
	}
	tests := map[string]struct {
		file []byte
		used bool
		want error
		text string
	}{
		"in use":           {file: file, used: true, want: backup.ErrNotEmpty, text: "1 events"},
		"newer schema":     {file: edit(`"migrations": [`, `"migrations": ["9999",`), want: backup.ErrNewer, text: "9999"},
		"a column more":    {file: edit(`"recorded_at",`, `"recorded_at","later",`), want: backup.ErrNewer, text: "later"},
		"a table more":     {file: edit(`"name": "events"`, `"name": "novelties"`), want: backup.ErrNewer, text: "novelties"},
		"of a newer manti": {file: edit(`"format": 1`, `"format": 2`), text: "use a newer manti"},
	}
	fresh, used := dbtest.Open(t, dbtest.Options{}), dbtest.Open(t, dbtest.Options{})
	appendCalls(t, ledger.New(used.Pool(t, db.RoleWriter)), 1)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			target := fresh
			if test.used {
				target = used
			}
			before := contents(t, target.Pool(t, ""))
			_, err := backup.Restore(t.Context(), target.Pool(t, db.RoleOwner), bytes.NewReader(test.file))
			if test.want != nil && !errors.Is(err, test.want) || err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.text)
			}
			if diff := cmp.Diff(before, contents(t, target.Pool(t, ""))); diff != "" {
				t.Errorf("something was changed:\n%s", diff)
			}
		})
	}
}

// A table of more than a piece comes back whole.
func TestPieces(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	for range 5 {
		appendCalls(t, l, 400)
	}
	file := write(t, pool)
	if n := len(unpack(t, file)); !slices.ContainsFunc(unpack(t, file), func(e entry) bool { return e.name == "ledger.events/000001.copy" }) {
		t.Fatalf("%d entries, none is a second piece of events", n)
	}
	target := dbtest.Open(t, dbtest.Options{})
	if _, err := backup.Restore(t.Context(), target.Pool(t, db.RoleOwner), bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contents(t, pool), contents(t, target.Pool(t, ""))); diff != "" {
		t.Error(diff)
	}
}

// fill leaves something in each table that appends and commands write.
func fill(t *testing.T, l *ledger.Ledger, pool *pgxpool.Pool) {
	t.Helper()
	first := calls(t, 20)
	if _, err := l.Append(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	correction := newCall("a\\b\n\tc\u2028\x01")
	correction.Supersedes, correction.Request = first[0].ID, first[0].ID
	forged := encode(t, newCall("forged"))
	forged.ID = first[1].ID
	org := encode(t, &domain.OrgCreated{Org: newID[domain.OrgID]()})
	if res, err := l.Append(t.Context(), []domain.Encoded{encode(t, correction), forged, org}); err != nil || res.Appended != 2 || len(res.Rejected) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO manti.settings (name, value) VALUES ('secret_check', 'x')`); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"ledger.events", "ledger.ids", "ledger.erasable", "ledger.supersedes", "ledger.rejected", "manti.settings"} {
		if n := len(contents(t, pool)[table]); n == 0 {
			t.Fatalf("%s is empty: nothing is tested with it", table)
		}
	}
}

func write(t *testing.T, pool *pgxpool.Pool) []byte {
	t.Helper()
	var file bytes.Buffer
	if _, err := backup.Write(t.Context(), pool, &file, "test"); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func appendCalls(t *testing.T, l *ledger.Ledger, n int) {
	t.Helper()
	if res, err := l.Append(t.Context(), calls(t, n)); err != nil || res.Appended != n {
		t.Fatalf("%+v, %v", res, err)
	}
}

func calls(t *testing.T, n int) []domain.Encoded {
	t.Helper()
	all := make([]domain.Encoded, n)
	for i := range all {
		all[i] = encode(t, newCall(fmt.Sprint("user-", i)))
	}
	return all
}

func newCall(user string) *domain.RequestCompleted {
	return &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Org: newID[domain.OrgID](), Project: newID[domain.ProjectID](), Dialect: "openai", Endpoint: "chat.completions",
			AskedModel: "gpt-4o", Model: "gpt-4o", Outcome: domain.Completed, Status: 200, Provenance: domain.Reported,
			Usage:  domain.Metered{domain.InputTokens: 12},
			Charge: domain.Price{Amount: decimal.RequireFromString("0.000030"), Currency: domain.USD, Version: newID[domain.EventID]()},
		},
		Private: domain.RequestPrivate{
			Provider: "openai", Host: "api.openai.com", Flags: []string{domain.FlagRepaired, "a,\"b\""},
			Cost: domain.Price{Amount: decimal.RequireFromString("0.000030"), Currency: domain.USD, Version: newID[domain.EventID]()},
		},
		Erasable: domain.RequestErasable{EndUser: user, Tags: map[string]string{"team": "a"}},
	}
}

func encode(t *testing.T, body domain.Body) domain.Encoded {
	t.Helper()
	var salts [2]domain.Salt
	for i := range salts {
		_, _ = rand.Read(salts[i][:]) // never fails
	}
	e := domain.Event{ID: newID[domain.EventID](), At: time.Now().UTC().Truncate(time.Microsecond), Body: body}
	if !e.Body.Kind().IsControl() {
		e.Author = ""
	} else {
		e.Author = "system:test"
	}
	enc, err := domain.Encode(e, salts[0], salts[1])
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func newID[I ~[16]byte]() I {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return domain.NewID[I](time.Now(), random)
}

// contents are the rows of all tables that a backup must have, as JSON, sorted.
func contents(t *testing.T, pool *pgxpool.Pool) map[string][]string {
	t.Helper()
	const tables = `SELECT relnamespace::regnamespace::text || '.' || relname FROM pg_class
		WHERE relkind IN ('r', 'p') AND NOT relispartition AND (relnamespace::regnamespace::text IN ('ledger', 'escrow') OR oid = 'manti.settings'::regclass)`
	rows, err := pool.Query(t.Context(), tables)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, name := range names {
		rows, err := pool.Query(t.Context(), `SELECT to_jsonb(r)::text FROM `+name+` r ORDER BY 1`)
		if err != nil {
			t.Fatal(err)
		}
		if all[name], err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 8 {
		t.Fatalf("only %v", slices.Collect(maps.Keys(all)))
	}
	return all
}

type entry struct {
	name    string
	content []byte
}

func unpack(t *testing.T, file []byte) (all []entry) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(zip); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{header.Name, content})
	}
}

func pack(t *testing.T, all []entry) []byte {
	t.Helper()
	var file bytes.Buffer
	zip := gzip.NewWriter(&file)
	w := tar.NewWriter(zip)
	for _, e := range all {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Mode: 0o600, Size: int64(len(e.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func content(all []entry, name string) []byte {
	for _, e := range all {
		if e.name == name {
			return e.content
		}
	}
	return nil
}
