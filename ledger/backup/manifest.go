package backup

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Format is the version of the file that this program writes, and the newest
// that it reads.
const Format = 1

// Manifest says what a backup holds. It is the file's first entry.
type Manifest struct {
	Format int `json:"format"`
	// MadeAt is the database's clock at the moment that the backup shows.
	MadeAt time.Time `json:"made_at"`
	// Program and Server are the versions of manti and Postgres that it was made with.
	Program string `json:"program"`
	Server  string `json:"server"`
	// Migrations are the versions that the schema had.
	Migrations []string `json:"migrations"`
	// Heads are the rows of ledger.head.
	Heads []Head `json:"heads"`
	// Months are those that ledger.ids has partitions for, as 2026-11.
	Months []string `json:"months"`
	Tables []Table  `json:"tables"`
}

// Head is the end of one shard.
type Head struct {
	Shard int16 `json:"shard"`
	// Size is the number of events.
	Size       int64     `json:"size"`
	RecordedAt time.Time `json:"recorded_at"`
	Frozen     bool      `json:"frozen,omitempty"`
	Reason     *string   `json:"reason,omitempty"`
}

// Table is one whose rows are in the file.
type Table struct {
	Schema  string   `json:"schema"`
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	// key are the columns of the primary key.
	key []string
}

// String is the name with its schema.
func (t Table) String() string { return t.Schema + "." + t.Name }

// Size is the number of events in the backup.
func (m Manifest) Size() (size int64) {
	for _, h := range m.Heads {
		size += h.Size
	}
	return size
}

// sum is what a table's rows came to.
type sum struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// ending is the file's last entry.
type ending struct {
	Tables []sum `json:"tables"`
}

const (
	manifestName = "manifest.json"
	endingName   = "end.json"
)

// steady makes the text format of COPY the same whatever the server is set to,
// and lets statements take their time.
const steady = `SELECT set_config(name, value, true) FROM (VALUES
	('datestyle', 'ISO, YMD'), ('timezone', 'UTC'), ('bytea_output', 'hex'), ('extra_float_digits', '3'), ('client_encoding', 'UTF8'),
	('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0')) AS s (name, value)`

// readManifest looks at what there is to be written.
func readManifest(ctx context.Context, tx pgx.Tx, program string) (m Manifest, err error) {
	m = Manifest{Format: Format, Program: program}
	const when = `SELECT now(), current_setting('server_version')`
	if err := tx.QueryRow(ctx, when).Scan(&m.MadeAt, &m.Server); err != nil {
		return m, fmt.Errorf("read the server's version: %w", err)
	}
	m.MadeAt = m.MadeAt.UTC()
	const migrations = `SELECT version::text FROM manti.schema_migrations ORDER BY version`
	if m.Migrations, err = list[string](ctx, tx, migrations); err != nil {
		return m, fmt.Errorf("read migrations: %w", err)
	}
	// Names of partitions are the ledger's own; make_ids_partition makes them.
	const months = `SELECT translate(substr(relname, 5), '_', '-') FROM pg_class
		WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r' AND relname ~ '^ids_[0-9]{4}_[0-9]{2}$' ORDER BY 1`
	if m.Months, err = list[string](ctx, tx, months); err != nil {
		return m, fmt.Errorf("read partitions: %w", err)
	}
	const heads = `SELECT shard, size, recorded_at, frozen, reason FROM ledger.head ORDER BY shard`
	rows, err := tx.Query(ctx, heads)
	if err != nil {
		return m, fmt.Errorf("read head: %w", err)
	}
	if m.Heads, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Head]); err != nil {
		return m, fmt.Errorf("read head: %w", err)
	}
	m.Tables, err = readTables(ctx, tx)
	return m, err
}

// readTables lists what is copied, the tables that others refer to first. The
// head isn't among them: its rows are in the manifest.
func readTables(ctx context.Context, tx pgx.Tx) ([]Table, error) {
	const query = `
		SELECT n.nspname::text, c.relname::text,
		       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
		       ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k (num, place)
		             JOIN pg_attribute a ON a.attnum = k.num WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid ORDER BY k.place)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
		  AND (n.nspname IN ('ledger', 'escrow') AND (n.nspname, c.relname) <> ('ledger', 'head') OR (n.nspname, c.relname) = ('manti', 'settings'))
		ORDER BY (SELECT count(*) FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f'), n.nspname, c.relname`
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Table, err error) {
		err = row.Scan(&t.Schema, &t.Name, &t.Columns, &t.key)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return tables, nil
}

func list[T any](ctx context.Context, tx pgx.Tx, query string) ([]T, error) {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
