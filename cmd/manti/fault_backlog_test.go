package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db/dbtest"
	"manti/ledger"
)

// A key is revoked at once, however many events of usage nobody has folded yet:
// a command reads control events alone, by an index that has no others. Without
// that index, the control, it would read them all. With MANTI_TEST_LONG=1 there
// are a million, and a second is the most that a revocation may take until a
// running server refuses the key.
func TestRevokeBehindUsage(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	events := int64(20_000)
	if long() {
		events = 1_000_000
	}
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	p := serve(t, folder(t), env).ready()
	if s := call(t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", quickModel, false}, "the one that all others are like"); !s.whole {
		t.Fatalf("call: %+v", s)
	}
	keys := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		keys[name] = strings.TrimSpace(manti(t, env, "key", "create", "--name", name))
	}
	pool := database.Pool(t, "")
	awaitQuery(t, pool, "the call", `SELECT count(*) = 1 FROM ledger.events WHERE kind = 'RequestCompleted'`)
	from := fillUsage(t, database, events)

	used, unused := blocksRead(t, database, from)
	if used > 50 || unused < events/100 {
		t.Errorf("the control events behind %d of usage cost %d blocks, and without their index %d", events, used, unused)
	}
	listed, fastest := listKeys(t, env), time.Hour
	for name, key := range keys {
		began := time.Now()
		manti(t, env, "key", "revoke", listed[name].ID)
		p.poll("the key to be refused", func() bool {
			return call(t.Context(), "http://"+p.addr, key, ask{"/v1/messages", quickModel, false}, "may I?").status == 401
		})
		took := time.Since(began)
		fastest = min(fastest, took)
		t.Logf("with %d events behind it a key is refused after %v", events, took)
	}
	p.stop() // and with it what it asks of the database
	if long() && fastest > time.Second {
		t.Errorf("revoking took %v at best, want 1 s at most", fastest)
	}
}

// fillUsage puts n events of usage behind the ledger's end, all like the first
// call, and returns where they begin.
func fillUsage(t *testing.T, database *dbtest.Database, n int64) (from int64) {
	t.Helper()
	conn := connect(t, database.URL())
	rows, err := conn.Query(t.Context(), `SELECT attname FROM pg_attribute WHERE attrelid = 'ledger.events'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	values := slices.Clone(columns)
	for i, c := range columns {
		switch c {
		case "index":
			values[i] = "g"
		case "id", "request_id":
			values[i] = "gen_random_uuid()"
		}
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // unless it was committed
	if err := tx.QueryRow(t.Context(), `SELECT size FROM ledger.head WHERE shard = 0 FOR UPDATE`).Scan(&from); err != nil {
		t.Fatal(err)
	}
	fill := fmt.Sprintf(`INSERT INTO ledger.events (%s) SELECT %s FROM (SELECT * FROM ledger.events WHERE kind = 'RequestCompleted' LIMIT 1) x, generate_series(%d, %d) g`,
		strings.Join(columns, ", "), strings.Join(values, ", "), from, from+n-1)
	for _, statement := range []string{fill, fmt.Sprintf(`UPDATE ledger.head SET size = %d WHERE shard = 0`, from+n)} {
		if _, err := tx.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `ANALYZE ledger.events`); err != nil {
		t.Fatal(err)
	}
	return from
}

// A queryTap keeps the last query.
type queryTap struct {
	sql  string
	args []any
}

func (q *queryTap) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	q.sql, q.args = data.SQL, data.Args
	return ctx
}

func (*queryTap) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// blocksRead is how many blocks the query costs by which a command reads what it
// must, with the index of control events and without.
func blocksRead(t *testing.T, database *dbtest.Database, from int64) (with, without int64) {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(database.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	tap := new(queryTap)
	cfg.ConnConfig.Tracer = tap
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := ledger.ReadControl(t.Context(), pool, from, ledger.BatchEntries); err != nil {
		t.Fatal(err)
	}
	query := *tap
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // the index stays
	with = blocks(t, tx, query)
	if _, err := tx.Exec(t.Context(), `DROP INDEX ledger.events_control`); err != nil {
		t.Fatal(err)
	}
	return with, blocks(t, tx, query)
}

func blocks(t *testing.T, tx pgx.Tx, q queryTap) int64 {
	t.Helper()
	var text []byte
	if err := tx.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+q.sql, q.args...).Scan(&text); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  int64 `json:"Shared Hit Blocks"`
			Read int64 `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		t.Fatalf("%v in %s", err, text)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}
