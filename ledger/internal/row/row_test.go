package row_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger/internal/row"
)

var recordedAt = time.UnixMicro(1_700_000_000_123_456).UTC()

func id[I ~[16]byte](n byte) I { return I{0x01, 0x8b, 15: n} }

// call has every field that a call can have.
func call() *domain.RequestCompleted {
	at := recordedAt.Add(-time.Second)
	c := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Request: id[domain.EventID](1), Supersedes: id[domain.EventID](2), Org: id[domain.OrgID](3), Project: id[domain.ProjectID](4), Key: id[domain.KeyID](5),
			User: id[domain.UserID](6), Service: id[domain.ServiceID](7), Dialect: "openai", Endpoint: "chat.completions", Stream: true,
			AskedModel: "gpt", Model: "gpt-4", Tier: "default", FirstByte: at, FirstToken: at, Ended: at, Outcome: domain.Completed, Status: 200,
			Error: domain.CodeUpstream, Provenance: domain.Reported, Estimator: "e-1",
			Charge: domain.Price{Amount: decimal.RequireFromString("123456789012345678901234567890.123456789012345678"), Currency: domain.USD, Version: id[domain.EventID](8)},
			Held:   decimal.RequireFromString("0.000000000000000001"),
		},
		Private: domain.RequestPrivate{
			Provider: "openai", Host: "api", Region: "eu", Credential: id[domain.CredentialID](9),
			Cost:     domain.Price{Amount: decimal.RequireFromString("10000"), Currency: domain.USD, Version: id[domain.EventID](8)},
			Attempts: []domain.Attempt{{RequestID: "req_1"}, {RequestID: "req_2"}}, RouteVersion: "r", ConfigVersion: "c", Replica: "a",
			Spool: id[domain.SpoolID](10), Epoch: 3, Flags: []string{"a", `b,"c`},
		},
		Erasable: domain.RequestErasable{EndUser: "u", Session: "s", Client: "c", Trace: "t", ServedModel: "m", ErrorText: "e",
			Tags: map[string]string{"bb": "é\u2028😀</script>", "a": "\b\f\n\r\t\x01\x1f\"\\/", "ccc": "", "aa": "x", "zé": "\x7f"}},
	}
	for m := range c.Usage {
		c.Usage[m] = int64(m) + 1
	}
	return c
}

func encode(t testing.TB, e domain.Event) domain.Encoded {
	t.Helper()
	e.At = recordedAt
	enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

// events are of every shape that the columns tell apart.
func events(t testing.TB) []domain.Encoded {
	zero := &domain.RequestCompleted{}
	zero.Charge.Currency, zero.Private.Cost.Currency = domain.XTS, domain.XTS
	trailing := call()
	trailing.Charge.Amount = decimal.RequireFromString("1.500")
	bodies := []domain.Body{
		call(), zero, trailing,
		&domain.UsageCorrected{Call: *call(), Basis: domain.Manual, Reason: "by hand"},
		&domain.PersonForgotten{User: id[domain.UserID](6), Indexes: []int64{1}, Through: 3},
		&domain.OriginStarted{Origin: "manti/2", Cause: "the disk"},
		&domain.OrgCreated{Org: id[domain.OrgID](1), Erasable: domain.Named{Name: "Acme"}},
		&domain.ProjectCreated{Org: id[domain.OrgID](1), Project: id[domain.ProjectID](2)},
		&domain.KeyIssued{Org: id[domain.OrgID](1), Key: id[domain.KeyID](2), Private: domain.KeySecret{Hash: "ab"}},
		&domain.PricesPublished{Number: 1, Private: &domain.PriceBook{Source: strings.Repeat("prices ", 2000)}},
	}
	all := make([]domain.Encoded, len(bodies))
	for i, body := range bodies {
		all[i] = encode(t, domain.Event{ID: id[domain.EventID](byte(100 + i)), Author: "operator:ada", Body: body})
	}
	return all
}

func rows(t testing.TB, all []domain.Encoded, mem *row.Arena) []row.Row {
	t.Helper()
	made := make([]row.Row, len(all))
	for i, enc := range all {
		var err error
		if made[i], err = row.New(enc, mem); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// What Postgres gives back is what was made, byte for byte, column by column.
func TestStoredRowsComeBackAsTheyWereMade(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	made := rows(t, events(t), new(row.Arena))
	copyFrom(t, pool, row.CopyIDs, row.IDs(made, 7))
	copyFrom(t, pool, row.CopyEvents, row.Events(made, 7, recordedAt))
	copyFrom(t, pool, row.CopyErasable, row.Erasable(made, 7))

	got := copyTo(t, pool, `COPY (SELECT `+row.EventColumns+` FROM ledger.events ORDER BY index) TO STDOUT (FORMAT binary)`)
	erasable := copyTo(t, pool, `COPY (SELECT `+row.ErasableColumns+` FROM ledger.erasable ORDER BY index) TO STDOUT (FORMAT binary)`)
	for i := range made {
		r := &made[i]
		checkFields(t, row.EventColumns, got[i], r.AppendEvent(nil, int64(7+i), recordedAt))
		if r.HasErasable() {
			checkFields(t, row.ErasableColumns, erasable[0], r.AppendErasable(nil, int64(7+i)))
			erasable = erasable[1:]
		}
	}
	if len(erasable) > 0 {
		t.Errorf("%d rows of ledger.erasable too many", len(erasable))
	}
}

// A row made from what is stored is the row that was stored, also without the
// part that was erased.
func TestRowsOfStoredEvents(t *testing.T) {
	t.Parallel()
	mem := new(row.Arena)
	for i, r := range rows(t, events(t), mem) {
		enc := r.Encoded
		enc.Erasable, enc.ErasableSalt = nil, domain.Salt{}
		again, err := row.Stored(enc, r.Canonical, mem)
		if err != nil {
			t.Fatal(err)
		}
		checkFields(t, row.EventColumns, split(t, again.AppendEvent(nil, 1, recordedAt)), r.AppendEvent(nil, 1, recordedAt))
		if again.HasErasable() || again.AppendErasable(nil, 1) != nil {
			t.Errorf("event %d: an erased part has columns", i)
		}
	}
}

// Whoever compares the columns misses none.
func TestColumnsAreAllThatThereAre(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	for table, columns := range map[string]string{"events": row.EventColumns, "erasable": row.ErasableColumns, "ids": row.IDColumns} {
		var all []string
		const query = `SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = ('ledger.' || $1)::regclass AND attnum > 0 AND NOT attisdropped`
		if err := pool.QueryRow(t.Context(), query, table).Scan(&all); err != nil {
			t.Fatal(err)
		}
		names := row.Names(columns)
		slices.Sort(all)
		slices.Sort(names)
		if !slices.Equal(all, names) {
			t.Errorf("ledger.%s has %v, the list has %v", table, all, names)
		}
	}
}

// A correction has the columns of a call, whose figures it carries anew.
func TestCorrectionsHaveACallsColumns(t *testing.T) {
	t.Parallel()
	made := rows(t, []domain.Encoded{
		encode(t, domain.Event{ID: id[domain.EventID](1), Body: call()}),
		encode(t, domain.Event{ID: id[domain.EventID](1), Body: &domain.UsageCorrected{Call: *call(), Basis: domain.Rerate}}),
	}, new(row.Arena))
	asCall, asCorrection := split(t, made[0].AppendEvent(nil, 1, recordedAt)), split(t, made[1].AppendEvent(nil, 1, recordedAt))
	for i, name := range row.Names(row.EventColumns) {
		differs := slices.Contains([]string{"kind", "leaf", "canonical", "private"}, name)
		if (asCall[i] == asCorrection[i]) == differs {
			t.Errorf("column %s: a call has %q, its correction %q", name, asCall[i], asCorrection[i])
		}
	}
	if made[1].Supersedes != made[0].Supersedes || made[1].Supersedes.IsZero() {
		t.Errorf("the correction supersedes %s", made[1].Supersedes)
	}
}

// However much is asked for at a time, the data is the same.
func TestReadersGiveTheSameInAnyPieces(t *testing.T) {
	t.Parallel()
	made := rows(t, events(t), new(row.Arena))
	whole, err := io.ReadAll(row.Events(made, 7, recordedAt))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 3, 1000} {
		got := new(bytes.Buffer)
		if _, err := io.CopyBuffer(struct{ io.Writer }{got}, row.Events(made, 7, recordedAt), make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), whole) {
			t.Errorf("read by %d: other data", size)
		}
	}
	if row.Erasable(made[1:2], 0) != nil {
		t.Error("rows without erasable parts have data")
	}
}

func copyFrom(t *testing.T, pool *pgxpool.Pool, statement string, data io.Reader) {
	t.Helper()
	err := pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		_, err := c.Conn().PgConn().CopyFrom(t.Context(), data, statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyTo returns rows of fields.
func copyTo(t *testing.T, pool *pgxpool.Pool, statement string) (rows [][]string) {
	t.Helper()
	var out bytes.Buffer
	err := pool.AcquireFunc(context.Background(), func(c *pgxpool.Conn) error {
		_, err := c.Conn().PgConn().CopyTo(t.Context(), &out, statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()[19:] // the header
	for {
		n := int16(binary.BigEndian.Uint16(data))
		if data = data[2:]; n < 0 {
			return rows
		}
		var fields []string
		for range n {
			var field string
			field, data = cut(data)
			fields = append(fields, field)
		}
		rows = append(rows, fields)
	}
}

const null = "NULL"

// cut takes a field off; null is told apart by not having its own length.
func cut(data []byte) (field string, rest []byte) {
	n := int32(binary.BigEndian.Uint32(data))
	data = data[4:]
	if n < 0 {
		return null, data
	}
	return "=" + string(data[:n]), data[n:]
}

func split(t *testing.T, data []byte) (fields []string) {
	t.Helper()
	for len(data) > 0 {
		var field string
		field, data = cut(data)
		fields = append(fields, field)
	}
	return fields
}

func checkFields(t *testing.T, columns string, got []string, want []byte) {
	t.Helper()
	names, fields := row.Names(columns), split(t, want)
	if len(names) != len(fields) || len(got) != len(fields) {
		t.Fatalf("%d names, %d fields, %d stored", len(names), len(fields), len(got))
	}
	for i, name := range names {
		if got[i] != fields[i] {
			t.Errorf("column %s: stored %q, made %q", name, got[i], fields[i])
		}
	}
}
