package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
)

// ErrNotEmpty is returned for a database that has a ledger with something in it.
var ErrNotEmpty = errors.New("the database has a ledger already: restore into an empty one")

// ErrNewer is returned for a backup of a schema that this program doesn't know.
var ErrNewer = errors.New("the backup was made by a newer manti: restore it with that one")

// partitionEvents is how many indexes a partition of ledger.events holds.
const partitionEvents = 1 << 24

// Restore reads a backup into a database that has been migrated and never used,
// in one transaction: with an error, it is as it was. conn must act as the
// schema's owner.
//
// Errors are ErrDamaged, ErrNotEmpty, ErrNewer, and the database's.
func Restore(ctx context.Context, conn db.Beginner, r io.Reader) (Manifest, error) {
	b, err := open(r)
	if err != nil {
		return Manifest{}, fmt.Errorf("restore: %w", err)
	}
	err = db.InTx(ctx, conn, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, steady); err != nil {
			return fmt.Errorf("set up the session: %w", err)
		}
		if err := fits(ctx, tx, b.manifest); err != nil {
			return err
		}
		if err := makePartitions(ctx, tx, b.manifest); err != nil {
			return err
		}
		return load(ctx, tx, b)
	})
	if err != nil {
		return b.manifest, fmt.Errorf("restore: %w", err)
	}
	return b.manifest, nil
}

// fits makes sure that the database can take all of the backup and has nothing
// of its own to lose. It keeps the head locked.
func fits(ctx context.Context, tx pgx.Tx, m Manifest) error {
	applied, err := list[string](ctx, tx, `SELECT version::text FROM manti.schema_migrations`)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if unknown := missing(m.Migrations, applied); len(unknown) > 0 {
		return fmt.Errorf("%w (migrations %s are unknown here)", ErrNewer, strings.Join(unknown, ", "))
	}
	size := int64(0)
	if err := tx.QueryRow(ctx, `SELECT size FROM ledger.head WHERE shard = 0 FOR UPDATE`).Scan(&size); err != nil {
		return fmt.Errorf("lock head: %w", err)
	}
	if size > 0 {
		return fmt.Errorf("%w (it has %d events)", ErrNotEmpty, size)
	}
	there, err := readTables(ctx, tx)
	if err != nil {
		return err
	}
	columns := make(map[string][]string, len(there))
	for _, t := range there {
		columns[t.String()] = t.Columns
	}
	for _, t := range m.Tables {
		if lacks := missing(t.Columns, columns[t.String()]); len(lacks) > 0 {
			return fmt.Errorf("%w (%s has no %s here)", ErrNewer, t, strings.Join(lacks, ", "))
		}
	}
	return nil
}

// makePartitions makes those that the backup's rows belong to. Of the ids'
// months, the ones that the backup has: others would be missed in the default
// partition for ever.
func makePartitions(ctx context.Context, tx pgx.Tx, m Manifest) error {
	for _, month := range m.Months {
		begin, err := time.Parse("2006-01", month)
		if err != nil {
			return damaged("month %q", month)
		}
		if _, err := tx.Exec(ctx, `SELECT ledger.make_ids_partition($1)`, begin); err != nil {
			return fmt.Errorf("make a partition of ids: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, `SELECT ledger.make_events_partition(num) FROM generate_series(0, $1::bigint) num`, m.Size()/partitionEvents+1); err != nil {
		return fmt.Errorf("make partitions of events: %w", err)
	}
	return nil
}

// load copies all tables and then moves the heads.
func load(ctx context.Context, tx pgx.Tx, b *reader) error {
	var read []sum
	for _, t := range b.manifest.Tables {
		// What stands there was left by migrations and starts: the backup's counts.
		if t.Schema == "manti" {
			if _, err := tx.Exec(ctx, "DELETE FROM "+pgx.Identifier{t.Schema, t.Name}.Sanitize()); err != nil {
				return fmt.Errorf("table %s: %w", t, err)
			}
		}
		rows := b.table(t)
		into := "COPY " + pgx.Identifier{t.Schema, t.Name}.Sanitize() + " (" + columnList(t.Columns) + ") FROM STDIN"
		tag, err := tx.Conn().PgConn().CopyFrom(ctx, rows, into)
		if rows.err != nil { // Postgres has made its own error of it
			err = rows.err
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", t, err)
		}
		done := rows.sum(t)
		if tag.RowsAffected() != done.Rows {
			return damaged("%s took %d of %d rows", t, tag.RowsAffected(), done.Rows)
		}
		read = append(read, done)
	}
	if err := b.finish(read); err != nil {
		return err
	}
	const move = `INSERT INTO ledger.head (shard, size, recorded_at, frozen, reason) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (shard) DO UPDATE SET size = EXCLUDED.size, recorded_at = EXCLUDED.recorded_at, frozen = EXCLUDED.frozen, reason = EXCLUDED.reason`
	for _, h := range b.manifest.Heads {
		if _, err := tx.Exec(ctx, move, h.Shard, h.Size, h.RecordedAt, h.Frozen, h.Reason); err != nil {
			return fmt.Errorf("move head: %w", err)
		}
	}
	return nil
}
